import {
  type Clock,
  CorruptError,
  FsError,
  type Log,
  messageOf,
  type NodeId,
  type VolumeNumber,
} from '../base/index.ts'
import type { Coordinator } from '../coordinator/index.ts'
import { answer, answerBare, type FromWorker, wire } from '../fuse/index.ts'
import type { Beside, StoredVolume } from '../volumes/index.ts'
import type { RootOwner, Volumes } from './volumes.ts'

type Mkdir = Extract<FromWorker, { kind: 'mkdir' }>
type Rmdir = Extract<FromWorker, { kind: 'rmdir' }>
type Look = Extract<FromWorker, { kind: 'look' }>

/** The last request that changed the root through one mount, and what it came to. JSON in the coordinator. */
interface Done {
  /** Of the kernel, without the resend bit: 16 hex digits. */
  unique: string
  /** The volume that mkdir made; null for rmdir. */
  made: ({ number: VolumeNumber } & RootOwner) | null
}

export interface RootRequestsWorld {
  readonly node: NodeId
  readonly coordinator: Coordinator
  readonly volumes: Volumes
  /** What other nodes made a moment ago is known when this returns, if the coordinator answers in so many milliseconds. */
  lookAtVolumes(ms: number): Promise<void>
  /** As Mounts.again. */
  again(frame: Uint8Array, fd: number): Promise<void>
  readonly clock: Clock
  readonly log: Log
}

/** A program that asks for a name that is nowhere waits so long for a coordinator that does not answer. */
const LOOK_MS = 80
/** A name that was looked for and is nowhere is not looked for again at once. */
const NOWHERE_MS = 1000

/**
 * mkdir and rmdir at the root of the namespace: a volume with the default spec, and the end of an empty one; and a look for a
 * name that is not known yet.
 *
 * Once (design §6.12): what a request came to is kept in the same step of the coordinator that makes the change, so one that
 * the kernel sends again after a death of the daemon is answered from there. The last one of each mount is enough: the kernel
 * changes a directory by one request at a time.
 */
export class RootRequests {
  readonly #world: RootRequestsWorld
  /** Of the keys that are this node's. */
  readonly #prefix: string

  constructor(world: RootRequestsWorld) {
    this.#world = world
    this.#prefix = `root-request/${world.node}/`
  }

  /** Who was told of a volume by the node that made it finds it, and need not wait until this node is told too. */
  async look({ name, frame, fd, uniqueLo, uniqueHi }: Look): Promise<void> {
    const { volumes, lookAtVolumes, again } = this.#world
    await lookAtVolumes(LOOK_MS)
    if (volumes.all().some(({ stored }) => stored.record.name === name)) {
      await again(frame, fd)
      return
    }
    const buf = Buffer.alloc(wire.OUT_HEADER_BYTES + wire.ENTRY_BYTES)
    const end = wire.encodeNegativeEntry(buf, wire.OUT_HEADER_BYTES, NOWHERE_MS)
    answer(fd, buf, end, 0, uniqueLo, uniqueHi)
  }

  /** The kernel gets its answer, whatever it is. */
  async mkdir(mount: number, message: Mkdir): Promise<void> {
    const { name, mode, uid, gid, fd, uniqueLo, uniqueHi } = message
    try {
      const owner = { mode, uid, gid }
      const before = await this.#doneBefore(mount, message)
      if (before?.made) {
        this.#answerMade(before.made, message)
        return
      }
      const made = (stored: StoredVolume) => ({ number: stored.record.number, ...owner })
      const beside = this.#keeping(mount, message, made)
      const volume = await this.#world.volumes.create({ name }, owner, {}, beside)
      this.#answerMade(made(volume.stored), message)
    } catch (error) {
      this.#world.log.warn({ op: 'mkdir', name, error: messageOf(error) }, 'no volume made')
      answerBare(fd, errnoOf(error), uniqueLo, uniqueHi)
    }
  }

  async rmdir(mount: number, message: Rmdir): Promise<void> {
    const { name, fd, uniqueLo, uniqueHi } = message
    try {
      if (!(await this.#doneBefore(mount, message))) {
        await this.#world.volumes.mustBeEmpty(this.#world.volumes.find(name))
        await this.#world.volumes.delete(
          name,
          this.#keeping(mount, message, () => null),
        )
      }
      answerBare(fd, 0, uniqueLo, uniqueHi)
    } catch (error) {
      answerBare(fd, errnoOf(error), uniqueLo, uniqueHi)
    }
  }

  /** Mounts that are over ask nothing again. @param alive numbers of those that are not */
  async forgetAllBut(alive: ReadonlySet<number>): Promise<void> {
    for (const { key, version } of await this.#world.coordinator.list(this.#prefix)) {
      if (alive.has(Number(key.slice(this.#prefix.length)))) continue
      await this.#world.coordinator.compareAndSet(key, version, null)
    }
  }

  /** What a request came to in an earlier life of the daemon; null when it is new, or was not executed. */
  async #doneBefore(mount: number, { uniqueLo, uniqueHi }: Mkdir | Rmdir): Promise<Done | null> {
    if (!wire.isResend(uniqueHi)) return null
    const entry = await this.#world.coordinator.get(this.#keyOf(mount))
    if (!entry) return null
    const done = decodeDone(entry.value)
    return done.unique === uniqueOf(uniqueLo, uniqueHi) ? done : null
  }

  #keyOf(mount: number): string {
    return `${this.#prefix}${mount}`
  }

  #keeping(
    mount: number,
    { uniqueLo, uniqueHi }: Mkdir | Rmdir,
    made: (stored: StoredVolume) => Done['made'],
  ): Beside {
    const key = this.#keyOf(mount)
    return async (stored) => {
      const entry = await this.#world.coordinator.get(key)
      const done: Done = { unique: uniqueOf(uniqueLo, uniqueHi), made: made(stored) }
      const value = Buffer.from(JSON.stringify(done))
      return [{ key, expected: entry?.version ?? 0, value }]
    }
  }

  #answerMade(made: NonNullable<Done['made']>, { fd, uniqueLo, uniqueHi }: Mkdir): void {
    const { number, mode, uid, gid } = made
    const { sec, nsec } = this.#world.clock.now()
    const buf = Buffer.alloc(wire.OUT_HEADER_BYTES + wire.ENTRY_BYTES)
    const attr: wire.Attr = {
      volume: number,
      ino: 1,
      size: 4096,
      blocks: 0,
      atime: sec,
      atimensec: nsec,
      mtime: sec,
      mtimensec: nsec,
      ctime: sec,
      ctimensec: nsec,
      btime: sec,
      btimensec: nsec,
      mode: 0o040000 | mode,
      nlink: 2,
      uid,
      gid,
      rdev: 0,
      blksize: 4096,
    }
    // Not kept by the kernel: the next look asks the volume itself.
    const entry = { attr, generation: 0, entryValidMs: 0, attrValidMs: 0 }
    const end = wire.encodeEntry(buf, wire.OUT_HEADER_BYTES, entry)
    answer(fd, buf, end, 0, uniqueLo, uniqueHi)
  }
}

function uniqueOf(lo: number, hi: number): string {
  const digits = (word: number) => word.toString(16).padStart(8, '0')
  return digits(wire.withoutResend(hi)) + digits(lo)
}

function decodeDone(value: Buffer): Done {
  try {
    return JSON.parse(value.toString()) as Done
  } catch (error) {
    throw new CorruptError('root request that is not JSON', { bytes: value.length }, error)
  }
}

function errnoOf(error: unknown): number {
  return error instanceof FsError ? error.errno : -5
}
