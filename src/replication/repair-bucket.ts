import type { Clock } from '../base/index.ts'

export interface BucketRates {
  /** While nobody waits for a volume. */
  readonly bytesPerSecond: number
  /** While somebody does, or did a moment ago: callers come first. */
  readonly awaitedBytesPerSecond: number
}

/** Between two commits of a database nobody waits: that is no time to go faster in. */
const AWAITED_MS = 2000

/** What may go out at once, at most. */
const BURST_SECONDS = 0.1

/**
 * Holds traffic that no caller waits for to a rate, all who take from it together. What is taken may be more than is in it:
 * it is then paid for before the next one goes, so a large piece needs no large bucket.
 */
export class TokenBucket {
  readonly #clock: Clock
  readonly #rates: () => BucketRates
  /** Negative: owed. */
  #bytes = 0
  #atMs: number
  /** When somebody was last seen to wait. */
  #awaitedMs = Number.NEGATIVE_INFINITY
  #turn: Promise<void> = Promise.resolve()
  /** Taken in all. */
  takenBytes = 0

  /** @param rates asked at every taking */
  constructor(clock: Clock, rates: () => BucketRates) {
    this.#clock = clock
    this.#rates = rates
    this.#atMs = clock.monotonicMs()
  }

  /** Fulfilled when so many bytes may go, one taker after another. */
  take(bytes: number, isAwaited: () => boolean): Promise<void> {
    const taking = this.#turn.then(() => this.#take(bytes, isAwaited))
    this.#turn = taking
    return taking
  }

  async #take(bytes: number, isAwaited: () => boolean): Promise<void> {
    for (;;) {
      const { bytesPerSecond, awaitedBytesPerSecond } = this.#rates()
      const now = this.#clock.monotonicMs()
      if (isAwaited()) this.#awaitedMs = now
      const rate = now - this.#awaitedMs < AWAITED_MS ? awaitedBytesPerSecond : bytesPerSecond
      this.#bytes = Math.min(
        BURST_SECONDS * rate,
        this.#bytes + (rate * Math.max(0, now - this.#atMs)) / 1000,
      )
      this.#atMs = now
      if (this.#bytes >= 0) break
      // Looked at anew now and then: callers come and go.
      const ms = Math.min(100, Math.max(1, (-this.#bytes / rate) * 1000))
      await new Promise<void>((resolve) => this.#clock.after(ms, resolve))
    }
    this.#bytes -= bytes
    this.takenBytes += bytes
  }
}
