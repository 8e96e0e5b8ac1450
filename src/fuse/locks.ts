import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Clock, errnoOf, FsError, type Ino, type VolumeNumber } from '../base/index.ts'
import { F_UNLCK, type LockRequest, LockTable, type VolumeFs } from '../vfs/index.ts'
import { OWN_SESSION } from './access-protocol.ts'
import { fileOf } from './handles.ts'
import { keepJson, keptJson } from './kept-json.ts'
import type { FileLock, LkIn } from './wire/index.ts'

const FILE = 'locks.json'
/** Sessions that have lost locks to others. */
const ENDED = 'ended-sessions.json'

interface KeptLock {
  ino: number
  owner: string
  start: string
  end: string
  type: number
  pid: number
  flock: boolean
  file: number
}

/** A request that waits for a lock; it is served anew elsewhere when its volume goes there. */
export interface WaitingLock extends Later {
  readonly frame: Buffer
}

/** A request that is answered later. */
export interface Later {
  /** Where it was read, and its answer goes. */
  readonly fd: number
  readonly answer: (errno: number) => void
}

export interface LocksWorld {
  readonly clock: Clock
  /** How the request in hand gets its answer when it has waited. */
  later(): Later
  /** Whether another node's session has been heard of in this life of the daemon. */
  isAlive(number: VolumeNumber, session: number): boolean
}

interface VolumeLocks {
  table: LockTable
  /** `changes` of the table as it is kept. */
  keptChanges: number
  waiting: Map<string, WaitingLock>
  /** When locks of sessions that have not come back by then are free. */
  graceUntilMs: number
}

/** A term of sessions and some: those of other nodes say by then that they go on. */
const GRACE_MS = 12_000

/** Nobody holds what was held before: the volume has been another node's meanwhile, and all descriptors have ended. */
export function forgetLocks(stagingDirectory: string): void {
  rmSync(join(stagingDirectory, FILE), { force: true })
  rmSync(join(stagingDirectory, ENDED), { force: true })
}

/** What a session of another node held may be another's by now, whichever life of the daemon gave it away. */
export function lostLocks(stagingDirectory: string, session: number): boolean {
  return endedIn(stagingDirectory).includes(session)
}

/** The kernel's own name of who holds a lock has 64 bits; those of another session never meet it. */
const OWNER_BITS = 64n

/**
 * Locks of mounts whose kernels ask for them. They are kept on the staging tmpfs, so that those of this node's own kernel
 * hold through the death of the daemon; a waiting request is sent again by the kernel.
 */
export class Locks {
  readonly #volumes = new Map<VolumeNumber, VolumeLocks>()
  readonly #world: LocksWorld
  /** Whose requests are being served: 0 for this node's own kernel, else another node's session. */
  session = OWN_SESSION

  constructor(world: LocksWorld) {
    this.#world = world
  }

  test(volume: VolumeFs, ino: Ino, request: LkIn): FileLock {
    const held = this.#of(volume).table.conflict(this.#wanted(ino, request))
    if (!held) return { start: request.start, end: request.end, type: F_UNLCK, pid: 0 }
    return { start: held.start, end: held.end, type: held.type, pid: held.pid }
  }

  /**
   * @param frame the whole request
   * @returns true when granted; false when the request waits and is answered later
   * @throws FsError EAGAIN when another owner is in the way and the caller does not wait
   */
  set(
    volume: VolumeFs,
    ino: Ino,
    request: LkIn,
    wait: boolean,
    frame: Buffer,
    key: string,
  ): boolean {
    const locks = this.#of(volume)
    const { table, waiting } = locks
    const lock = this.#wanted(ino, request)
    this.#dropLost(volume, lock)
    const isGranted = table.set(lock)
    this.#keep(volume, locks)
    if (isGranted) return true
    if (!wait) throw new FsError('EAGAIN', 'lock', { ino })
    const later = this.#world.later()
    const id = this.#key(key)
    waiting.set(id, { frame: Buffer.from(frame), ...later })
    table.wait({
      key: id,
      request: lock,
      answer: (errno) => {
        waiting.delete(id)
        this.#keep(volume, locks)
        later.answer(errno)
      },
    })
    return false
  }

  /** @param key names the request among those of its session */
  interrupt(key: string): void {
    const id = this.#key(key)
    for (const { table } of this.#volumes.values()) {
      if (table.interrupt(id, -errnoOf('EINTR'))) return
    }
  }

  closed(volume: VolumeFs, ino: Ino, owner: bigint, flock: boolean): void {
    const locks = this.#of(volume)
    locks.table.release(ino, this.#owner(owner), flock)
    this.#keep(volume, locks)
  }

  /** The last descriptor of an open file was closed (RELEASE). @param handle the file's */
  released(volume: VolumeFs, ino: Ino, handle: number): void {
    const locks = this.#of(volume)
    const isHolder = (lock: { owner: bigint }) => sessionOf(lock) === this.session
    locks.table.releaseFile(ino, fileOf(handle), isHolder)
    this.#keep(volume, locks)
  }

  /**
   * A session is over: what it held is free, and it does not go on. One of this node's own kernel ends with its mount, and the
   * next mount's is another.
   */
  endSession(volume: VolumeFs, session: number): void {
    const locks = this.#of(volume)
    const { table } = locks
    const held = [...table.all()].filter((lock) => sessionOf(lock) === session)
    if (held.length > 0 && session !== OWN_SESSION) {
      const { stagingDirectory } = volume.volume.opening
      keepJson(join(stagingDirectory, ENDED), [...endedIn(stagingDirectory), session])
    }
    for (const { ino, owner, flock } of held) table.release(ino, owner, flock)
    this.#keep(volume, locks)
  }

  /** This node's own kernel holds nothing: its mount has ended, or is just beginning. */
  endOwn(volume: VolumeFs): void {
    this.endSession(volume, OWN_SESSION)
  }

  /** How many are held, those of sessions that never came back aside. */
  held(volume: VolumeFs): number {
    const { table } = this.#of(volume)
    return [...table.all()].filter((lock) => !this.#isLost(volume, lock)).length
  }

  /** Another thread answers for a volume from now on. @returns requests that wait */
  leave(number: VolumeNumber): WaitingLock[] {
    const left = this.#volumes.get(number)
    this.#volumes.delete(number)
    return left ? [...left.waiting.values()] : []
  }

  /** What is in the way may be of a session that never came back after this daemon began. */
  #dropLost(volume: VolumeFs, lock: LockRequest): void {
    const { table } = this.#of(volume)
    for (;;) {
      const held = lock.type === F_UNLCK ? null : table.conflict(lock)
      if (!held || !this.#isLost(volume, held)) return
      this.endSession(volume, sessionOf(held))
    }
  }

  #isLost(volume: VolumeFs, held: { owner: bigint }): boolean {
    const session = sessionOf(held)
    if (session === OWN_SESSION || this.#world.isAlive(volume.volume.number, session)) return false
    return this.#world.clock.monotonicMs() >= this.#of(volume).graceUntilMs
  }

  #key(key: string): string {
    return `${this.session}/${key}`
  }

  #owner(owner: bigint): bigint {
    return (BigInt(this.session) << OWNER_BITS) | owner
  }

  #wanted(ino: Ino, { fh, owner, start, end, type, pid, lk_flags }: LkIn) {
    const flock = (lk_flags & 1) !== 0
    return { ino, owner: this.#owner(owner), start, end, type, pid, flock, file: fileOf(fh) }
  }

  #of(volume: VolumeFs): VolumeLocks {
    const { number } = volume.volume
    let found = this.#volumes.get(number)
    if (!found) {
      const graceUntilMs = this.#world.clock.monotonicMs() + GRACE_MS
      const table = new LockTable()
      this.#recall(volume, table)
      found = { table, keptChanges: table.changes, waiting: new Map(), graceUntilMs }
      this.#volumes.set(number, found)
    }
    return found
  }

  /** Locks of the daemon's life before, those of other nodes' sessions too: they may go on. */
  #recall(volume: VolumeFs, table: LockTable): void {
    const all = keptJson(join(volume.volume.opening.stagingDirectory, FILE)) ?? []
    for (const kept of all as KeptLock[]) {
      const owner = BigInt(kept.owner)
      const { ino, start, end, type, pid, flock, file } = kept
      const range = { start: BigInt(start), end: BigInt(end) }
      table.restore({ ino: ino as Ino, owner, ...range, type, pid, flock, file })
    }
  }

  #keep(volume: VolumeFs, locks: VolumeLocks): void {
    const { table } = locks
    if (locks.keptChanges === table.changes) return
    const kept = [...table.all()].map(({ ino, owner, start, end, type, pid, flock, file }) => ({
      ino,
      owner: String(owner),
      start: String(start),
      end: String(end),
      type,
      pid,
      flock,
      file,
    }))
    keepJson(join(volume.volume.opening.stagingDirectory, FILE), kept)
    locks.keptChanges = table.changes
  }
}

function endedIn(stagingDirectory: string): number[] {
  return (keptJson(join(stagingDirectory, ENDED)) ?? []) as number[]
}

function sessionOf({ owner }: { owner: bigint }): number {
  return Number(owner >> OWNER_BITS)
}
