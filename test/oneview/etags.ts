import { refused, staleETag } from './errors.ts'

/**
 * A change must name the version of the resource that it was made from.
 * @param given If-Match, or the eTag of the body, or neither; * is any version
 */
export function checkETag(given: string | undefined, current: string): void {
  // Source: facts §8 names 403 for it; the code is a guess [?].
  if (given === undefined) throw refused(403, 'ETAG_REQUIRED', 'The request has no If-Match.')
  const bare = given.replace(/^"(.*)"$/, '$1')
  if (bare !== '*' && bare !== current) throw staleETag()
}
