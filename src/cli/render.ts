/** Text for people: sizes, times and tables. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** 1536 → '1.5 KiB'. Three digits are enough to compare; JSON has the exact number. */
export function size(bytes: number): string {
  let value = Math.abs(bytes)
  let unit = 0
  while (value >= 1023.95 && unit < UNITS.length - 1) {
    value /= 1024
    unit++
  }
  const digits = unit === 0 || Number.isInteger(value) || value >= 99.95 ? 0 : 1
  return `${bytes < 0 ? '-' : ''}${value.toFixed(digits)} ${UNITS[unit]}`
}

/** 3661 → '1 h 1 min'; the two largest parts. */
export function duration(seconds: number): string {
  const whole = Math.floor(seconds)
  const parts: [number, string][] = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'min'],
    [whole % 60, 's'],
  ]
  const first = parts.findIndex(([count]) => count > 0)
  if (first < 0) return '0 s'
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ')
}

/** '1 volume', '2 volumes'. */
export function count(amount: number, noun: string): string {
  return `${amount} ${noun}${amount === 1 ? '' : 's'}`
}

export interface Column {
  readonly title: string
  /** Numbers and sizes stand right. */
  readonly right?: boolean
}

/** Aligned columns, two spaces apart, no trailing blanks, one line a row. `indent` goes before each line. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  indent = '',
): string {
  const lines = [columns.map((column) => column.title), ...rows.map((row) => row.map(printable))]
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => width(line[at] ?? ''))))
  return lines
    .map((line) => {
      const cells = columns.map((column, at) => {
        const text = line[at] ?? ''
        const gap = ' '.repeat((widths[at] ?? 0) - width(text))
        return column.right === true ? gap + text : text + gap
      })
      return `${indent}${cells.join('  ')}`.trimEnd()
    })
    .map((line) => `${line}\n`)
    .join('')
}

/** 'name  value' lines, aligned. */
export function fields(rows: readonly (readonly [string, string])[], indent = ''): string {
  const widest = Math.max(...rows.map(([name]) => name.length))
  return rows
    .map(([name, value]) => `${`${indent}${name.padEnd(widest)}  ${printable(value)}`.trimEnd()}\n`)
    .join('')
}

/** Names may hold any bytes; control characters must not reach a terminal. */
export function printable(text: string): string {
  return text.replace(
    /\p{Cc}/gu,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

function width(text: string): number {
  return [...text].length
}
