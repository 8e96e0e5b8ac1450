import { codeOf, type Ino, limits, ROOT_INO } from '../../src/base/index.ts'
import { S_IFDIR, S_IFREG } from '../../src/meta/index.ts'
import { type Engine, resealVolume, stagedHeaderBytes } from '../../src/store/index.ts'
import {
  copyFileRange,
  create,
  fallocate,
  forget,
  link,
  read,
  readdir,
  rename,
  rmdir,
  setattr,
  unlink,
  type VolumeFs,
  write,
} from '../../src/vfs/index.ts'
import { Manifest, type Tree } from './manifest.ts'
import { PowerIsOff, PromiseBroken, type SimulatedMachine } from './simulated-machine.ts'
import { quietWork } from './volume-world.ts'

const root = { uid: 0, gid: 0, pid: 1 }
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f']
const DIRECTORIES = ['p', 'q']
const FILE_BYTES_MAX = 400_000
const RENAME_EXCHANGE = 2
const PUNCH_HOLE = 3

interface Place {
  parent: Ino
  name: string
}

/** One program on a volume: random steps, each noted in the manifest before it is begun. */
export class Writer {
  readonly manifest: Manifest
  readonly #machine: SimulatedMachine
  /** Reseals that came to their end. */
  resealed = 0
  #unique = 0
  #resealing: Engine | null = null

  constructor(machine: SimulatedMachine) {
    this.#machine = machine
    this.manifest = new Manifest(readTree(machine.life.fs))
  }

  /** So many steps, or until the power goes. @throws whatever a step should not have brought */
  async steps(count: number): Promise<void> {
    try {
      for (let left = count; left > 0; left--) await this.#step()
    } catch (error) {
      if (!this.#machine.disk.off) throw error
    }
  }

  /** Writes to each file what is there: its times have to move. */
  touchAll(): void {
    for (const ino of new Set(this.manifest.names.values())) {
      const bytes = this.manifest.bytesOf(ino)
      if (!bytes || bytes.length === 0) continue
      this.#put(ino, 0, bytes.subarray(0, 1), false)
      const { mtime } = this.#fs.attributes(ino).inode
      const now = this.#fs.now()
      if (mtime.sec !== now.sec || mtime.nsec !== now.nsec) {
        throw new PromiseBroken(`inode ${ino}: a write did not move its mtime`)
      }
    }
  }

  async #step(): Promise<void> {
    const { random } = this.#machine
    const steps: readonly (readonly [weight: number, step: () => Promise<void> | void])[] = [
      [12, () => this.#create()],
      [30, () => this.#write()],
      [6, () => this.#truncate()],
      [3, () => this.#punch()],
      [3, () => this.#copy()],
      [10, () => this.#rename()],
      [4, () => this.#link()],
      [6, () => this.#unlink()],
      [3, () => this.#mkdir()],
      [1, () => this.#rmdir()],
      [2, () => this.#chmod()],
      [6, () => this.#syncFile()],
      [6, () => this.#syncAll()],
      [3, () => this.#checkpoint()],
      [2, () => this.#nextJournalFile()],
      [1, () => this.#reseal()],
      [25, () => this.#machine.turns(random.below(6))],
      [15, () => this.#machine.clock.advance(random.below(500))],
    ]
    let at = random.below(steps.reduce((sum, [weight]) => sum + weight, 0))
    for (const [weight, step] of steps) {
      at -= weight
      if (at >= 0) continue
      this.#fs.enter()
      await step()
      if (this.#machine.disk.off) throw new PowerIsOff()
      return
    }
  }

  get #fs(): VolumeFs {
    return this.#machine.life.fs
  }

  #create(): void {
    const { parent, name } = this.#place()
    if (this.#inoAt(parent, name)) return
    const ino = this.#fs.volume.shared.inoNext as Ino
    this.manifest.renames((names) => names.set(keyOf(parent, name), ino))
    this.manifest.writes(ino, Buffer.alloc(0), true)
    const creation = { mode: S_IFREG | 0o644, umask: 0 }
    create(this.#fs, this.#request(), root, parent, Buffer.from(name), creation)
  }

  #write(): void {
    const ino = this.#someFile()
    if (!ino) return
    const before = this.manifest.bytes(ino)
    const { below } = this.#machine.random
    const length = 1 + below(below(3) === 0 ? 150_000 : 6000)
    const append = below(4) === 0
    const offset = append ? before.length : below(before.length + 5000)
    if (offset + length > FILE_BYTES_MAX) return
    const after = Buffer.alloc(Math.max(before.length, offset + length))
    before.copy(after)
    after.fill(`step ${this.manifest.step} `, offset, offset + length)
    this.manifest.writes(ino, after)
    this.#put(ino, offset, after.subarray(offset, offset + length), append)
  }

  #put(ino: Ino, offset: number, bytes: Buffer, append: boolean): void {
    const buffer = Buffer.concat([Buffer.alloc(stagedHeaderBytes), bytes])
    const how = { append, killSetids: false }
    write(this.#fs, this.#request(), ino, offset, buffer, stagedHeaderBytes, bytes.length, how)
  }

  async #truncate(): Promise<void> {
    const ino = this.#someFile()
    if (!ino) return
    await this.#flush([ino])
    const before = this.manifest.bytes(ino)
    const { below } = this.#machine.random
    const size = below(3) === 0 ? 0 : below(before.length + 10_000)
    const after = Buffer.alloc(size)
    before.copy(after)
    this.manifest.writes(ino, after, true)
    setattr(this.#fs, this.#request(), ino, { size })
  }

  async #punch(): Promise<void> {
    const ino = this.#someFile()
    if (!ino) return
    await this.#flush([ino])
    const before = this.manifest.bytes(ino)
    if (before.length === 0) return
    const { below } = this.#machine.random
    const from = below(before.length)
    const length = 1 + below(before.length - from)
    this.manifest.writes(ino, Buffer.from(before).fill(0, from, from + length), true)
    fallocate(this.#fs, ino, PUNCH_HOLE, from, length)
  }

  async #copy(): Promise<void> {
    const from = this.#someFile()
    const to = this.#someFile()
    if (!from || !to || from === to) return
    await this.#flush([from, to], true)
    const source = this.manifest.bytes(from)
    const target = this.manifest.bytes(to)
    if (source.length === 0) return
    const { below } = this.#machine.random
    const offset = below(source.length)
    const length = 1 + below(source.length - offset)
    const at = below(target.length + 1)
    if (at + length > FILE_BYTES_MAX) return
    const after = Buffer.alloc(Math.max(target.length, at + length))
    target.copy(after)
    source.copy(after, at, offset, offset + length)
    this.manifest.writes(to, after, true)
    copyFileRange(this.#fs, this.#request(), { ino: from, offset }, { ino: to, offset: at }, length)
  }

  async #rename(): Promise<void> {
    const from = this.#someName()
    const to = this.#place()
    if (!from) return
    const moved = this.#inoAt(from.parent, from.name) as Ino
    const replaced = this.#inoAt(to.parent, to.name)
    if (replaced === moved) return
    const exchange = replaced !== null && this.#machine.random.below(3) === 0
    await this.#flush([moved])
    this.manifest.renames(
      (names) => {
        if (exchange) names.set(keyOf(from.parent, from.name), replaced)
        else names.delete(keyOf(from.parent, from.name))
        names.set(keyOf(to.parent, to.name), moved)
      },
      [moved],
    )
    rename(
      this.#fs,
      this.#request(),
      { parent: from.parent, name: Buffer.from(from.name) },
      { parent: to.parent, name: Buffer.from(to.name) },
      exchange ? RENAME_EXCHANGE : 0,
    )
    if (replaced && !exchange) this.#maybeForget(replaced)
  }

  async #link(): Promise<void> {
    const ino = this.#someFile()
    const { parent, name } = this.#place()
    if (!ino || this.#inoAt(parent, name)) return
    await this.#flush([ino])
    this.manifest.renames((names) => names.set(keyOf(parent, name), ino), [ino])
    link(this.#fs, this.#request(), ino, parent, Buffer.from(name))
  }

  #unlink(): void {
    const found = this.#someName()
    if (!found) return
    const { parent, name } = found
    this.manifest.renames((names) => names.delete(keyOf(parent, name)))
    this.#maybeForget(unlink(this.#fs, this.#request(), parent, Buffer.from(name)))
  }

  #mkdir(): void {
    const name = this.#one(DIRECTORIES)
    if (this.#inoAt(ROOT_INO, name)) return
    const ino = this.#fs.volume.shared.inoNext as Ino
    this.manifest.renames((names) => names.set(keyOf(ROOT_INO, name), ino))
    const creation = { mode: S_IFDIR | 0o755, umask: 0 }
    create(this.#fs, this.#request(), root, ROOT_INO, Buffer.from(name), creation)
  }

  #rmdir(): void {
    const name = this.#one(DIRECTORIES)
    const ino = this.#inoAt(ROOT_INO, name)
    if (!ino || [...this.manifest.names.keys()].some((key) => key.startsWith(`${ino}/`))) return
    this.manifest.renames((names) => names.delete(keyOf(ROOT_INO, name)))
    this.#maybeForget(rmdir(this.#fs, this.#request(), ROOT_INO, Buffer.from(name)))
  }

  #chmod(): void {
    const ino = this.#someFile()
    if (ino) setattr(this.#fs, this.#request(), ino, { mode: this.#one([0o600, 0o644]) })
  }

  /** fsync of one file as the thread does it that answers the kernel: by itself where it can. */
  #syncFile(): void {
    const ino = this.#someFile() ?? ROOT_INO
    const { step } = this.manifest
    if (this.#fs.syncHere(ino)) this.manifest.promise(step, ino)
    else this.#syncByEngine(this.#fs.stagedThrough(ino), ino)
  }

  /** syncfs. */
  #syncAll(): void {
    this.#syncByEngine(this.#fs.volume.shared.stagedNumber, null)
  }

  #syncByEngine(stagedNumber: number, ino: Ino | null): void {
    const { step } = this.manifest
    const { seq } = this.#fs.volume.shared
    const done = (errno: number) => {
      if (errno === 0) this.manifest.promise(step, ino)
      else if (!this.#machine.disk.off) this.#machine.failures.push(new Error(`fsync: ${errno}`))
    }
    this.#machine.life.engine.sync({ stagedNumber, seq, done })
  }

  #checkpoint(): void {
    const { engine } = this.#machine.life
    const alone = this.#machine.random.below(3) === 0
    const taken = engine.checkpoints.take((make) => engine.commit(make), { alone })
    this.#machine.background(taken)
  }

  #nextJournalFile(): void {
    const { engine } = this.#machine.life
    engine.locked(() => {
      const { shared, journal } = engine.volume
      shared.setHead(journal.rollOver(shared.head))
    })
    engine.commit(() => ({}))
  }

  /** Begins to rewrite what the old key sealed, and then forgets that key. */
  #reseal(): void {
    const machine = this.#machine
    const { engine } = machine.life
    if (this.#resealing === engine) return
    this.#resealing = engine
    machine.rotateKey()
    const { newest } = engine.volume.keys
    const resealed = resealVolume(engine, newest, machine.random, quietWork).then(
      () => {
        machine.dropOldKeys()
        this.resealed++
      },
      (error: unknown) => {
        // Files changed faster than they could be rewritten: the old key stays.
        if (codeOf(error) !== 'EAGAIN') throw error
      },
    )
    machine.background(
      resealed.finally(() => {
        this.#resealing = null
      }),
    )
  }

  /** What the operation would wait for in the thread of a mount, without blocking the one there is here. */
  async #flush(inos: readonly Ino[], all = false): Promise<void> {
    const { volume, staged } = this.#fs
    const { shared } = volume
    // Little of a file goes into a record by the operation itself.
    const large = inos
      .map((ino) => staged.get(ino))
      .filter((file) => file && file.intervals.bytes() > limits.inlineBytesMax)
    const number = all
      ? shared.stagedNumber
      : Math.max(0, ...large.map((file) => file?.last.number ?? 0))
    if (number <= shared.committedNumber) return
    shared.flushWanted = Math.max(shared.flushWanted, number)
    this.#machine.life.engine.wake()
    await this.#machine.until(() => shared.committedNumber >= number)
    this.#fs.enter()
  }

  /** The kernel drops an inode without a name at once, or a program still has it open. */
  #maybeForget(ino: Ino): void {
    if (this.#machine.random.below(3) > 0) forget(this.#fs, ino)
  }

  #request() {
    return { uniqueLo: ++this.#unique, uniqueHi: 0 }
  }

  #one<T>(list: readonly T[]): T {
    return list[this.#machine.random.below(list.length)] as T
  }

  #inoAt(parent: Ino, name: string): Ino | null {
    return this.manifest.names.get(keyOf(parent, name)) ?? null
  }

  #place(): Place {
    const directory = this.#inoAt(ROOT_INO, this.#one([...DIRECTORIES, 'none']))
    return { parent: directory ?? ROOT_INO, name: this.#one(NAMES) }
  }

  /** A name of a file. */
  #someName(): Place | null {
    const found = [...this.manifest.names.keys()].filter(
      (key) => !DIRECTORIES.includes(key.split('/')[1] ?? ''),
    )
    if (found.length === 0) return null
    const [parent, name] = this.#one(found).split('/')
    return { parent: Number(parent) as Ino, name: name ?? '' }
  }

  #someFile(): Ino | null {
    const found = this.#someName()
    return found && this.#inoAt(found.parent, found.name)
  }
}

function keyOf(parent: Ino, name: string): string {
  return `${parent}/${name}`
}

/** Everything that is there. @throws PromiseBroken when a file cannot be read */
export function readTree(fs: VolumeFs): Tree {
  const names = new Map<string, Ino>()
  const files = new Map<Ino, Buffer>()
  const walk = (directory: Ino) => {
    const directories: Ino[] = []
    readdir(fs, directory, 0, 2, ({ ino, type, name }) => {
      names.set(keyOf(directory, name.toString()), ino)
      if (type === S_IFDIR >>> 12) directories.push(ino)
      else if (!files.has(ino)) files.set(ino, readAll(fs, ino))
      return true
    })
    for (const ino of directories) walk(ino)
  }
  fs.enter()
  walk(ROOT_INO)
  // Directories come in the order of keyed hashes, and a seed has to mean the same each time.
  return { names: new Map([...names].sort(([a], [b]) => (a < b ? -1 : 1))), files }
}

function readAll(fs: VolumeFs, ino: Ino): Buffer {
  const { size } = fs.attributes(ino).inode
  const bytes = Buffer.alloc(size)
  try {
    const count = read(fs, ino, 0, size, bytes, 0)
    if (count !== size) throw new Error(`${count} of ${size} bytes`)
  } catch (error) {
    throw new PromiseBroken(`inode ${ino} cannot be read: ${error}`, { cause: error })
  }
  return bytes
}
