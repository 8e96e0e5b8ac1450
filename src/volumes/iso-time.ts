import type { Clock } from '../base/index.ts'

/** Wall clock as records show it: 2026-11-23T03:41:11.123Z. */
export function isoTime(clock: Clock): string {
  const { sec, nsec } = clock.now()
  return new Date(sec * 1000 + Math.floor(nsec / 1e6)).toISOString()
}
