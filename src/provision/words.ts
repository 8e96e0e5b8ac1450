/** Rounded, for sentences: 1.8 TiB. */
export function sizeWords(bytes: number): string {
  for (const [unit, factor] of SIZES) {
    if (Math.abs(bytes) >= factor) return `${Math.round((bytes / factor) * 10) / 10} ${unit}`
  }
  return `${Math.round(bytes)} bytes`
}

const SIZES = [
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
] as const

/** Rounded, for sentences: 45 s, 12 min, 3.5 h. */
export function durationWords(ms: number): string {
  const seconds = ms / 1000
  if (seconds < 90) return `${Math.round(seconds)} s`
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`
  return `${Math.round(seconds / 360) / 10} h`
}

/** '1 drive', '3 drives'. */
export function drivesWords(count: number): string {
  return `${count} ${count === 1 ? 'drive' : 'drives'}`
}

/** Wall clock, milliseconds since 1970, as records and sentences show it. */
export function timeWords(wallMs: number): string {
  return new Date(wallMs).toISOString()
}

export function percentWords(part: number): string {
  return `${Math.round(part * 100)} %`
}
