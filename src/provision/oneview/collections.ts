import type { z } from 'zod'
import { FsError } from '../../base/index.ts'
import type { Appliance } from './appliance.ts'
import { decode, page } from './resources.ts'

export interface Collection<T> {
  /** '/rest/server-profiles' */
  readonly path: string
  /** Named to a person when it cannot be read: 'server profiles'. */
  readonly what: string
  readonly shape: z.ZodType<T>
}

/** More than any appliance has: 21 frames with five enclosures of 40 drives are 4200. */
const MEMBERS_MAX = 100_000
const PAGES_MAX = 1000

/**
 * All members, over all pages: count=-1 asks for everything, and an appliance may still give it in parts (facts §2.4).
 * @param query asked of the appliance to spare it work. Some resources ignore filters, and all compare without case: the
 * caller filters what comes
 */
export async function listAll<T>(
  appliance: Appliance,
  { path, what, shape }: Collection<T>,
  signal: AbortSignal,
  query: Readonly<Record<string, string>> = {},
): Promise<T[]> {
  const members: T[] = []
  const seen = new Set<string>()
  const purpose = { op: 'oneview.list', what: `read the ${what}` }
  let next: string | null | undefined = `${path}?${queryOf({ start: '0', count: '-1', ...query })}`
  while (next) {
    if (seen.has(next) || seen.size === PAGES_MAX || members.length > MEMBERS_MAX) {
      throw endless(what)
    }
    seen.add(next)
    const answer = await appliance.get(next, purpose, signal)
    const { members: more, nextPageUri } = decode(page, answer.body, `the ${what}`)
    for (const member of more ?? []) members.push(decode(shape, member, `one of the ${what}`))
    next = nextPageUri
  }
  return members
}

/** With %20 for a space, which every server understands. */
function queryOf(fields: Readonly<Record<string, string>>): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join('&')
}

function endless(what: string): FsError {
  return new FsError('EPROTO', 'oneview.list', {
    message: `oneview: the pages of the ${what} do not end`,
    next: 'look at the list in OneView; restart the appliance if it shows the same',
  })
}
