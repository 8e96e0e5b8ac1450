/** The simulator's timers: after `close` none goes off, and whoever waits does not go on. */
export class Pace {
  readonly #timers = new Set<NodeJS.Timeout>()
  #closed = false

  after(ms: number, run: () => void): void {
    if (this.#closed) return
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      run()
    }, ms)
    this.#timers.add(timer)
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve))
  }

  close(): void {
    this.#closed = true
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }
}

let lastMs = 0

/** Now, later by at least a millisecond than at every call before: an eTag made of it tells two changes apart. */
export function stamp(): Date {
  lastMs = Math.max(Date.now(), lastMs + 1)
  return new Date(lastMs)
}
