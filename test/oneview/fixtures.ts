import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** What an appliance said once: test/fixtures/oneview/SOURCES.md tells from where each body is. */

export type Body = Record<string, unknown>

const folder = resolve(import.meta.dirname, '../../../test/fixtures/oneview')

const texts = new Map<string, string>()

/** A copy of its own for every caller, to be changed as wished. */
export function fixture(name: string): Body {
  let text = texts.get(name)
  if (text === undefined) {
    text = readFileSync(join(folder, `${name}.json`), 'utf8')
    texts.set(name, text)
  }
  return JSON.parse(text)
}

/** What is made anew at every reading has an eTag that changes when it does. */
export function withETag(body: Body): Body {
  return { ...body, eTag: uuidOf(JSON.stringify(body)) }
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
