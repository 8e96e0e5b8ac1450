import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** What an appliance said once: test/fixtures/oneview/SOURCES.md tells from where each body is. */

export type Body = Record<string, unknown>

const folder = resolve(import.meta.dirname, '../../../test/fixtures/oneview')

/** A copy of its own for every caller, to be changed as wished. */
export function fixture(name: string): Body {
  return JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8'))
}

/** The same uuid for the same words, so that a frame looks alike in every run. */
export function uuidOf(words: string): string {
  const hex = createHash('sha256').update(words).digest('hex')
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(13, 16)}`,
    `a${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-')
}
