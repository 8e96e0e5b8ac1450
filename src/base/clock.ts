import { uptime } from 'node:os'

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

/** Fulfilled after `ms`. */
export async function sleep(clock: Clock, ms: number): Promise<void> {
  await new Promise<void>((resolve) => clock.after(ms, resolve))
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

/**
 * The clock given, but that its `monotonicMs` counts while the machine is suspended: leases need that (design §6.1), for
 * an owner that slept must not take its lease for fresh. `after` does not count it: a wait goes on where it was.
 *
 * What uptime is ahead of the other clock only ever grows, by suspension. It is told too small, by its steps of 10 ms and
 * by a pause between the two looks, never too large: so the largest lead seen is the closest, and it never goes back.
 * @param sinceBootMs milliseconds since the boot, suspension included
 */
export function suspendProof(clock: Clock, sinceBootMs: () => number = uptimeMs): Clock {
  let aheadMs = Number.NEGATIVE_INFINITY
  return {
    now: () => clock.now(),
    monotonicMs() {
      const bootMs = sinceBootMs()
      const ms = clock.monotonicMs()
      aheadMs = Math.max(aheadMs, bootMs - ms)
      return ms + aheadMs
    },
    after: (ms, call) => clock.after(ms, call),
  }
}

/**
 * CLOCK_BOOTTIME in steps of 10 ms; 5 µs a call (measured, Node 20.20). Node gives no finer one: process.hrtime and
 * performance.now are CLOCK_MONOTONIC, which stands still in suspend.
 * Source: libuv src/unix/linux.c, uv_uptime reads /proc/uptime; linux fs/proc/uptime.c, ktime_get_boottime_ts64.
 */
const uptimeMs = () => uptime() * 1000

/** Wall clock as records show it: 2026-11-23T03:41:11.123Z. */
export function isoTime(clock: Clock): string {
  return new Date(wallMs(clock)).toISOString()
}

/** Whole milliseconds since 1970. */
export function wallMs(clock: Clock): number {
  const { sec, nsec } = clock.now()
  return sec * 1000 + Math.floor(nsec / 1e6)
}
