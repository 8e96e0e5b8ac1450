import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, realpathSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Duplex } from 'node:stream'
import { type Clock, systemClock } from '../base/clock.ts'
import { codeOf, FsError, messageOf } from '../base/errors.ts'
import type { Log } from '../base/index.ts'
import {
  abortConnection,
  bindMount,
  cloneFuse,
  haveConnectionControl,
  mountFuse,
  openFuse,
  probeFuse,
  syncMount,
  unmountEntry,
  unmountFuse,
} from './device.ts'
import { HomeLock } from './home-lock.ts'
import {
  type BindAnswer,
  decodeRequest,
  firstFuseFd,
  type KeeperMessage,
  type KeeperRequest,
  keeperFd,
  keeperFdVariable,
  LineSplitter,
  type MountAnswer,
  RequestError,
  type SlotState,
  type UnmountAnswer,
  type WireError,
} from './keeper-protocol.ts'
import { mountHolders } from './mount-holders.ts'
import { isWeftMount, type MountEntry, mountAt, mountTable } from './mount-table.ts'
import { ensureRunDir, markOf, startTicksOf, writeKeeperFile } from './run-dir.ts'

export interface KeeperOptions {
  readonly home: string
  /** The daemon's script; started as `node program __daemon --home HOME`. */
  readonly program: string
  readonly log: Log
  /** Where the daemon's stdout and stderr go. */
  readonly logFd?: number
  /** Further arguments of node itself, before the program. */
  readonly nodeArgs?: readonly string[]
  readonly spareSlots?: number
  readonly clock?: Clock
}

/** runKeeper's answers besides 0 and the exit code of a daemon that could not start at all. */
export const keeperExit = { failed: 1, alreadyRunning: 5 } as const

/** Descriptors a daemon gets for mounts it makes in its life. An unmounted one costs the kernel one struct file. */
const SPARE_SLOTS = 64
const RESTART_MS = 5000
const STOP_MS = 10_000
/** At the end, a busy mount is asked again for this long before it is unmounted lazily. */
const BUSY_MS = 3000
/** What the kernel holds dirty at the end gets this long to be written out; a hung daemon gets no longer. */
const SYNC_MS = 30_000
const UNMOUNT_MS = 80_000
const CRASHES_MAX = 5
const CRASH_WINDOW_MS = 10_000
const BACKOFF_MS_MIN = 1000
const BACKOFF_MS_MAX = 30_000
/**
 * A daemon that served this long died of something else than its start: it is started again at once, however often that
 * happens (each such death has cost at least this long). One that dies sooner, ready or not, counts as crash loop: its
 * start, or the first requests that are sent again, may be what kills it.
 */
const SERVED_MS = 1000
/** A start that took this long and failed is no quick loop: the wait begins from the shortest again. */
const LONG_START_MS = 30_000
/** A new program that dies this often before it is ready is given up for the one before it. */
const UPGRADE_TRIES = 2
const INFO_CHARS_MAX = 256 * 1024

interface Mounted {
  /** null: in no tree any more, kept alive by open files. */
  target: string | null
  readonly mountId: number
  readonly dev: string
}

interface Slot {
  /** -1 once its mount has ended; replaced before the next daemon life. */
  fd: number
  /** A clone of it whose read does not wait; a bare /dev/fuse until `polled`. -1 as fd. */
  polledFd: number
  polled: boolean
  mounted: Mounted | null
  /** A mount command runs on it. */
  busy: boolean
  /** What the daemon saved; it may be faster than our own mount command. */
  info: unknown
}

interface Life {
  readonly child: ChildProcess
  /** null when the process could not be started. */
  readonly channel: Duplex | null
  readonly startedMs: number
  readonly program: string
  /** Of the clock; null until it is ready. */
  readyMs: number | null
}

/**
 * Hold a home: its lock, its mounts and its daemon, until told to end. Resolves with the exit code of the process.
 * Takes over SIGTERM, SIGINT and SIGHUP, and the working directory, while it runs.
 */
export async function runKeeper(options: KeeperOptions): Promise<number> {
  const log = unfailing(options.log)
  const clock = options.clock ?? systemClock()
  let lock: HomeLock
  let home: string
  let runDir: string
  try {
    lock = await HomeLock.take(resolve(options.home), clock)
    home = realpathSync(options.home)
    runDir = ensureRunDir(home)
  } catch (error) {
    log.error({ op: 'keeper', code: codeOf(error) }, messageOf(error))
    return codeOf(error) === 'EEXIST' ? keeperExit.alreadyRunning : keeperExit.failed
  }
  const program = resolve(options.program)
  process.chdir('/') // never keep a mount busy, least of all our own
  const keeper = new Keeper({ ...options, log, home, program }, clock, lock, runDir)
  const stop = (signal: NodeJS.Signals) => {
    log.info({ op: 'keeper', signal }, 'asked to stop')
    keeper.shutdown()
  }
  // A terminal that closes takes nothing down; a bug in here must not take the mounts down.
  const ignore = () => {}
  const survive = (error: unknown) => {
    log.error({ op: 'keeper', error: error instanceof Error ? error.stack : String(error) }, 'bug')
  }
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', ignore)
  process.on('uncaughtException', survive).on('unhandledRejection', survive)
  try {
    return await keeper.run()
  } finally {
    process.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', ignore)
    process.off('uncaughtException', survive).off('unhandledRejection', survive)
    rmSync(join(runDir, 'keeper.json'), { force: true })
    lock.release()
  }
}

class Keeper {
  readonly #options: KeeperOptions
  readonly #log: Log
  readonly #clock: Clock
  readonly #lock: HomeLock
  readonly #runDir: string
  readonly #slots: Slot[] = []
  /** Canonical targets of bind mounts made for the daemon, with the dev they show. */
  readonly #binds = new Map<string, string>()
  #fuseError: WireError | null = null
  #program: string
  /** The program before an upgrade that has not become ready yet. */
  #provenProgram: string
  #failedUpgrades = 0
  #generation = 0
  #life: Life | null = null
  #everReady = false
  #afterCrash = false
  #endedBy: NodeJS.Signals | null = null
  #restarting = false
  /** unmounting: crashes are still mended, dirty pages need a server. stopping: the daemon is to go for good. */
  #phase: 'running' | 'unmounting' | 'stopping' = 'running'
  #crashesMs: number[] = []
  #backoffMs = 0
  #cancelTimers = new Set<() => void>()
  #daemonGone: (() => void) | null = null
  #end!: (code: number) => void

  constructor(options: KeeperOptions, clock: Clock, lock: HomeLock, runDir: string) {
    this.#options = options
    this.#log = options.log.child({ room: 'keeper' })
    this.#clock = clock
    this.#lock = lock
    this.#runDir = runDir
    this.#program = options.program
    this.#provenProgram = options.program
  }

  async run(): Promise<number> {
    const ended = new Promise<number>((resolve) => {
      this.#end = resolve
    })
    this.#startDaemon()
    const code = await ended
    for (const cancel of this.#cancelTimers) cancel()
    for (const slot of this.#slots) closeSlot(slot)
    this.#log.info({ op: 'keeper', code }, 'ended')
    return code
  }

  shutdown(): void {
    if (this.#phase !== 'running') return
    this.#phase = 'unmounting'
    this.#shutdown().then(
      () => this.#end(0),
      (error: unknown) => {
        this.#log.error({ op: 'shutdown', error: messageOf(error) }, 'shutdown failed')
        this.#end(keeperExit.failed)
      },
    )
  }

  // --- the daemon's life

  #startDaemon(): void {
    this.#prepareSlots()
    this.#generation += 1
    const { home, logFd = 2, nodeArgs = [] } = this.#options
    const maps = process.execArgv.includes('--enable-source-maps') ? ['--enable-source-maps'] : []
    const child = spawn(
      process.execPath,
      [...maps, ...nodeArgs, this.#program, '__daemon', '--home', home],
      {
        cwd: '/',
        detached: true, // its own group: Ctrl-C is for the keeper, which stops things in order
        env: { ...process.env, [keeperFdVariable]: String(keeperFd) },
        stdio: [
          this.#lock.fd,
          logFd,
          logFd,
          'pipe',
          ...this.#slots.map(({ fd }) => (fd < 0 ? 'ignore' : fd)),
          ...this.#slots.map(({ polledFd }) => (polledFd < 0 ? 'ignore' : polledFd)),
        ],
      },
    )
    const life: Life = {
      child,
      channel: (child.stdio?.[keeperFd] ?? null) as Duplex | null,
      startedMs: this.#clock.monotonicMs(),
      program: this.#program,
      readyMs: null,
    }
    this.#life = life
    let over = false
    const onEnd = (code: number | null, signal: NodeJS.Signals | null, error?: Error) => {
      if (over) return
      over = true
      life.channel?.destroy()
      this.#life = null
      this.#onDaemonEnd(life, code, signal, error)
    }
    child.on('exit', (code, signal) => onEnd(code, signal))
    child.on('error', (error) => {
      if (child.pid === undefined) onEnd(null, null, error)
    })
    this.#listen(life)
    this.#tell({
      kind: 'state',
      generation: this.#generation,
      afterCrash: this.#afterCrash,
      endedBy: this.#endedBy,
      slots: this.#slots.flatMap((slot, index) => (slot.fd < 0 ? [] : this.#stateOf(index))),
      binds: [...this.#binds].map(([target, dev]) => {
        const slot = this.#slots.findIndex((slot) => slot.mounted?.dev === dev)
        const place = mountAt(target)
        const readOnly = place?.options.split(',').includes('ro') ?? false
        return { slot: slot < 0 ? null : slot, target, readOnly }
      }),
      fuseError: this.#fuseError,
    })
    this.#log.info(
      { op: 'start', daemonPid: child.pid, generation: this.#generation, program: this.#program },
      'daemon started',
    )
    this.#publish()
  }

  #onDaemonEnd(
    life: Life,
    code: number | null,
    signal: NodeJS.Signals | null,
    error?: Error,
  ): void {
    this.#log.info(
      { op: 'end', daemonPid: life.child.pid, code, signal, error: error?.message },
      'daemon ended',
    )
    this.#endedBy = signal
    this.#publish()
    this.#daemonGone?.()
    if (this.#phase === 'stopping') return
    if (this.#restarting) {
      this.#restarting = false
      this.#afterCrash = false
      this.#startDaemon()
      return
    }
    this.#onCrash(life, code)
  }

  #onCrash(life: Life, code: number | null): void {
    this.#afterCrash = true
    const mounts = this.#countMounts()
    if (!this.#everReady && code !== null && mounts === 0 && this.#phase === 'running') {
      // It ended by itself before it ever served: it has said why, and would only say it again.
      this.#end(code === 0 ? keeperExit.failed : code)
      return
    }
    if (life.readyMs === null && this.#program !== this.#provenProgram) {
      this.#failedUpgrades += 1
      if (this.#failedUpgrades >= UPGRADE_TRIES) {
        this.#log.error(
          { op: 'upgrade', program: this.#program, back: this.#provenProgram },
          'the new program does not start, going back to the one before',
        )
        this.#program = this.#provenProgram
      }
    }
    const nowMs = this.#clock.monotonicMs()
    if (life.readyMs !== null && nowMs - life.readyMs >= SERVED_MS) {
      this.#backoffMs = 0
      this.#startDaemon()
      return
    }
    if (nowMs - life.startedMs >= LONG_START_MS) this.#backoffMs = 0
    this.#crashesMs = this.#crashesMs.filter((ms) => nowMs - ms < CRASH_WINDOW_MS)
    this.#crashesMs.push(nowMs)
    if (this.#backoffMs === 0 && this.#crashesMs.length < CRASHES_MAX) {
      this.#startDaemon()
      return
    }
    if (mounts === 0 && this.#phase === 'running') {
      this.#log.error({ op: 'crash' }, 'the daemon keeps dying and nothing is mounted, giving up')
      this.#end(keeperExit.failed)
      return
    }
    this.#backoffMs = Math.min(Math.max(this.#backoffMs * 2, BACKOFF_MS_MIN), BACKOFF_MS_MAX)
    this.#log.error({ op: 'crash', waitMs: this.#backoffMs }, 'the daemon keeps dying')
    this.#after(this.#backoffMs, () => {
      if (this.#life === null && this.#phase !== 'stopping') this.#startDaemon()
    })
  }

  // --- what the daemon says

  #listen(life: Life): void {
    const { channel } = life
    if (channel === null) return
    const drop = (why: string) => {
      // The stream cannot be trusted any more; the next daemon gets a new one and the mounts stay.
      this.#log.error({ op: 'ipc', daemonPid: life.child.pid, why }, 'daemon killed')
      channel.destroy()
      life.child.kill('SIGKILL')
    }
    const splitter = new LineSplitter((line) => this.#hear(life, line))
    channel.setEncoding('utf8')
    channel.on('data', (text: string) => {
      try {
        splitter.feed(text)
      } catch (error) {
        drop(messageOf(error))
      }
    })
    channel.on('error', () => {}) // the daemon is dead or dying; 'exit' tells
  }

  #hear(life: Life, line: string): void {
    let request: KeeperRequest
    try {
      request = decodeRequest(line)
    } catch (error) {
      this.#log.warn({ op: 'ipc', error: messageOf(error) }, 'unknown message from the daemon')
      if (error instanceof RequestError && error.id !== null) {
        this.#answerError(
          life,
          error.id,
          new FsError('EPROTO', 'keeper', { message: error.message }),
        )
      }
      return
    }
    this.#do(life, request).then(
      (result) => this.#tell({ kind: 'answer', id: request.id, result }, life),
      (error: unknown) => this.#answerError(life, request.id, error),
    )
  }

  async #do(life: Life, request: KeeperRequest): Promise<unknown> {
    switch (request.verb) {
      case 'mount':
        return this.#mountFor(life, request)
      case 'unmount':
        return this.#unmount(request.slot, request.lazy)
      case 'bind':
        return this.#bind(request)
      case 'unbind':
        return this.#unbind(request.target, request.lazy)
      case 'mounted-state': {
        const slot = this.#slot(request.slot)
        if (JSON.stringify(request.info).length > INFO_CHARS_MAX) {
          throw new FsError('E2BIG', 'mounted-state', { slot: request.slot })
        }
        slot.info = request.info
        return null
      }
      case 'ended': {
        const slot = this.#slot(request.slot)
        const { mounted } = slot
        if (slot.busy) throw new FsError('EBUSY', 'ended', { slot: request.slot, retry: 'later' })
        if (mounted !== null) {
          for (const entry of this.#entriesOf(mounted.dev)) {
            await unmountEntry(entry.mountPoint, true, 10_000)
          }
        }
        this.#retire(slot)
        return null
      }
      case 'restart':
        this.#restart(life, request.program)
        return null
      case 'shutdown':
        this.shutdown()
        return null
      case 'ready':
        life.readyMs = this.#clock.monotonicMs()
        this.#everReady = true
        this.#failedUpgrades = 0
        this.#provenProgram = life.program
        this.#publish()
        return null
      default:
        return request satisfies never
    }
  }

  #restart(life: Life, program: string | null): void {
    if (this.#phase !== 'running' || this.#life !== life) {
      throw new FsError('EBUSY', 'restart', { message: 'the keeper is stopping' })
    }
    if (program !== null) {
      this.#program = program
      this.#failedUpgrades = 0
    }
    this.#restarting = true
    this.#after(RESTART_MS, () => {
      if (this.#life === life) life.child.kill('SIGKILL')
    })
  }

  // --- mounts

  /** A daemon that dies while its mount is made leaves it to the next one, which hears how it ended. */
  async #mountFor(life: Life, request: KeeperRequest & { verb: 'mount' }): Promise<MountAnswer> {
    try {
      return await this.#mount(request)
    } finally {
      if (life !== this.#life) this.#tell({ kind: 'slot', slot: this.#stateOf(request.slot) })
    }
  }

  async #mount(request: KeeperRequest & { verb: 'mount' }): Promise<MountAnswer> {
    this.#refuseWhenStopping('mount')
    const slot = this.#slot(request.slot)
    if (slot.mounted !== null || slot.busy || slot.fd < 0) {
      throw new FsError('EBUSY', 'mount', { message: `slot ${request.slot} is used already` })
    }
    slot.busy = true
    try {
      const { target, source, options } = request
      const done = await mountFuse(slot.fd, target, { source, options })
      slot.mounted = { ...done }
      this.#log.info({ op: 'mount', slot: request.slot, dev: done.dev }, 'mounted')
      await this.#clone(slot)
      return { ...done, polled: slot.polled }
    } catch (error) {
      slot.info = null
      if (probeFuse(slot.fd) !== 'fresh') this.#retire(slot)
      throw error
    } finally {
      slot.busy = false
      this.#publish()
    }
  }

  /** A mount without its clone is served all the same, only slower. */
  async #clone(slot: Slot): Promise<void> {
    try {
      await cloneFuse(slot.fd, slot.polledFd)
      slot.polled = true
    } catch (error) {
      this.#log.warn(
        { op: 'clone', error: messageOf(error) },
        'requests are waited for, not polled',
      )
    }
  }

  async #unmount(index: number, lazy: boolean): Promise<UnmountAnswer> {
    const slot = this.#slot(index)
    const { mounted } = slot
    if (mounted === null) {
      throw new FsError('EINVAL', 'unmount', { message: `slot ${index} is not mounted` })
    }
    if (mounted.target !== null) await unmountFuse(mounted.target, { lazy, deadlineMs: UNMOUNT_MS })
    this.#reconcile()
    this.#publish()
    return unmountAnswer(slot.mounted)
  }

  async #bind(request: KeeperRequest & { verb: 'bind' }): Promise<BindAnswer> {
    this.#refuseWhenStopping('bind')
    // Its first place may be gone by hand: a bind of the bare directory there would show nothing of ours.
    this.#reconcile()
    const source = this.#slot(request.slot).mounted?.target
    if (source == null) {
      throw new FsError('EBUSY', 'bind', {
        message: 'the mount that a second place is wanted of stands nowhere now',
        retry: 'later',
      })
    }
    const done = await bindMount(source, request.target, request.options)
    this.#binds.set(done.target, done.dev)
    this.#publish()
    return done
  }

  async #unbind(target: string, lazy: boolean): Promise<UnmountAnswer> {
    const dev = this.#binds.get(target)
    await unmountFuse(target, { lazy, deadlineMs: UNMOUNT_MS })
    this.#reconcile()
    this.#publish()
    return unmountAnswer(this.#slots.find(({ mounted }) => mounted?.dev === dev)?.mounted ?? null)
  }

  #refuseWhenStopping(op: string): void {
    if (this.#phase === 'running') return
    throw new FsError('EBUSY', op, { message: 'weft is stopping' })
  }

  #stateOf(index: number): SlotState {
    const { mounted, busy, polled, info } = this.#slot(index)
    return {
      slot: index,
      fd: firstFuseFd + index,
      polledFd: firstFuseFd + this.#slots.length + index,
      polled,
      // A mount command of the last life may still be running: its mount will want a server.
      used: mounted !== null || busy,
      target: mounted?.target ?? null,
      mountId: mounted?.mountId ?? null,
      dev: mounted?.dev ?? null,
      info,
    }
  }

  #slot(index: number): Slot {
    const slot = this.#slots[index]
    if (slot === undefined) throw new FsError('EINVAL', 'slot', { message: `no slot ${index}` })
    return slot
  }

  /**
   * Bring what we remember in line with the mount table: a person may have used umount(8) or mount --bind.
   * A slot whose place is gone takes that of a bind mount of it, if there is one.
   */
  #reconcile(): void {
    const table = mountTable().filter(isWeftMount)
    for (const [target, dev] of this.#binds) {
      if (!table.some((entry) => entry.mountPoint === target && entry.dev === dev)) {
        this.#binds.delete(target)
      }
    }
    for (const slot of this.#slots) {
      const { mounted } = slot
      if (mounted === null || slot.busy) continue
      const entries = table.filter((entry) => entry.dev === mounted.dev)
      if (entries.some((entry) => entry.mountPoint === mounted.target)) continue
      if (probeFuse(slot.fd) !== 'live') {
        this.#retire(slot)
        continue
      }
      const other = entries.find((entry) => entry.root === '/') ?? entries[0]
      mounted.target = other?.mountPoint ?? null
      if (other !== undefined) this.#binds.delete(other.mountPoint)
    }
  }

  #retire(slot: Slot): void {
    slot.mounted = null
    slot.info = null
    closeSlot(slot)
    this.#publish()
  }

  /** Every slot has a descriptor, and enough of them are fresh. */
  #prepareSlots(): void {
    this.#reconcile()
    this.#fuseError = null
    try {
      for (const slot of this.#slots) {
        if (slot.fd < 0) Object.assign(slot, openSlot())
        // Said for a mount that was never asked for: the daemon died in between.
        if (slot.mounted === null && !slot.busy) slot.info = null
      }
      let fresh = this.#slots.filter((slot) => slot.mounted === null && !slot.busy).length
      for (; fresh < (this.#options.spareSlots ?? SPARE_SLOTS); fresh += 1) {
        this.#slots.push({ ...openSlot(), mounted: null, busy: false, info: null })
      }
    } catch (error) {
      this.#fuseError = wireError(error)
      this.#log.warn({ op: 'slots', code: codeOf(error) }, messageOf(error))
    }
  }

  #countMounts(): number {
    return this.#slots.filter((slot) => slot.mounted !== null || slot.busy).length
  }

  #entriesOf(dev: string): MountEntry[] {
    return mountTable().filter((entry) => isWeftMount(entry) && entry.dev === dev)
  }

  // --- the end

  async #shutdown(): Promise<void> {
    if (this.#life === null && this.#countMounts() > 0) this.#startDaemon() // was in back-off
    await this.#unmountAll()
    this.#phase = 'stopping'
    const life = this.#life
    if (life === null) return
    const gone = new Promise<void>((resolve) => {
      this.#daemonGone = resolve
    })
    this.#tell({ kind: 'please-stop' })
    const cancel = this.#after(STOP_MS, () => {
      this.#log.error({ op: 'stop', daemonPid: life.child.pid }, 'daemon did not stop, killed')
      life.child.kill('SIGKILL')
    })
    await gone
    cancel()
  }

  /**
   * While the daemon serves: the kernel writes its dirty pages as part of an unmount. Bind mounts a person made
   * of ours go too, they would be dead. What stays busy is written out and then taken from the tree.
   */
  async #unmountAll(): Promise<void> {
    const devs = new Set<string>()
    for (const { mounted } of this.#slots) {
      if (mounted === null) continue
      devs.add(mounted.dev)
      if (mounted.target !== null) await this.#writeOut(mounted.target)
    }
    const startedMs = this.#clock.monotonicMs()
    for (;;) {
      // Newest first: a mount inside a mount comes after it.
      const entries = mountTable()
        .filter((entry) => isWeftMount(entry) && devs.has(entry.dev))
        .reverse()
      if (entries.length === 0) break
      const late = this.#clock.monotonicMs() - startedMs > BUSY_MS
      for (const { mountPoint } of entries) {
        if (late) await this.#writeOut(mountPoint)
        try {
          await unmountEntry(mountPoint, late, BUSY_MS)
          this.#log.info({ op: 'unmount', lazy: late }, 'unmounted')
        } catch (error) {
          if (late) {
            this.#log.error({ op: 'unmount', error: messageOf(error) }, 'could not be unmounted')
          }
        }
      }
      if (late) break
      if (this.#entriesLeft(devs)) await new Promise<void>((go) => this.#after(100, go))
    }
    this.#reconcile()
    await this.#endHeld()
    this.#publish()
  }

  /** What open files or another mount namespace keep alive would be waited for for ever: it is written out, and ends here. */
  async #endHeld(): Promise<void> {
    for (const { mounted } of this.#slots) {
      if (mounted === null) continue
      const heldBy = mountHolders(mounted.dev)
      this.#log.warn({ op: 'unmount', dev: mounted.dev, heldBy }, 'still in use, and ended')
      try {
        await haveConnectionControl()
        abortConnection(mounted.dev)
      } catch (error) {
        this.#log.error({ op: 'unmount', error: messageOf(error) }, 'could not be ended')
      }
    }
  }

  async #writeOut(target: string): Promise<void> {
    try {
      await syncMount(target, SYNC_MS)
    } catch (error) {
      this.#log.error({ op: 'sync', error: messageOf(error) }, 'not everything was written out')
    }
  }

  #entriesLeft(devs: ReadonlySet<string>): boolean {
    return mountTable().some((entry) => isWeftMount(entry) && devs.has(entry.dev))
  }

  // --- telling

  #tell(message: KeeperMessage, life = this.#life): void {
    if (life === null || life !== this.#life) return
    if (life.channel === null || life.channel.destroyed) return
    life.channel.write(`${JSON.stringify(message)}\n`)
  }

  #answerError(life: Life, id: number, error: unknown): void {
    if (!(error instanceof FsError)) {
      this.#log.error({ op: 'ipc', error: error instanceof Error ? error.stack : error }, 'bug')
    }
    this.#tell({ kind: 'answer', id, error: wireError(error) }, life)
  }

  /** keeper.json is for people and for other keepers; the lock does not rest on it. */
  #publish(): void {
    const daemonPid = this.#life?.child.pid ?? null
    try {
      writeKeeperFile(this.#runDir, {
        version: 1,
        ...markOf(process.pid),
        home: this.#options.home,
        program: this.#program,
        daemonPid,
        daemonStartTicks: daemonPid === null ? null : startTicksOf(daemonPid),
        generation: this.#generation,
        ready: (this.#life?.readyMs ?? null) !== null,
        mounts: this.#slots.flatMap(({ mounted }) =>
          mounted === null ? [] : [{ target: mounted.target, dev: mounted.dev }],
        ),
      })
    } catch (error) {
      this.#log.error({ op: 'publish', error: messageOf(error) }, 'cannot write keeper.json')
    }
  }

  #after(ms: number, call: () => void): () => void {
    const cancel = this.#clock.after(ms, () => {
      this.#cancelTimers.delete(cancel)
      call()
    })
    this.#cancelTimers.add(cancel)
    return cancel
  }
}

/** A full disk or a closed pipe behind the log costs lines, not the mounts. */
function unfailing(log: Log): Log {
  const safe = (level: 'debug' | 'info' | 'warn' | 'error') => (fields: object, text: string) => {
    try {
      log[level](fields, text)
    } catch {
      // nowhere left to say so
    }
  }
  return {
    debug: safe('debug'),
    info: safe('info'),
    warn: safe('warn'),
    error: safe('error'),
    child: (fields) => unfailing(log.child(fields)),
  }
}

function openSlot(): Pick<Slot, 'fd' | 'polledFd' | 'polled'> {
  const fd = openFuse()
  try {
    return { fd, polledFd: openFuse({ nonBlocking: true }), polled: false }
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function closeSlot(slot: Slot): void {
  if (slot.fd < 0) return
  closeSync(slot.fd)
  closeSync(slot.polledFd)
  slot.fd = -1
  slot.polledFd = -1
  slot.polled = false
}

function unmountAnswer(mounted: Mounted | null): UnmountAnswer {
  const target = mounted?.target ?? null
  const isHeld = mounted !== null && target === null
  return { ended: mounted === null, target, heldBy: isHeld ? mountHolders(mounted.dev) : [] }
}

function wireError(error: unknown): WireError {
  return error instanceof FsError
    ? { code: error.code, op: error.op, message: error.message }
    : { code: 'EIO', op: 'keeper', message: messageOf(error) }
}
