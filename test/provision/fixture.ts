import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'

const directory = resolve(import.meta.dirname, '../../../test/fixtures/oneview')

/** A body of a real appliance; where each is from: test/fixtures/oneview/SOURCES.md. Each call reads it anew: tests change it. */
// biome-ignore lint/suspicious/noExplicitAny: bodies of many shapes, which tests take apart and change
export function fixture(name: string): any {
  return JSON.parse(readFileSync(resolve(directory, `${name}.json`), 'utf8'))
}
