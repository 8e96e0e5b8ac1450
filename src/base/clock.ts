/** Seconds since 1970 (negative before) and nanoseconds 0 to 999,999,999, as struct timespec. */
export interface Timespec {
  sec: number
  nsec: number
}

/** Time as the rooms see it, passed in by constructor so that tests and simulation own it. */
export interface Clock {
  /** Wall clock, for file times. Resolution about a quarter microsecond. */
  now(): Timespec
  /** Milliseconds on a clock that never goes back. */
  monotonicMs(): number
  /** Calls back once after `ms`; the returned function cancels. */
  after(ms: number, call: () => void): () => void
}

/**
 * The machine's clock. Date alone has milliseconds, so the fraction comes from performance.now; a step of the wall
 * clock of over two milliseconds is followed within a second.
 */
export function systemClock(): Clock {
  let base = Date.now() - performance.now()
  let checkedAt = 0
  return {
    now() {
      const since = performance.now()
      if (since - checkedAt > 1000) {
        const fresh = Date.now() - since
        if (Math.abs(fresh - base) > 2) base = fresh
        checkedAt = since
      }
      const ms = base + since
      const sec = Math.floor(ms / 1000)
      return { sec, nsec: Math.min(999_999_999, Math.floor((ms - sec * 1000) * 1e6)) }
    },
    monotonicMs: () => performance.now(),
    after(ms, call) {
      const timer = setTimeout(call, ms)
      return () => clearTimeout(timer)
    },
  }
}

/** Wall clock as records show it: 2026-11-23T03:41:11.123Z. */
export function isoTime(clock: Clock): string {
  return new Date(wallMs(clock)).toISOString()
}

/** Whole milliseconds since 1970. */
export function wallMs(clock: Clock): number {
  const { sec, nsec } = clock.now()
  return sec * 1000 + Math.floor(nsec / 1e6)
}
