import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { NodeStatus } from '../api/index.ts'
import { sleep } from '../base/index.ts'
import { CliError, fileError } from './cli-error.ts'
import type { Context } from './command.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { keeperPid } from './keeper-lock.ts'
import { makeDirectory } from './make-directory.ts'

/** A start replays the journal of the last second at most; longer means that something is wrong, or very large. */
const START_MS_MAX = 20_000
const POLL_MS = 100

export interface Started {
  readonly status: NodeStatus
  readonly wasRunning: boolean
}

/**
 * Start the node of this home unless one runs or starts: its keeper, detached from this terminal, which starts the daemon.
 * Returns when the control socket answers. Two starts at once are one node: the keeper that comes second gives up (its
 * exit code is 5), and both calls wait for the first. @throws CliError with the last words of the log
 */
export async function ensureNode(context: Context): Promise<Started> {
  const { node, home, terminal } = context
  if (await node.isUp()) return started(context, true)

  const keeper = keeperPid(home) === null ? spawnKeeper(context) : null
  try {
    const deadline = terminal.clock.monotonicMs() + START_MS_MAX
    while (terminal.clock.monotonicMs() < deadline) {
      await sleep(terminal.clock, POLL_MS)
      const ended = keeper?.ended() ?? null
      if (await node.isUp()) return started(context, keeper === null || ended !== null)
      if (keeper === null || ended === null) continue
      if (keeper.child.exitCode !== EXIT.refused || keeperPid(home) === null) {
        throw startFailed(home, keeper, ended)
      }
    }
  } finally {
    keeper?.child.unref()
  }
  const path = join(home, 'log', 'keeper.log')
  throw new CliError({
    exit: EXIT.timeout,
    code: 'ETIMEDOUT',
    op: 'up',
    message: `the node on ${home} does not answer ${START_MS_MAX / 1000} s after its start${quoted(lastWords(path, keeper?.offset ?? 0))}`,
    next: `look into ${path}; \`weft status\` shows when it is up, \`weft down\` ends it`,
  })
}

async function started(context: Context, wasRunning: boolean): Promise<Started> {
  return { status: await context.node.get<NodeStatus>('/v1/status'), wasRunning }
}

interface SpawnedKeeper {
  readonly child: ChildProcess
  readonly logPath: string
  /** Where the log stood before: what is behind it, this keeper said. */
  readonly offset: number
  /** How it ended, null while it runs. */
  ended(): string | null
}

function spawnKeeper(context: Context): SpawnedKeeper {
  const log = openKeeperLog(context.home)
  let ended: string | null = null
  const args = [context.terminal.program, '__keeper', '--home', context.home]
  const child = spawn(process.execPath, args, {
    detached: true,
    cwd: '/',
    stdio: ['ignore', log.fd, log.fd],
  })
  child.on('error', (error) => {
    ended = error.message
  })
  child.on('exit', (code, signal) => {
    ended = signal === null ? `exit code ${code}` : `signal ${signal}`
  })
  closeSync(log.fd)
  return { child, logPath: log.path, offset: log.offset, ended: () => ended }
}

const HOME_NEXT = 'run the command as root, or choose a home you can write: weft --home DIR up'

/** The home is made and proven writable here: a keeper that cannot use it would only be waited for. */
function openKeeperLog(home: string): { fd: number; path: string; offset: number } {
  const path = join(home, 'log', 'keeper.log')
  makeDirectory(home, 'use as home', HOME_NEXT)
  makeDirectory(join(home, 'log'), 'use as home', HOME_NEXT)
  try {
    accessSync(home, constants.W_OK)
    const fd = openSync(path, 'a', 0o600)
    return { fd, path, offset: fstatSync(fd).size }
  } catch (error) {
    throw fileError(error, 'use as home', home, HOME_NEXT)
  }
}

function startFailed(home: string, keeper: SpawnedKeeper, how: string): CliError {
  const exit: ExitCode = keeper.child.exitCode === EXIT.refused ? EXIT.refused : EXIT.failed
  const words = quoted(lastWords(keeper.logPath, keeper.offset))
  return new CliError({
    exit,
    code: 'ECHILD',
    op: 'up',
    message: `the node on ${home} ended while it started (${how})${words}`,
    next: `run \`weft doctor\`, and look into ${keeper.logPath}`,
    subject: { home },
  })
}

function quoted(words: string): string {
  return words === '' ? '' : `: ${words}`
}

/**
 * What the log says since `offset`: of JSON lines the last warning or error, else the last line; never a stack.
 * Levels are pino's: 40 is warn.
 */
export function lastWords(path: string, offset: number): string {
  let lines: string[]
  try {
    lines = readFileSync(path).subarray(offset).toString('utf8').split('\n')
  } catch {
    return ''
  }
  const spoken = lines
    .map((line) => line.trimEnd())
    .filter((line) => line !== '' && !/^\s+at |^\s*\^|^Node\.js v/.test(line))
  const records = spoken.map(recordOf)
  const grave = records.findLast((record) => record !== null && record.level >= 40)
  if (grave !== undefined && grave !== null) return grave.text
  const thrown = spoken.findLast((line) => /^\w*Error\b.*: /.test(line))
  if (thrown !== undefined) return thrown.replace(/^\w*Error( \[\w+\])?: /, '').slice(0, 500)
  const last = spoken.at(-1) ?? ''
  return recordOf(last)?.text ?? last.slice(0, 500)
}

function recordOf(line: string): { level: number; text: string } | null {
  if (!line.startsWith('{')) return null
  try {
    const { level, message, error } = JSON.parse(line) as Record<string, unknown>
    const parts = [message, error].filter((part) => typeof part === 'string' && part !== '')
    return { level: typeof level === 'number' ? level : 30, text: parts.join(': ').slice(0, 500) }
  } catch {
    return null
  }
}
