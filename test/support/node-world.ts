import { type ChildProcess, execFile, spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
} from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** The built program, beside the built tests. Tests with a node import nothing from src. */
export const PROGRAM = resolve(import.meta.dirname, '../../main.js')

const COMMAND_MS = 150_000
const POLL_MS = 10
const POLL_MS_MAX = 500
/** A daemon that its keeper starts anew is back within this. */
const RESTART_MS_MAX = 10_000

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface NodeOptions {
  /** Directories that hold chunks; the first is the home's own. */
  readonly drives?: number
  /** Home of the node; a directory of the world's own when left away. It is not removed by `close`. */
  readonly home?: string
  /** Mount the namespace at `mnt`; default yes. */
  readonly mount?: boolean
  /** More environment for the node and its commands. */
  readonly env?: Readonly<Record<string, string>>
}

/** Start one node with the built program, in directories of its own. Close it in `finally`. */
export async function startNode(options: NodeOptions = {}): Promise<NodeWorld> {
  const world = new NodeWorld(options)
  try {
    await world.up()
    for (let n = 1; n < (options.drives ?? 1); n += 1) {
      await world.weft('drive', 'add', world.mkdir(`drive${n}`))
    }
    if (options.mount !== false) await world.weft('mount', world.mnt)
    return world
  } catch (error) {
    await world.close().catch(() => {})
    throw error
  }
}

/** One node of weft as a person has it: a home, commands, a mount, processes that can be killed. */
export class NodeWorld {
  /** Everything of this world lies below it; others may pass. */
  readonly dir: string
  readonly home: string
  readonly mnt: string
  readonly #env: NodeJS.ProcessEnv
  readonly #children: ChildProcess[] = []
  /** The keeper's directories under /run: staged data is below them. */
  readonly runDirs = new Set<string>()

  constructor({ home, env }: NodeOptions = {}) {
    this.dir = realpathSync(mkdtempSync(join(tmpdir(), 'weft-node-')))
    chmodSync(this.dir, 0o755)
    this.home = home ?? join(this.dir, 'home')
    this.mnt = this.mkdir('mnt')
    this.#env = { ...process.env, ...env }
  }

  /** A directory of the world's own. */
  mkdir(name: string): string {
    const path = join(this.dir, name)
    mkdirSync(path, { recursive: true })
    return path
  }

  async up(): Promise<void> {
    await this.weft('up')
    this.#noteRunDir()
  }

  /** `weft down` and `weft up`, with the namespace mounted again. */
  async restart(): Promise<void> {
    await this.weft('down')
    await this.up()
    await this.weft('mount', this.mnt)
  }

  /** A command's standard output. @throws Error with what it printed when it does not exit 0 */
  async weft(...args: readonly string[]): Promise<string> {
    const done = await this.tryWeft(...args)
    if (done.code === 0) return done.stdout
    throw new Error(`weft ${args.join(' ')} ended with ${done.code}: ${done.stderr}${done.stdout}`)
  }

  tryWeft(...args: readonly string[]): Promise<Ended> {
    const all = [PROGRAM, '--home', this.home, ...args]
    return run(process.execPath, all, { env: this.#env, timeoutMs: COMMAND_MS })
  }

  /**
   * A POST to the node, without the half second that a command's process takes.
   * @returns the HTTP status, null when the daemon ended before it answered
   */
  post(path: string, body: object): Promise<number | null> {
    return new Promise((resolve) => {
      const bytes = Buffer.from(JSON.stringify(body))
      const headers = { 'content-type': 'application/json', 'content-length': bytes.length }
      const socketPath = join(this.home, 'control.sock')
      const sent = request(
        { socketPath, method: 'POST', path, agent: false, headers },
        (answer) => {
          answer.resume().on('end', () => resolve(answer.statusCode ?? null))
          answer.on('error', () => resolve(null))
        },
      )
      sent.on('error', () => resolve(null))
      sent.end(bytes)
    })
  }

  async json<T = Record<string, unknown>>(...args: readonly string[]): Promise<T> {
    return JSON.parse(await this.weft(...args, '--json')) as T
  }

  /** A volume; its directory in the namespace mount comes back. */
  async volume(name: string, ...args: readonly string[]): Promise<string> {
    await this.weft('volume', 'create', name, ...args)
    return join(this.mnt, name)
  }

  /** A volume on an exclusive mount; its mount point comes back. */
  async attached(name: string, ...args: readonly string[]): Promise<string> {
    await this.weft('volume', 'create', name, ...args)
    const point = this.mkdir(`attached-${name}`)
    await this.weft('attach', name, point)
    return point
  }

  /** A child whose end the world waits for at the latest in `close`. */
  own(child: ChildProcess): ChildProcess {
    this.#children.push(child)
    return child
  }

  /** 0 while none runs. */
  daemonPid(): number {
    return this.#processes('__daemon')[0] ?? 0
  }

  keeperPid(): number {
    return this.#processes('__keeper')[0] ?? 0
  }

  /** SIGKILL to the daemon; resolves when another one runs under the same mounts. */
  async kill9(): Promise<void> {
    const pid = await until('the daemon runs', () => this.daemonPid())
    process.kill(pid, 'SIGKILL')
    await until('another daemon runs', () => {
      const next = this.daemonPid()
      return next !== 0 && next !== pid
    })
  }

  /** The daemon of now answers commands. */
  async ready(): Promise<void> {
    await this.weft('status', '--json')
  }

  /**
   * Keeper and daemon die in the same moment, as in a cut of power. Their mounts are dead; what was staged stays.
   * @param between called when both stand still and are not dead yet
   */
  async killAll(between: () => Promise<void> = async () => {}): Promise<void> {
    this.#noteRunDir()
    const pids = [...this.#processes('__keeper'), ...this.#processes('__daemon')]
    // Stopped first: a keeper that lives an instant longer would start another daemon.
    for (const pid of pids) kill(pid, 'SIGSTOP')
    try {
      await between()
    } finally {
      for (const pid of pids) kill(pid, 'SIGKILL')
    }
    await until('keeper and daemon are gone', () => this.#all().length === 0)
    for (const point of this.mounts().reverse()) umount(point)
  }

  /** What lies in memory of this boot is gone: staged writes. Only while no node runs. */
  forgetBoot(): void {
    for (const runDir of this.runDirs) {
      const stage = join(runDir, 'stage')
      if (isMountPoint(stage)) umount(stage)
      rmSync(runDir, { recursive: true, force: true })
    }
  }

  /** Mount points of weft below this world. */
  mounts(): string[] {
    return mountPoints()
      .filter(({ point, type }) => type === 'fuse.weft' && point.startsWith(`${this.dir}/`))
      .map(({ point }) => point)
  }

  /** The product's own check of every volume. @throws Error when it finds damage */
  async fsck(): Promise<void> {
    const done = await this.tryWeft('fsck')
    if (done.code === 0) return
    throw new Error(`weft fsck ended with ${done.code}: ${done.stdout}${done.stderr}`)
  }

  log(): string {
    const path = join(this.home, 'log', 'keeper.log')
    return existsSync(path) ? readFileSync(path, 'utf8') : ''
  }

  /** More environment from the next start on. */
  setEnv(name: string, value: string): void {
    this.#env[name] = value
  }

  /** Lines of the node's log from this level on: 40 warnings, 50 errors. */
  complaints(level = 50): string[] {
    return this.log()
      .split('\n')
      .filter((line) => {
        const found = /"level":(\d+)/.exec(line)
        return found !== null && Number(found[1]) >= level
      })
  }

  /**
   * `weft down`, then nothing of it may be left: no process, no mount. Directories are removed whatever happens.
   * @throws Error saying what was left
   */
  async close(): Promise<void> {
    const left: string[] = []
    for (const child of this.#children) if (child.exitCode === null) child.kill('SIGKILL')
    this.#noteRunDir()
    if (this.#all().length > 0) {
      const down = await this.tryWeft('down')
      if (down.code !== 0) left.push(`weft down ended with ${down.code}: ${down.stderr}`)
    }
    // `weft down` answers when the lock is free, an instant before the keeper's process is gone.
    await until('keeper and daemon have ended', () => this.#all().length === 0, 3000).catch(
      () => {},
    )
    for (const pid of this.#all()) {
      left.push(`process ${pid}`)
      kill(pid, 'SIGKILL')
    }
    for (const point of this.mounts().reverse()) {
      left.push(`mount ${point}`)
      umount(point)
    }
    this.forgetBoot()
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 3 })
    if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`)
  }

  #all(): number[] {
    return [...this.#processes('__keeper'), ...this.#processes('__daemon')]
  }

  #processes(role: string): number[] {
    const wanted = `\0${role}\0--home\0${this.home}\0`
    return readdirSync('/proc').flatMap((name) => {
      if (!/^\d+$/.test(name)) return []
      try {
        return readFileSync(`/proc/${name}/cmdline`, 'latin1').includes(wanted) &&
          !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${name}/status`, 'latin1'))
          ? [Number(name)]
          : []
      } catch {
        return [] // it went while we looked
      }
    })
  }

  /** The keeper's directory under /run, while it runs: its file names the home. */
  #noteRunDir(): void {
    for (const base of ['/run/weft']) {
      if (!existsSync(base)) continue
      for (const name of readdirSync(base)) {
        try {
          const file = readFileSync(join(base, name, 'keeper.json'), 'utf8')
          const { home } = JSON.parse(file) as { home: string }
          if (home === realpathSync(this.home)) this.runDirs.add(join(base, name))
        } catch {
          // another home's, going
        }
      }
    }
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // gone by itself
  }
}

function umount(point: string): void {
  spawnSync('umount', ['-i', '-c', '-l', point], { timeout: 10_000 })
}

export interface MountPoint {
  readonly point: string
  readonly type: string
  readonly source: string
}

/** Mounts as a process sees them, in the order in which they were made. */
export function mountPoints(pid: number | 'self' = 'self'): MountPoint[] {
  return readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [before = '', after = ''] = line.split(' - ')
      const point = before.split(' ')[4]
      const [type, source = ''] = after.split(' ')
      return point && type ? [{ point, type, source }] : []
    })
}

function isMountPoint(path: string): boolean {
  return mountPoints().some(({ point }) => point === path)
}

/** The end of a command; never rejects but when it could not be started or did not end in time. */
export function run(
  program: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; timeoutMs?: number; cwd?: string } = {},
): Promise<Ended> {
  const { env, cwd, timeoutMs = 60_000 } = options
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { env, cwd, timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: 512 * 1024 * 1024 },
      (error, stdout, stderr) => {
        if (error && child.exitCode === null) {
          reject(new Error(`${program} ${args.join(' ')}: ${error.message}`))
          return
        }
        resolve({ code: child.exitCode, stdout, stderr })
      },
    )
  })
}

/** A command's standard output. @throws Error when it does not exit 0 */
export async function sh(
  program: string,
  args: readonly string[],
  options: Parameters<typeof run>[2] = {},
): Promise<string> {
  const done = await run(program, args, options)
  if (done.code === 0) return done.stdout
  throw new Error(`${program} ${args.join(' ')} ended with ${done.code}: ${done.stderr}`)
}

export function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms))
}

/**
 * Between two looks it pauses for as long as one takes (a command is a third of a second of a processor) and for a twentieth of what has been waited:
 * who is waited for needs the processor more.
 * @throws Error when `look` has not given something true in time
 */
export async function until<T>(
  what: string,
  look: () => T | null | undefined | false | Promise<T | null | undefined | false>,
  deadlineMs = 20_000,
): Promise<T> {
  const begunMs = Date.now()
  for (;;) {
    const lookedMs = Date.now()
    const found = await look()
    if (found) return found
    const nowMs = Date.now()
    if (nowMs - begunMs > deadlineMs) throw new Error(`not within ${deadlineMs / 1000} s: ${what}`)
    const pauseMs = Math.max(POLL_MS, nowMs - lookedMs, (nowMs - begunMs) / 20)
    await sleep(Math.min(POLL_MS_MAX, pauseMs))
  }
}

/**
 * A GET to the node behind a control socket, without the third of a second of a processor that a command's process takes. As a command
 * does, it waits for a daemon that its keeper is starting.
 * @throws Error when the answer is not 200
 */
export async function askNode<T>(socketPath: string, path: string): Promise<T> {
  const end = Date.now() + RESTART_MS_MAX
  for (;;) {
    try {
      const { status, body } = await getOnce(socketPath, path)
      if (status === 200) return JSON.parse(body) as T
      throw new Error(`GET ${path} was answered with ${status}: ${body}`)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      const isAbsent = code === 'ECONNREFUSED' || code === 'ENOENT' || code === 'ECONNRESET'
      if (!isAbsent || Date.now() > end) throw error
      await sleep(100)
    }
  }
}

function getOnce(socketPath: string, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path, agent: false, timeout: COMMAND_MS }, (answer) => {
      let body = ''
      answer.setEncoding('utf8').on('data', (text: string) => {
        body += text
      })
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body }))
      answer.on('error', reject)
    })
    sent.on('timeout', () => sent.destroy(new Error(`GET ${path}: no answer`)))
    sent.on('error', reject)
    sent.end()
  })
}
