import { FsError, limits } from '../base/index.ts'

const UNITS: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }
const NEXT = 'use K, M, G or T, as in size=100G'

/**
 * Exact bytes of a size as a person types it: whole numbers, binary units, either case; no unit means bytes.
 * @throws FsError EINVAL that names the size, why, and what to type instead
 */
export function parseSize(text: string): number {
  const shown = JSON.stringify(text.slice(0, 80))
  const [, digits = '', unit = ''] = /^(\d*)(.*)$/s.exec(text) ?? []
  if (digits === '') refuse(text, `size ${shown}: not a number; ${NEXT}`)
  if (unit.startsWith('.') || unit.startsWith(',')) {
    refuse(text, `size ${shown}: not a whole number; use a smaller unit, as in size=1536M for 1.5G`)
  }
  const factor = unit === '' ? 1 : UNITS[unit.toUpperCase()]
  if (factor === undefined) {
    refuse(text, `size ${shown}: unknown unit ${unit.slice(0, 20)}; ${NEXT}`)
  }
  const bytes = Number(digits) * factor
  if (bytes < limits.volumeBytesMin) {
    const least = formatSize(limits.volumeBytesMin)
    refuse(text, `size ${shown}: too small, a volume has at least ${least}; ${NEXT}`)
  }
  if (bytes > limits.volumeBytesMax) {
    const most = formatSize(limits.volumeBytesMax)
    refuse(text, `size ${shown}: too large, a volume has at most ${most}; make several volumes`)
  }
  return bytes
}

/** The shortest text that parseSize reads back as exactly these bytes: 100G, 1536M, 1000001. */
export function formatSize(bytes: number): string {
  for (const unit of ['T', 'G', 'M', 'K']) {
    const factor = UNITS[unit] ?? 1
    if (bytes > 0 && bytes % factor === 0) return `${bytes / factor}${unit}`
  }
  return String(bytes)
}

/** Rounded, for sentences: 12.5 GiB. */
export function describeBytes(bytes: number): string {
  for (const unit of ['T', 'G', 'M', 'K']) {
    const factor = UNITS[unit] ?? 1
    if (bytes >= factor) return `${Math.round((bytes / factor) * 10) / 10} ${unit}iB`
  }
  return `${bytes} bytes`
}

function refuse(size: string, message: string): never {
  throw new FsError('EINVAL', 'volume.spec', { key: 'size', value: size.slice(0, 80), message })
}
