import { type Clock, isoTime, type VolumeNumber } from '../base/index.ts'
import type { Reason } from '../fuse/index.ts'

export interface KeptReason extends Reason {
  /** When it was answered last, and first. */
  readonly at: string
  readonly since: string
}

const KEPT_MAX = 512

/** Why calls were answered with errors out of the ordinary, in this life of the daemon. */
export class KeptReasons {
  readonly #kept = new Map<string, KeptReason>()
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  note(reason: Reason): void {
    const { number, ino, op, code, why } = reason
    const key = JSON.stringify([number, ino, op, code, why])
    const at = isoTime(this.#clock)
    const since = this.#kept.get(key)?.since ?? at
    // Behind the others, as the newest.
    this.#kept.delete(key)
    this.#kept.set(key, { ...reason, at, since })
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > KEPT_MAX && oldest !== undefined) this.#kept.delete(oldest)
  }

  /** The newest first. @param number 0 for the root of the namespace */
  of(number: VolumeNumber): KeptReason[] {
    return [...this.#kept.values()].filter((one) => one.number === number).reverse()
  }
}

/** What to do about an errno, where whoever refused did not say. @param name of the volume; null at the namespace's root */
export function remedyOf(code: string, name: string | null): string {
  if (code === 'EPERM') return 'nothing: weft does not do that'
  if (name === null) return 'weft status shows the volumes and what is wrong'
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return `weft volume inspect ${name} and weft drive list show what is full; delete files, weft volume resize ${name} SIZE, or weft drive add DIR`
    case 'ENOKEY':
      return `weft key unlock ${name}`
    case 'EROFS':
      return `weft status shows where volume ${name} is attached; write there, or weft detach it`
    case 'ESTALE':
      return 'open the file or directory anew'
    case 'EHOSTUNREACH':
    case 'ETIMEDOUT':
    case 'ENODEV':
      return `weft node list shows which nodes are down, weft volume inspect ${name} which ones could own it`
    default:
      return `weft volume inspect ${name}; weft fsck ${name} if it goes on`
  }
}
