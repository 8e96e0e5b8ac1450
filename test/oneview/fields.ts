import { invalid, refused, unrecognizedField } from './errors.ts'
import type { Body } from './fixtures.ts'

/** Reading the bodies of requests: every surprise is refused with 400. */

export function objectOf(value: unknown, what: string): Body {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Body
  throw invalid(`${what} is not a JSON object.`)
}

export function listOf(value: unknown, what: string): unknown[] {
  if (Array.isArray(value)) return value
  throw invalid(`${what} is not a JSON list.`)
}

export function onlyFields(body: Body, known: ReadonlySet<string>): void {
  for (const name of Object.keys(body)) if (!known.has(name)) throw unrecognizedField(name)
}

/** A type of another version is refused, none at all is taken [?]. Source of the words: facts §2.2, TF#347. */
export function checkType(body: Body, type: string): void {
  if (body.type === undefined || body.type === type) return
  throw refused(
    400,
    'INVALID_TYPE',
    `The "type" field content, "${body.type}", included in this request is invalid.`,
  )
}

export function textOf(value: unknown, what: string): string {
  if (typeof value === 'string' && value !== '') return value
  throw invalid(`${what} is not a text.`)
}

/** Numbers were sent as strings too, and accepted. Source: facts §4.3. */
export function wholeOf(value: unknown, what: string): number {
  const number = typeof value === 'string' && value !== '' ? Number(value) : value
  if (typeof number === 'number' && Number.isSafeInteger(number)) return number
  throw invalid(`${what} is not a whole number.`)
}

/** Booleans were sent as strings too, and accepted. Source: facts §5. */
export function flagOf(value: unknown, what: string): boolean {
  if (value === undefined || value === null) return false
  if (value === true || value === 'true') return true
  if (value === false || value === 'false') return false
  throw invalid(`${what} is neither true nor false.`)
}
