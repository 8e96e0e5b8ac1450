import type { Clock } from '../base/index.ts'
import type { SharedVolume } from './shared.ts'

/** For how long nobody has used a volume for writing; what reclaim does itself is no use. */
export class Quiet {
  readonly #shared: SharedVolume
  readonly #clock: Clock
  #seq = 0
  #staged = 0
  #sinceMs = 0

  constructor(shared: SharedVolume, clock: Clock) {
    this.#shared = shared
    this.#clock = clock
    this.ms()
  }

  /** Milliseconds since somebody staged a write or appended a record, as far as calls of this method saw it. */
  ms(): number {
    const { seq, stagedNumber } = this.#shared
    const now = this.#clock.monotonicMs()
    if (seq !== this.#seq || stagedNumber !== this.#staged) {
      this.#seq = seq
      this.#staged = stagedNumber
      this.#sinceMs = now
    }
    return now - this.#sinceMs
  }

  /** Runs what appends a record that does not count. */
  except<T>(work: () => T): T {
    this.ms()
    const result = work()
    // More than one: somebody else was at it too.
    if (this.#shared.seq === this.#seq + 1) this.#seq++
    return result
  }
}
