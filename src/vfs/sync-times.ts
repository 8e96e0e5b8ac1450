import type { Clock } from '../base/index.ts'

/** A sync longer than this is not waited for in the thread that answers the kernel. */
const SLOW_MS = 1
/** So many slow ones in a row say that the drive is slow, not that it was busy once. */
const SLOW_IN_A_ROW = 3
/** A slow drive is tried again after this long; one quick sync makes it quick. */
const RETRY_MS = 500

/** How long the drive takes to sync: decides which thread waits for it. */
export class SyncTimes {
  readonly #clock: Clock
  #slowInARow = 0
  #retryAtMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  slow(): boolean {
    return this.#slowInARow >= SLOW_IN_A_ROW && this.#clock.monotonicMs() < this.#retryAtMs
  }

  time(sync: () => void): void {
    const began = this.#clock.monotonicMs()
    sync()
    const now = this.#clock.monotonicMs()
    this.#slowInARow = now - began > SLOW_MS ? this.#slowInARow + 1 : 0
    this.#retryAtMs = now + RETRY_MS
  }
}
