import { uptime } from 'node:os'
import { performance } from 'node:perf_hooks'

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

/** What `suspendProof` looks at beside the clock it is given; both count while the machine is suspended. */
export interface SuspendWatch {
  /** Milliseconds since the boot. Costly: looked at when the other says that something has happened. */
  sinceBootMs(): number
  /** Milliseconds since 1970, steps and corrections of it included. */
  wallMs(): number
}

/** Larger than what two looks one after the other and the whole milliseconds of Date.now make of one moment. */
const WALL_MOVED_MS = 5

/**
 * The clock given, but that its `monotonicMs` counts while the machine is suspended, from the boot on, so that all threads
 * and processes of a machine have the same: leases need that (design §6.1), for an owner that slept must not take its lease
 * for fresh. `after` does not count it: a wait goes on where it was.
 *
 * What uptime is ahead of the other clock only ever grows, by suspension. It is told too small, by its steps of 10 ms and
 * by a pause between the two looks, never too large: so the largest lead seen is the closest, and it never goes back.
 * Suspension moves the wall clock as well, which is quick to read: uptime is asked when that has moved against the clock
 * given, be it by suspension or because somebody has set it.
 */
export function suspendProof(clock: Clock, watch: SuspendWatch = machineWatch): Clock {
  let aheadMs = Number.NEGATIVE_INFINITY
  let wallAheadMs = Number.NEGATIVE_INFINITY
  const look = () => {
    let pauseMs: number
    do {
      const beforeMs = clock.monotonicMs()
      const bootMs = watch.sinceBootMs()
      const ms = clock.monotonicMs()
      aheadMs = Math.max(aheadMs, bootMs - ms)
      pauseMs = ms - beforeMs
    } while (pauseMs > WALL_MOVED_MS)
  }
  return {
    now: () => clock.now(),
    monotonicMs() {
      const ms = clock.monotonicMs()
      const wall = watch.wallMs() - ms
      if (Math.abs(wall - wallAheadMs) <= WALL_MOVED_MS) return ms + aheadMs
      wallAheadMs = wall
      look()
      return clock.monotonicMs() + aheadMs
    },
    after: (ms, call) => clock.after(ms, call),
  }
}

/**
 * CLOCK_BOOTTIME in steps of 10 ms; 5 µs a call (measured, Node 20.20). Node gives no finer one: process.hrtime and
 * performance.now are CLOCK_MONOTONIC, which stands still in suspend.
 * Source: libuv src/unix/linux.c, uv_uptime reads /proc/uptime; linux fs/proc/uptime.c, ktime_get_boottime_ts64; that waking
 * moves both: linux kernel/time/timekeeping.c, __timekeeping_inject_sleeptime.
 */
const machineWatch: SuspendWatch = { sinceBootMs: () => uptime() * 1000, wallMs: () => Date.now() }

/** Wall clock as records show it: 2026-11-23T03:41:11.123Z. */
export function isoTime(clock: Clock): string {
  return new Date(wallMs(clock)).toISOString()
}

/** Whole milliseconds since 1970. */
export function wallMs(clock: Clock): number {
  const { sec, nsec } = clock.now()
  return sec * 1000 + Math.floor(nsec / 1e6)
}
