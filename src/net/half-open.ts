import { type Clock, limits } from '../base/index.ts'

interface Entry {
  readonly close: () => void
  readonly cancel: () => void
}

const greetMsMax = 5000

/**
 * Connections from outside until they have said who they are. At most `netHandshakesMax`; one more closes the oldest, since
 * an honest handshake takes two round trips and a silent one stays for ever. Each has a deadline besides.
 */
export class HalfOpen {
  readonly #clock: Clock
  /** In the order in which they came. */
  readonly #entries = new Set<Entry>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @param close end it at once. @returns to be called when it is open, or gone */
  enter(close: () => void): () => void {
    const leave = () => {
      entry.cancel()
      this.#entries.delete(entry)
    }
    const end = () => {
      leave()
      close()
    }
    const entry: Entry = { close: end, cancel: this.#clock.after(greetMsMax, end) }
    this.#entries.add(entry)
    if (this.#entries.size > limits.netHandshakesMax) this.#entries.values().next().value?.close()
    return leave
  }

  closeAll(): void {
    for (const entry of this.#entries) entry.close()
  }
}
