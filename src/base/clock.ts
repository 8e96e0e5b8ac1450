/** Time as the rooms see it, passed in by constructor so that tests and simulation own it. */
export interface Clock {
  /** Wall clock in nanoseconds since 1970, for file times. */
  nowNs(): bigint
  /** Milliseconds on a clock that never goes back and counts while the machine is suspended. */
  monotonicMs(): number
  /** Calls back once after `ms`; the returned function cancels. */
  after(ms: number, call: () => void): () => void
}

/**
 * The machine's clock. Nanoseconds come from process.hrtime set on Date once: Date alone has milliseconds.
 * A step of the wall clock of over a second is followed at the next reading.
 */
export function systemClock(): Clock {
  const offset = () => BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint()
  let base = offset()
  let checkedMs = Date.now()
  return {
    nowNs() {
      const ms = Date.now()
      if (ms - checkedMs > 1000 || ms < checkedMs) {
        const fresh = offset()
        const drift = fresh - base
        if (drift > 2_000_000n || drift < -2_000_000n) base = fresh
        checkedMs = ms
      }
      return process.hrtime.bigint() + base
    },
    monotonicMs: () => Number(process.hrtime.bigint() / 1_000_000n),
    after(ms, call) {
      const timer = setTimeout(call, ms)
      return () => clearTimeout(timer)
    },
  }
}
