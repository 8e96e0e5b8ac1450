import type { CopyId } from '../base/index.ts'

/** Of a term, what two clocks may differ in rate and a pause between a look at the clock and an answer may take. */
const MARGIN = 0.1

/**
 * The owner's side: until when it may answer reads and unsynced changes. It may while every member has granted within
 * the last term less a tenth, counted from the sending of the request (design §6.1, lease).
 */
export class OwnerLease {
  readonly #lifeMs: number
  readonly #sentMs = new Map<CopyId, number>()

  constructor(termMs: number) {
    this.#lifeMs = termMs * (1 - MARGIN)
  }

  /** A member granted what was asked at `sentMs`; answers may come in any order. */
  granted(copy: CopyId, sentMs: number): void {
    this.#sentMs.set(copy, Math.max(sentMs, this.#sentMs.get(copy) ?? sentMs))
  }

  /** The moment it ends, -Infinity while a member has never granted. */
  untilMs(members: Iterable<CopyId>): number {
    let until = Number.POSITIVE_INFINITY
    for (const copy of members) {
      until = Math.min(until, (this.#sentMs.get(copy) ?? Number.NEGATIVE_INFINITY) + this.#lifeMs)
    }
    return until
  }
}
