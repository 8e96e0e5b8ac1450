import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import {
  type Clock,
  type DriveId,
  type Epoch,
  hexId,
  limits,
  type NodeId,
  type Random,
  silentLog,
  type VolumeId,
  type VolumeNumber,
} from '../../src/base/index.ts'
import {
  createBundle,
  dropEpochs,
  type KeyBundle,
  type OpenedKeys,
  rotate,
} from '../../src/crypto/index.ts'
import { type Disk, type DiskHandle, SimulatedDisk, systemDisk } from '../../src/disk/index.ts'
import { initDrive, ToldDrives } from '../../src/drives/index.ts'
import {
  Engine,
  formatVolume,
  LocalVolume,
  markViewClean,
  recoverVolume,
  SharedVolume,
  type VolumeOpening,
} from '../../src/store/index.ts'
import { VolumeFs } from '../../src/vfs/index.ts'
import { seeded } from '../support/seeded.ts'

export type Draw = Random & { below(end: number): number }

/** Time that stands still until somebody moves it. */
class SteppedClock implements Clock {
  #nowMs = 0
  #timers: { atMs: number; call: () => void }[] = []

  now() {
    // Later than a day: chunks of a simulated disk are written in 1970, and leftovers rest a day.
    const ms = 1_700_000_000_000 + this.#nowMs
    return { sec: Math.floor(ms / 1000), nsec: (ms % 1000) * 1_000_000 }
  }
  monotonicMs(): number {
    return this.#nowMs
  }
  after(ms: number, call: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, call }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer)
    }
  }
  advance(ms: number): void {
    this.#nowMs += ms
    const due = this.#timers.filter(({ atMs }) => atMs <= this.#nowMs)
    this.#timers = this.#timers.filter((one) => !due.includes(one))
    for (const { call } of due.sort((a, b) => a.atMs - b.atMs)) call()
  }
}

/**
 * The view's directory: LMDB needs real files. What a cut in power does to them is done by hand: removed names that were
 * not synced come back or not, and of the pages written since the last fdatasync each is new or what it was.
 */
class ViewFiles {
  readonly #directory: string
  /** What fdatasync left on the drive of data.mdb, and of which file. */
  #synced: { ino: number; bytes: Buffer } = { ino: 0, bytes: Buffer.alloc(0) }
  #removed = new Map<string, { directory: number; bytes: Buffer }>()
  readonly #handles = new Map<DiskHandle, string>()

  constructor(directory: string) {
    this.#directory = directory
  }

  owns(file: unknown): boolean {
    return typeof file === 'string'
      ? file.startsWith(`${this.#directory}/`) || file === this.#directory
      : this.#handles.has(file as DiskHandle)
  }

  /** The calls that recovery makes there. */
  readonly calls: Partial<Disk> = {
    exists: (path) => systemDisk.exists(path),
    readFile: (path) => systemDisk.readFile(path),
    replaceFile: (path, bytes) => {
      systemDisk.replaceFile(path, bytes)
      this.#removed.delete(path)
    },
    unlink: (path) => {
      const directory = statSync(dirname(path)).ino
      this.#removed.set(path, { directory, bytes: readFileSync(path) })
      systemDisk.unlink(path)
    },
    fsyncDirectory: () => this.#removed.clear(),
    open: (path, mode) => {
      const real = systemDisk.open(path, mode)
      systemDisk.close(real)
      const handle = (1_000_000 + this.#handles.size) as DiskHandle
      this.#handles.set(handle, path)
      return handle
    },
    fdatasync: (handle) => {
      const path = this.#handles.get(handle) ?? ''
      this.#synced = { ino: statSync(path).ino, bytes: readFileSync(path) }
    },
    close: () => undefined,
  }

  powerCut(random: Draw): void {
    for (const [path, { directory, bytes }] of this.#removed) {
      const there = existsSync(dirname(path)) && statSync(dirname(path)).ino === directory
      if (there && random.below(2) === 0) writeFileSync(path, bytes)
    }
    this.#removed.clear()
    // Its pages are as many as keyed hashes make them, and a seed has to mean the same each time.
    const pages = seeded(random.below(2 ** 31))
    const data = join(this.#directory, 'data.mdb')
    if (!existsSync(data)) return
    const now = readFileSync(data)
    const before = this.#before(data)
    for (let at = 0; at < now.length; at += 4096) {
      if (pages.below(2) === 0) now.fill(0, at, at + 4096).set(before.subarray(at, at + 4096), at)
    }
    writeFileSync(data, now)
  }

  /** Whether the view says that its file is what fdatasync left, and it is not. */
  liesAboutItself(): boolean {
    const data = join(this.#directory, 'data.mdb')
    if (!existsSync(data) || !existsSync(join(this.#directory, 'clean'))) return false
    return !readFileSync(data).equals(this.#before(data))
  }

  #before(data: string): Buffer {
    const { ino, bytes } = this.#synced
    return statSync(data).ino === ino ? bytes : Buffer.alloc(0)
  }
}

/** The power went: nothing that was begun is answered any more. */
export class PowerIsOff extends Error {}

/** What a recovered volume has to be and is not. */
export class PromiseBroken extends Error {}

const TURNS_MAX = 4000
const DRIVES = ['/drive0', '/drive1']

/** Between two starts: engine and the thread that answers the kernel, here in one thread. */
export interface Life {
  readonly engine: Engine
  readonly fs: VolumeFs
}

/** One node with one volume on a simulated disk, whose power can be cut at any call. All by one seed. */
export class SimulatedMachine {
  readonly random: Draw
  readonly disk = new SimulatedDisk()
  clock = new SteppedClock()
  /** Errors of background work while the power was on. */
  readonly failures: unknown[] = []
  readonly #dir = mkdtempSync(join(tmpdir(), 'weft-power-'))
  /** What the volume's record has; it is on another disk. */
  #keys: { bundle: KeyBundle; opened: OpenedKeys }
  readonly #store: Disk
  readonly #drives = new ToldDrives()
  readonly #view: ViewFiles
  #boot = ''
  #epoch = 0
  #life: Life | null = null

  private constructor(
    seed: number,
    keys: { bundle: KeyBundle; opened: OpenedKeys },
    lie: (disk: SimulatedDisk) => Disk,
  ) {
    this.random = seeded(seed)
    this.#keys = keys
    this.#view = new ViewFiles(join(this.#dir, 'view'))
    this.#store = routed(lie(this.disk), this.#view)
    const drives = DRIVES.map((directory, index) => {
      const id = hexId<DriveId>(`${index}`.repeat(32))
      const nodeId = hexId<NodeId>('a'.repeat(32))
      return initDrive(directory, { id, class: 2, nodeId }, this.disk, { files: this.disk })
    })
    this.#drives.tell(drives)
    this.#newBoot()
  }

  /** @param lie what stands between the store and the disk: a disk that breaks its promises, or the disk itself */
  static async make(
    seed: number,
    lie: (disk: SimulatedDisk) => Disk = (disk) => disk,
  ): Promise<SimulatedMachine> {
    const id = hexId<VolumeId>('5e'.repeat(16))
    const slot = { kind: 'node', label: 'n', publicKey: Buffer.alloc(32, 9) } as const
    const keys = await createBundle(id, [slot], '2026-11-01T00:00:00Z')
    const machine = new SimulatedMachine(seed, keys, lie)
    const root = { mode: 0o755, uid: 0, gid: 0, now: machine.clock.now() }
    const opening = machine.#opening(new SharedVolume())
    const epoch = ++machine.#epoch as Epoch
    machine.#begin(formatVolume(opening, epoch, root, machine.#store))
    return machine
  }

  get life(): Life {
    if (!this.#life) throw new Error('the machine is off')
    return this.#life
  }

  /** Opens the volume again, in another life of the daemon. @throws PromiseBroken when it does not open */
  start(): void {
    if (this.#view.liesAboutItself()) {
      throw new PromiseBroken('the view is marked clean and was written since')
    }
    const opening = this.#opening(new SharedVolume())
    const epoch = ++this.#epoch as Epoch
    try {
      this.#begin(recoverVolume(opening, epoch, silentLog, false, this.#store).volume)
    } catch (error) {
      throw new PromiseBroken(`the volume does not open: ${error}`, { cause: error })
    }
  }

  #begin(volume: LocalVolume): void {
    const { clock, random } = this
    const engine = new Engine(volume, { log: silentLog, clock, random })
    const front = new LocalVolume(this.#opening(volume.shared), this.#store)
    const fs = new VolumeFs(
      front,
      {
        clock,
        log: silentLog,
        mount: 1,
        // A worker waits here for the engine, which in this thread nobody would wake.
        wakeEngine: () => {
          engine.follow()
          engine.wake()
        },
        purge: (inos) => engine.purge(inos),
        damaged: (_volume, chunk, what) => this.failures.push(new Error(`${chunk}: ${what}`)),
      },
      true,
    )
    this.#life = { engine, fs }
    engine.wake()
  }

  /** Cuts the power: what was not synced is lost or torn, and all memory with it. The next start is another boot. */
  async powerCut(): Promise<void> {
    if (!this.disk.off) this.disk.powerOffAfter(0)
    await this.#end()
    this.disk.powerCut(this.random)
    this.#view.powerCut(this.random)
    this.#newBoot()
  }

  /** An orderly end of the daemon, or of the whole machine, after which the view may be used again. */
  async shutDown(what: 'daemon' | 'machine'): Promise<void> {
    const { engine } = this.life
    await this.wait(engine.stop())
    const { opening } = engine.volume
    await this.#end()
    markViewClean(opening, this.#store)
    if (what === 'daemon') return
    this.disk.powerCut(this.random)
    this.#view.powerCut(this.random)
    this.#newBoot()
  }

  /** Lets background work go on for some turns of the event loop. */
  async turns(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
  }

  /** Lets time pass until something is so. @throws PowerIsOff */
  async until(reached: () => boolean): Promise<void> {
    for (let turn = 0; !reached(); turn++) {
      if (this.disk.off) throw new PowerIsOff()
      if (turn > TURNS_MAX) throw new PromiseBroken('the engine hangs')
      this.clock.advance(20)
      await this.turns(1)
    }
  }

  /** @throws PowerIsOff, or what the promise brings */
  async wait<T>(promise: Promise<T>): Promise<T> {
    let over = false
    const settled = promise.finally(() => {
      over = true
    })
    settled.catch(() => {}) // awaited below, unless the power goes
    await this.until(() => over)
    return await settled
  }

  /** Runs on beside; its failure counts while there is power. */
  background(promise: Promise<unknown>): void {
    promise.catch((error: unknown) => {
      if (!this.disk.off) this.failures.push(error)
    })
  }

  async close(): Promise<void> {
    if (this.#life) {
      if (!this.disk.off) this.disk.powerOffAfter(0)
      await this.#end()
    }
    rmSync(this.#dir, { recursive: true, force: true })
  }

  async #end(): Promise<void> {
    const { engine, fs } = this.life
    this.#life = null
    // Its timers go with it.
    this.clock = new SteppedClock()
    await this.turns(60)
    fs.close()
    await fs.volume.close()
    await engine.volume.close()
  }

  #newBoot(): void {
    this.#boot = this.random.bytes(16).toString('hex')
    const staging = join(this.#dir, 'staging')
    rmSync(staging, { recursive: true, force: true })
    mkdirSync(staging)
  }

  /** A new key epoch; what is sealed from now on is sealed with it. */
  rotateKey(): void {
    this.#takeKeys(rotate(this.#keys.bundle, this.#keys.opened))
  }

  /** Nothing but the newest key epoch opens anything any more. */
  dropOldKeys(): void {
    const { bundle, opened } = this.#keys
    this.#takeKeys(dropEpochs(bundle, opened, opened.keys.newest))
  }

  #takeKeys(keys: { bundle: KeyBundle; opened: OpenedKeys }): void {
    this.#keys = keys
    if (!this.#life) return
    for (const { volume } of [this.#life.engine, this.#life.fs]) {
      volume.keys.replace(keys.opened.keys.export())
    }
  }

  #opening(shared: SharedVolume): VolumeOpening {
    const { opened } = this.#keys
    shared.sizeBytes = limits.volumeBytesDefault
    return {
      id: opened.volumeId,
      number: 1 as VolumeNumber,
      name: 'vol',
      viewDirectory: join(this.#dir, 'view'),
      journalDirectory: join(DRIVES[0] as string, 'volumes', opened.volumeId),
      stagingDirectory: join(this.#dir, 'staging'),
      drives: this.#drives.buffer,
      boot: this.#boot,
      keys: opened.keys.export(),
      shared: shared.buffer,
    }
  }
}

/** A disk whose calls for the view's directory go there. */
function routed(disk: Disk, view: ViewFiles): Disk {
  return new Proxy(disk, {
    get(target, name) {
      const own = methodOf(target, name)
      const other = Reflect.get(view.calls, name) as Method | undefined
      if (!other) return own
      return (...args: unknown[]) => (view.owns(args[0]) ? other(...args) : own(...args))
    },
  })
}

type Method = (...args: unknown[]) => unknown

function methodOf(disk: Disk, name: string | symbol): Method {
  return (Reflect.get(disk, name) as Method).bind(disk)
}

/** The simulated disk with some calls of another kind. */
export function lying(disk: SimulatedDisk, calls: Partial<Disk>): Disk {
  return new Proxy(disk as Disk, {
    get: (target, name) => Reflect.get(calls, name) ?? methodOf(target, name),
  })
}
