import type { Clock } from '../../src/base/index.ts'

/** Time that runs as fast as it is waited for: the next wait ends as soon as nothing else is to do. */
export class VirtualClock implements Clock {
  #nowMs = 0
  readonly #waits = new Map<object, { atMs: number; call: () => void }>()

  monotonicMs(): number {
    return this.#nowMs
  }

  now() {
    return { sec: Math.floor(this.#nowMs / 1000), nsec: 0 }
  }

  after(ms: number, call: () => void): () => void {
    const key = {}
    this.#waits.set(key, { atMs: this.#nowMs + ms, call })
    setImmediate(() => this.#endNext())
    return () => this.#waits.delete(key)
  }

  #endNext(): void {
    const [first] = [...this.#waits].sort(([, a], [, b]) => a.atMs - b.atMs)
    if (first === undefined) return
    const [key, { atMs, call }] = first
    this.#waits.delete(key)
    this.#nowMs = Math.max(this.#nowMs, atMs)
    call()
  }
}

/** The machine's time, a hundred times faster, for tests with sockets. */
export function hurried(clock: Clock, times = 100): Clock {
  return {
    now: () => clock.now(),
    monotonicMs: () => clock.monotonicMs() * times,
    after: (ms, call) => clock.after(ms / times, call),
  }
}
