import { type ChildProcess, execFile, spawn } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isWeftMount, mountTable } from '../../src/fuse/mount-table.ts'
import { type KeeperFile, readKeeperFile, runDirOf } from '../../src/fuse/run-dir.ts'

const here = import.meta.dirname

export interface Answer {
  readonly result?: unknown
  readonly code?: string
  readonly message?: string
}

/** A home, a directory for mount points, and the keepers started in them. Close it in `finally`. */
export class KeeperWorld {
  readonly dir = realpathSync(mkdtempSync(join(tmpdir(), 'weft-keeper-')))
  readonly home = join(this.dir, 'home')
  readonly point = join(this.dir, 'point')
  readonly runDir: string
  readonly tinyProgram = join(here, 'tiny-daemon.js')
  readonly #keepers: ChildProcess[] = []
  /** Every daemon seen, so that none outlives a test that failed. */
  readonly #daemons = new Map<number, string>()

  constructor() {
    mkdirSync(this.home)
    mkdirSync(this.point)
    this.runDir = runDirOf(this.home)
  }

  mkdir(name: string): string {
    const path = join(this.dir, name)
    mkdirSync(path)
    return path
  }

  flag(name: string): void {
    writeFileSync(join(this.home, name), '')
  }

  unflag(name: string): void {
    rmSync(join(this.home, name), { force: true })
  }

  hasFlag(name: string): boolean {
    return existsSync(join(this.home, name))
  }

  /** A keeper process; its log collects in `text()`. */
  spawnKeeper(program = this.tinyProgram): { child: ChildProcess; text: () => string } {
    const child = spawn(process.execPath, [join(here, 'keeper-host.js'), this.home, program], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#keepers.push(child)
    let text = ''
    child.stderr?.setEncoding('utf8').on('data', (more: string) => {
      text += more
    })
    return { child, text: () => text }
  }

  async start(): Promise<{ child: ChildProcess; text: () => string; file: KeeperFile }> {
    const keeper = this.spawnKeeper()
    const file = await this.ready(1).catch((error: Error) => {
      throw new Error(`${error.message}\n${keeper.text()}`)
    })
    return { ...keeper, file }
  }

  file(): KeeperFile | null {
    const file = readKeeperFile(this.runDir)
    if (typeof file?.daemonPid === 'number' && file.daemonStartTicks !== null) {
      this.#daemons.set(file.daemonPid, file.daemonStartTicks)
    }
    return file
  }

  /** The keeper's file once a daemon of at least this generation serves. */
  ready(generation: number): Promise<KeeperFile> {
    return until(`daemon ${generation} is ready`, () => {
      const file = this.file()
      return file?.ready === true && file.generation >= generation ? file : null
    })
  }

  /** One call to the tiny daemon. */
  call(verb: string, fields: Record<string, string> = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      let text = ''
      const socket = createConnection(join(this.home, 'tiny.sock'))
      socket.setEncoding('utf8').on('data', (more: string) => {
        text += more
      })
      socket.on('error', reject)
      socket.on('end', () => {
        socket.destroy()
        resolve(text === '' ? { code: 'EPIPE', message: 'no answer' } : JSON.parse(text))
      })
      socket.write(JSON.stringify({ verb, ...fields }))
    })
  }

  /** Mounts of ours below this world. */
  mounts(): string[] {
    return mountTable()
      .filter((entry) => isWeftMount(entry) && entry.mountPoint.startsWith(`${this.dir}/`))
      .map((entry) => entry.mountPoint)
  }

  async close(): Promise<void> {
    this.file()
    for (const child of this.#keepers) if (child.exitCode === null) child.kill('SIGKILL')
    for (const [pid, ticks] of this.#daemons) {
      if (startTicks(pid) === ticks) process.kill(pid, 'SIGKILL')
    }
    for (const point of this.mounts().reverse()) {
      await run('umount', ['-i', '-c', '-l', point])
    }
    rmSync(this.runDir, { recursive: true, force: true })
    rmSync(this.dir, { recursive: true, force: true })
  }
}

function startTicks(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}

/** The end of a command; a failure after 10 s even if it cannot be killed, as one in a lost request cannot. */
export function run(
  program: string,
  args: readonly string[],
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return within(
    `end of ${program} ${args.join(' ')}`,
    new Promise((resolve) => {
      const child = execFile(program, args, (_error, stdout, stderr) => {
        resolve({ code: child.exitCode, stdout, stderr })
      })
    }),
  )
}

function within<T>(what: string, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not within 10 s: ${what}`)), 10_000)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** @throws Error when `look` has not given something but null, undefined and false within 10 s */
export async function until<T>(what: string, look: () => T | null | undefined | false): Promise<T> {
  const end = Date.now() + 10_000
  for (;;) {
    const found = look()
    if (found !== null && found !== undefined && found !== false) return found
    if (Date.now() > end) throw new Error(`not within 10 s: ${what}`)
    await sleep(10)
  }
}

export function exited(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode)
  return within(`exit of ${child.pid}`, new Promise((resolve) => child.once('exit', resolve)))
}
