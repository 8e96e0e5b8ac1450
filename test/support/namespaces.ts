import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { sh, until } from './node-world.ts'

/**
 * A machine that is a set of namespaces (network, mounts, processes, IPC, name), kept by one process that only sleeps.
 * It is pid 1 of them: with it ends every process inside, and with those every mount, loop device and link.
 *
 * Holders are found by a mark in their environment, never by a written pid: one written after the start is lost by a crash
 * in between, and a pid may be somebody else's by the time it is read.
 */
const MARK = 'WEFT_LAB_HOLDER'

const START_MS_MAX = 10_000
const END_MS_MAX = 20_000

export interface Process {
  readonly pid: number
  /** Clock ticks from boot to its start: with the pid, no other process can be mistaken for it. */
  readonly startTicks: string
}

/**
 * Field 22 of /proc/PID/stat. @returns '' when there is no such process, or only what its parent has not waited for
 * Source: man 5 proc. Of pid 1 of a namespace the kernel makes a zombie once every process inside is gone
 * (kernel/pid_namespace.c, zap_pid_ns_processes).
 */
export function startTicksOf(pid: number): string {
  const fields = statFields(pid)
  return fields[0] === 'Z' || fields[0] === 'X' ? '' : (fields[19] ?? '')
}

export function isStopped(pid: number): boolean {
  return statFields(pid)[0] === 'T'
}

/** Fields of /proc/PID/stat from the third on: the second, the name, may hold spaces and parentheses itself. */
function statFields(pid: number): string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  } catch {
    return []
  }
}

/** Who has ended meanwhile is no error. */
export function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}

export function pids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

/** Processes with the mark of `place`, or of a place below it: of each holder two, unshare itself and pid 1. */
function marked(place: string): Process[] {
  const exact = `${MARK}=${place}`
  return pids().flatMap((pid) => {
    try {
      const mark = readFileSync(`/proc/${pid}/environ`, 'latin1')
        .split('\0')
        .find((entry) => entry.startsWith(`${MARK}=`))
      if (mark !== exact && !mark?.startsWith(`${exact}/`)) return []
      const startTicks = startTicksOf(pid)
      return startTicks === '' ? [] : [{ pid, startTicks }]
    } catch {
      return [] // it went while we looked
    }
  })
}

/** The holder of a place, null while there is none. Its pid is the one outside. */
export function holderOf(place: string): Process | null {
  return marked(place).find(({ pid }) => isSleepingInit(pid)) ?? null
}

function isSleepingInit(pid: number): boolean {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    return /^NSpid:\s.*\t1$/m.test(status) && /^Name:\ssleep$/m.test(status)
  } catch {
    return false
  }
}

/**
 * Make namespaces for a place, which names them for whoever looks for them later. Their mounts begin as a private copy of
 * the caller's, with a /proc of their own. Needs root.
 * @param mounts false: with the mounts of the caller, since a copy keeps what is mounted from ending
 * @throws Error with what unshare said
 */
export async function hold(place: string, mounts = true): Promise<Process> {
  const flags = ['--net', '--uts', '--ipc', '--pid', '--fork', '--kill-child']
  if (mounts) flags.push('--mount-proc')
  // With SIGCHLD ignored the kernel itself takes away the dead that pid 1 inherits; sleep would leave them all.
  const sleeper = ['env', '--ignore-signal=CHLD', 'sleep', 'infinity']
  const child = spawn('unshare', [...flags, ...sleeper], {
    detached: true,
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, [MARK]: place },
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  let ended = ''
  child.on('error', (error) => {
    ended = error.message
  })
  child.on('exit', (code, by) => {
    ended = `ended with ${by ?? code}`
  })
  try {
    return await until(
      `namespaces of ${place}`,
      () => {
        if (ended) throw new Error(`unshare for ${place} ${ended}: ${said.trim()}`)
        return holderOf(place)
      },
      START_MS_MAX,
    )
  } finally {
    child.stderr.destroy()
    child.unref()
  }
}

/** End a place and all places below it. Returns when no process inside lives. @throws Error when one does not go */
export async function release(place: string): Promise<void> {
  const found = marked(place)
  signal(
    found.map(({ pid }) => pid),
    'SIGKILL',
  )
  await until(
    `${place} has ended`,
    () => found.every(({ pid, startTicks }) => startTicksOf(pid) !== startTicks),
    END_MS_MAX,
  )
}

/** Every process inside, without those that only wait for one of them. Pids are the ones outside. */
export function processesIn(holder: Process): number[] {
  const inside = pidNamespace(holder.pid)
  return pids().filter(
    (pid) =>
      inside !== '' && pid !== holder.pid && pidNamespace(pid) === inside && startTicksOf(pid),
  )
}

function pidNamespace(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`)
  } catch {
    return ''
  }
}

/** Arguments of nsenter that run `words` inside. @param cwd a directory as seen inside */
export function entering(holder: Process, words: readonly string[], cwd = '/'): string[] {
  const spaces = ['--net', '--uts', '--ipc', '--mount', '--pid']
  return ['--target', `${holder.pid}`, ...spaces, `--wdns=${cwd}`, '--', ...words]
}

/** A command with the network of a place and everything else of ours. @throws Error when it does not exit 0 */
export function inNetworkOf(holder: Process, words: readonly string[]): Promise<string> {
  return sh('nsenter', ['--target', `${holder.pid}`, '--net', '--', ...words])
}
