import type { Ino } from '../base/index.ts'

/**
 * fcntl (byte ranges) and flock locks of one volume, as the kernel asks for them: owners are hashes, ranges are
 * inclusive and reach to 2^63 - 1. Both kinds live side by side and do not see each other, as on Linux.
 */
export const F_RDLCK = 0
export const F_WRLCK = 1
export const F_UNLCK = 2

export interface LockRequest {
  ino: Ino
  owner: bigint
  start: bigint
  end: bigint
  type: number
  pid: number
  flock: boolean
  /** Open file it is asked for through, by a number of its kernel. */
  file: number
}

/** A SETLKW that waits; `key` is the kernel's unique, for INTERRUPT. */
export interface Waiter {
  key: string
  request: LockRequest
  /** Called once: 0 when granted, a negative errno when given up. */
  answer(errno: number): void
}

type Held = Omit<LockRequest, 'ino'>

export class LockTable {
  readonly #held = new Map<Ino, Held[]>()
  readonly #waiters: Waiter[] = []
  /** How often what is held has changed. */
  changes = 0

  /** The lock in the way of a request, null when it could be granted. */
  conflict(request: LockRequest): Held | null {
    for (const held of this.#held.get(request.ino) ?? []) {
      if (held.flock !== request.flock || held.owner === request.owner) continue
      if (held.end < request.start || held.start > request.end) continue
      if (held.type === F_WRLCK || request.type === F_WRLCK) return held
    }
    return null
  }

  /**
   * Take or give back a range. A flock held is given back before another kind of it is asked for, or two who share one and
   * both want it exclusive would wait for each other (flock(2)).
   * @returns false when another owner is in the way
   */
  set(request: LockRequest): boolean {
    const { ino, owner, type, flock } = request
    if (type !== F_UNLCK && this.conflict(request)) {
      if (flock) this.release(ino, owner, true)
      return false
    }
    this.#replace(request)
    if (request.type !== F_WRLCK) this.#grantWaiters(request.ino)
    return true
  }

  wait(waiter: Waiter): void {
    if (this.set(waiter.request)) waiter.answer(0)
    else this.#waiters.push(waiter)
  }

  /** INTERRUPT of a waiting request. @returns false when nothing waits under this key */
  interrupt(key: string, errno: number): boolean {
    const index = this.#waiters.findIndex((waiter) => waiter.key === key)
    if (index < 0) return false
    const [waiter] = this.#waiters.splice(index, 1)
    waiter?.answer(errno)
    return true
  }

  /** A descriptor was closed: fcntl gives back all ranges of the owner (FLUSH), flock its lock (RELEASE). */
  release(ino: Ino, owner: bigint, flock: boolean): boolean {
    return this.#release(ino, (lock) => lock.owner === owner && lock.flock === flock)
  }

  /**
   * The last descriptor of an open file was closed: who locked a range through it as a process has closed a descriptor before
   * (`release`). What is left are the locks of the open file itself (F_OFD_SETLK), which no kernel gives back by name.
   */
  releaseFile(ino: Ino, file: number, isHolder: (lock: { owner: bigint }) => boolean): boolean {
    return this.#release(ino, (lock) => lock.file === file && !lock.flock && isHolder(lock))
  }

  #release(ino: Ino, isEnded: (lock: Held) => boolean): boolean {
    const held = this.#held.get(ino)
    if (!held) return false
    const kept = held.filter((lock) => !isEnded(lock))
    if (kept.length === held.length) return false
    this.changes++
    if (kept.length > 0) this.#held.set(ino, kept)
    else this.#held.delete(ino)
    this.#grantWaiters(ino)
    return true
  }

  /** Every lock held, to be kept over a restart of the daemon. */
  *all(): Generator<LockRequest> {
    for (const [ino, held] of this.#held) for (const lock of held) yield { ino, ...lock }
  }

  /** Take over a lock of the daemon's life before; it conflicts with nothing, it was granted then. */
  restore(lock: LockRequest): void {
    this.#replace(lock)
  }

  #replace(request: LockRequest): void {
    const { ino, owner, start, end, type, flock } = request
    this.changes++
    const next: Held[] = []
    for (const held of this.#held.get(ino) ?? []) {
      if (held.owner !== owner || held.flock !== flock || held.end < start || held.start > end) {
        next.push(held)
        continue
      }
      if (held.start < start) next.push({ ...held, end: start - 1n })
      if (held.end > end) next.push({ ...held, start: end + 1n })
    }
    if (type !== F_UNLCK) {
      const { ino: _, ...lock } = request
      next.push(lock)
    }
    if (next.length > 0) this.#held.set(ino, next)
    else this.#held.delete(ino)
  }

  #grantWaiters(ino: Ino): void {
    for (let i = 0; i < this.#waiters.length; ) {
      const waiter = this.#waiters[i] as Waiter
      if (waiter.request.ino === ino && !this.conflict(waiter.request)) {
        this.#waiters.splice(i, 1)
        this.#replace(waiter.request)
        waiter.answer(0)
      } else {
        i++
      }
    }
  }
}
