import { invalid } from './errors.ts'
import type { Body } from './fixtures.ts'

/** Pages, filters and order of collections. Source: facts §2.4. */

export interface PageRules {
  readonly type: string
  readonly category: string
  /** Path of the collection. */
  readonly uri: string
  readonly pageMax: number
}

/** @param query as asked for: start and count */
export function page(members: readonly Body[], query: URLSearchParams, rules: PageRules): Body {
  const start = wholeNumber(query, 'start', 0)
  const asked = wholeNumber(query, 'count', -1)
  const count = Math.min(asked === -1 ? rules.pageMax : asked, rules.pageMax)
  if (start < 0 || count < 0) throw invalid('start and count cannot be negative.')
  const shown = members.slice(start, start + count)
  const at = (from: number) => {
    const there = new URLSearchParams(query)
    there.set('start', String(from))
    there.set('count', String(count))
    return `${rules.uri}?${there}`
  }
  return {
    type: rules.type,
    category: rules.category,
    uri: at(start),
    start,
    count: shown.length,
    total: members.length,
    prevPageUri: start > 0 ? at(Math.max(0, start - count)) : null,
    nextPageUri: start + shown.length < members.length && count > 0 ? at(start + count) : null,
    members: shown,
    eTag: null,
    created: null,
    modified: null,
  }
}

function wholeNumber(query: URLSearchParams, name: string, absent: number): number {
  const text = query.get(name)
  if (text === null) return absent
  if (!/^-?\d+$/.test(text)) throw invalid(`${name} is not a whole number.`)
  return Number(text)
}

const COMPARISON = /^(\w+)\s*(=|\s+eq\s+|\s+matches\s+)\s*'([^']*)'$/i

/** All `filter` parameters hold; comparison ignores case. */
export function filtered(members: readonly Body[], query: URLSearchParams): Body[] {
  const tests = query.getAll('filter').map((filter) => {
    const found = COMPARISON.exec(unquoted(filter))
    if (found === null) throw invalid(`The filter ${filter} is not valid.`)
    const [, field, operator, value] = found as unknown as [string, string, string, string]
    const wanted = operator.trim().toLowerCase() === 'matches' ? likeness(value) : exactly(value)
    return (member: Body) => wanted.test(String(member[field] ?? ''))
  })
  return members.filter((member) => tests.every((holds) => holds(member)))
}

/** Filters come in double quotes, queries of the index were seen in single ones. */
export function unquoted(filter: string): string {
  return filter.trim().replace(/^(["'])(.*)\1$/, '$2')
}

function exactly(value: string): RegExp {
  return new RegExp(`^${escaped(value)}$`, 'i')
}

/** % stands for anything, as in SQL. */
function likeness(value: string): RegExp {
  return new RegExp(`^${value.split('%').map(escaped).join('.*')}$`, 'i')
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}

/** sort=name:asc, name:ascending, name:desc, name:descending */
export function sorted(members: readonly Body[], query: URLSearchParams): Body[] {
  const sort = query.get('sort')
  if (sort === null) return [...members]
  const found = /^(\w+):(asc|desc)(?:ending)?$/.exec(sort)
  if (found === null) throw invalid(`The sort ${sort} is not valid.`)
  const [, field, direction] = found as unknown as [string, string, string]
  const sign = direction === 'asc' ? 1 : -1
  const key = (member: Body) => String(member[field] ?? '')
  return [...members].sort((a, b) => (key(a) < key(b) ? -sign : key(a) > key(b) ? sign : 0))
}
