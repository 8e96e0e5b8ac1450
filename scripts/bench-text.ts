/** What benchmarks print, and write into docs/bench.md. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join, relative } from 'node:path'
import { root } from './bench-place.ts'

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const high = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? high)) / 2
}

export const whole = (value: number): string => Math.round(value).toLocaleString('en')

/** `median (least–most)` */
export function cell(values: readonly number[]): string {
  if (values.length === 0) return ''
  const text = whole(median(values))
  if (values.length === 1) return text
  return `${text} (${whole(Math.min(...values))}–${whole(Math.max(...values))})`
}

/** Ratio of medians with its target: `1.23 ≥ 1 ✓`. */
export function ratio(
  values: readonly number[],
  against: readonly number[],
  target: number | undefined,
): string {
  if (values.length === 0 || against.length === 0) return ''
  const got = median(values) / median(against)
  const text = got >= 10 ? got.toFixed(0) : got.toFixed(2)
  return target === undefined ? text : `${text} ≥ ${target} ${got >= target ? '✓' : '✗'}`
}

/** For a terminal: the first column stands left, all others right. */
export function printed(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, column) =>
    Math.max(...lines.map((line) => line[column]?.length ?? 0)),
  )
  return lines
    .map((line) =>
      line
        .map((text, i) => (i === 0 ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0)))
        .join('  '),
    )
    .join('\n')
}

/** @param words how many columns stand left, because they are text */
export function markdown(lines: readonly (readonly string[])[], words = 1): string {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const [head = [], ...body] = lines
  return [row(head), row(head.map((_, i) => (i < words ? '---' : '---:'))), ...body.map(row)].join(
    '\n',
  )
}

/** When, of what, on which machine. */
export function sitting(...more: readonly string[]): string {
  return [
    `${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    commit(),
    `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown CPU'}`,
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    `Linux ${release()}`,
    `Node ${process.version}`,
    ...more,
  ].join(' · ')
}

function commit(): string {
  const git = (...args: readonly string[]) =>
    execFileSync('git', ['-C', root, ...args], { encoding: 'utf8', stdio: 'pipe' }).trim()
  try {
    const id = git('rev-parse', '--short', 'HEAD')
    const changed = git('status', '--porcelain', '--untracked-files=no') !== ''
    return `commit ${id}${changed ? ' with changes' : ''}`
  } catch {
    // No git, or sources without its folder: hours of measuring are not thrown away for that.
    return 'commit unknown'
  }
}

const docs = join(root, 'docs/bench.md')

/** Where in docs/bench.md a table stands. @throws when its markers are not there: better before measuring than after */
export function placeInDocs(name: string): { from: number; to: number; old: string } {
  const begin = `<!-- ${name} writes below -->`
  const end = `<!-- ${name} writes above -->`
  const old = readFileSync(docs, 'utf8')
  const from = old.indexOf(begin)
  const to = old.indexOf(end)
  if (from < 0 || to < from) throw new Error(`${docs} has lost its markers: ${begin} … ${end}`)
  return { from: from + begin.length, to, old }
}

/** Puts text between the markers of `name` in place of what is there. */
export function writeDocs(name: string, parts: readonly string[]): void {
  const { from, to, old } = placeInDocs(name)
  const text = parts.filter((part) => part !== '').join('\n\n')
  writeFileSync(docs, `${old.slice(0, from)}\n\n${text}\n\n${old.slice(to)}`)
  console.log(`\nwritten to ${relative(root, docs)}`)
}
