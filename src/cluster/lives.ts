import { z } from 'zod'
import type { Random } from '../base/index.ts'
import { newId } from '../base/index.ts'
import { count, hexId } from './json.ts'

/** One run of a node's daemon, stated in what it sends. */
export interface Life {
  /** Random for each start, 32 hex digits. */
  readonly session: string
  /** Grows with each start of one home, and is kept in it (cache.ts). */
  readonly start: number
}

/** The newest life that was heard of a node, and since when. */
export interface KnownLife extends Life {
  /** Monotonic clock of whoever listens. */
  readonly sinceMs: number
}

/**
 * 'first' and 'next': a start that is now the known one. 'same': as known. 'past': an earlier life, whose last messages may
 * still be on their way; drop them. 'second': two lives of one key go on side by side, so the machine was cloned or its
 * home copied: refuse it, and report both.
 */
export type LifeVerdict = 'first' | 'same' | 'next' | 'past' | 'second'

/** Messages of a process that has ended may arrive so much later: longer than any channel keeps them queued. */
const lateMs = 30_000

export const lifeShape = z.strictObject({ session: hexId, start: count })

export function newLife(random: Random, start: number): Life {
  return { session: newId(random), start }
}

/**
 * Whether a node that shows its key is the one life of that key that may be (replication-review.md, M11). A restart has
 * a higher number than any before it. A clone has the number of its original, or a lower one, or, started later, a higher
 * one: then the original goes on with the lower, which a life that has ended never does.
 */
export function judgeLife(known: KnownLife | null, stated: Life, nowMs: number): LifeVerdict {
  if (known === null) return 'first'
  if (stated.session === known.session) return stated.start === known.start ? 'same' : 'second'
  if (stated.start > known.start) return 'next'
  if (stated.start === known.start) return 'second'
  return nowMs - known.sinceMs < lateMs ? 'past' : 'second'
}
