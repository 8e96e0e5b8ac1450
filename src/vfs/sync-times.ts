import type { Clock } from '../base/index.ts'

/** A sync longer than this is not waited for in the thread that answers the kernel. */
const SLOW_MS = 1
/** After slow syncs the drive is tried again now and then: it may have been busy. */
const RETRY_MS = 2000

/** How long the drive takes to sync, as a moving mean: decides which thread waits for it. */
export class SyncTimes {
  readonly #clock: Clock
  #meanMs = 0
  #retryAtMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  slow(): boolean {
    return this.#meanMs > SLOW_MS && this.#clock.monotonicMs() < this.#retryAtMs
  }

  time(sync: () => void): void {
    const began = this.#clock.monotonicMs()
    sync()
    const now = this.#clock.monotonicMs()
    this.#meanMs = this.#meanMs * 0.75 + (now - began) * 0.25
    if (this.#meanMs > SLOW_MS) this.#retryAtMs = now + RETRY_MS
  }
}
