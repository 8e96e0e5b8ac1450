import { z } from 'zod'

/** How a volume of several copies stands, as its owner knows it; also what another node is answered that asks. */

const bytes = z.number().min(0)

export const copyStanding = z.object({
  id: z.string(),
  node: z.string().describe('id of its node'),
  state: z
    .enum(['in sync', 'incomplete', 'joining', 'silent', 'damaged', 'leaving'])
    .describe(
      'incomplete: in the set, and without chunks that were on a drive which is away; joining: it is given what it lacks; leaving: it is given up',
    ),
  /** Since it last answered. */
  silentMs: z.number(),
  /** Why it is not in sync, in words. */
  why: z.string(),
  doneBytes: bytes,
  totalBytes: bytes,
  /** Records of the log that it has not on stable storage. */
  lagRecords: z.number().min(0),
})

const scrubFound = z.object({
  /** Id of the node that holds the copy. */
  node: z.string(),
  chunk: z.string().nullable(),
  what: z.string(),
  mended: z.boolean(),
  at: z.string(),
})

export const volumeStanding = z.object({
  copies: z.array(copyStanding),
  wanted: z.number(),
  inSync: z.number(),
  minimum: z.number(),
  /** Chunks and journal of one copy. */
  copyBytes: bytes,
  /** What is being done; '' when there is nothing to do. */
  doing: z.string(),
  /** Why it cannot be done; '' when it can. */
  trouble: z.string(),
  /** What a person can do about it; '' when nothing. */
  next: z.string(),
  doneBytes: bytes,
  totalBytes: bytes,
  /** Until what is being done is over, at the rate that was seen; null while it is not known. */
  secondsLeft: z.number().nullable(),
  scrub: z.object({
    running: z.boolean(),
    doneChunks: z.number(),
    totalChunks: z.number(),
    bytes,
    /** Nodes whose copies did not answer to the end of it. */
    unfinished: z.array(z.string()),
    found: z.array(scrubFound),
  }),
})

export type CopyStandingInfo = z.infer<typeof copyStanding>
export type VolumeStandingInfo = z.infer<typeof volumeStanding>
