import type { ChunkId, RecordSeq } from '../base/index.ts'
import { type AskCopy, isSilence } from './follower.ts'
import type { Answer, CopyPlace } from './messages.ts'

export interface ScrubWorld {
  readonly ask: AskCopy
  readonly deadlineMs: number
  /** Records up to here are to be on the copy. */
  readonly committed: RecordSeq
  chunksInUse(): Promise<Iterable<ChunkId>>
  /** Give the copy a chunk from another one. @returns false when nobody has it whole, or the copy does not take it */
  mend(chunk: ChunkId): Promise<boolean>
  pace(bytes: number): Promise<void>
  /** Called off. */
  isOver(): boolean
  /** Told after each question. */
  passed(progress: ScrubProgress): void
}

export interface ScrubProgress {
  /** Chunks looked at and to be looked at. */
  readonly chunks: number
  readonly ofChunks: number
  readonly bytes: number
}

/** @property what in words · @property mended from another copy; a damaged log is not, its copy is replaced */
export interface ScrubFinding {
  readonly chunk: ChunkId | null
  readonly what: string
  readonly mended: boolean
}

/** Each is read whole before it is answered: what one question may cost the copy's drive. */
const CHUNKS_PER_QUESTION = 8
const LOG_BYTES_PER_QUESTION = 2 * 1024 * 1024

/**
 * Has one copy read all it holds, log and chunks, and look at the checksums, which takes no key; what is broken or missing and
 * still in use is given to it from another copy.
 * @returns what was found; null when the copy fell silent, or it was called off
 */
export async function scrubCopy(
  copy: CopyPlace,
  world: ScrubWorld,
): Promise<ScrubFinding[] | null> {
  try {
    return await scrub(copy, world)
  } catch (error) {
    if (!isSilence(error)) throw error
    return null
  }
}

async function scrub(copy: CopyPlace, world: ScrubWorld): Promise<ScrubFinding[] | null> {
  const { ask, deadlineMs, committed, pace, isOver, passed } = world
  const found: ScrubFinding[] = []
  let bytes = 0
  let after = 0 as RecordSeq
  while (after < committed) {
    if (isOver()) return null
    const request = { op: 'checkLog', after, bytesMax: LOG_BYTES_PER_QUESTION } as const
    const answer = await ask(copy, request, { deadlineMs })
    if (answer.kind !== 'checkedLog') return null
    if (answer.damaged !== null) {
      const what = `its log is damaged behind record ${answer.end}: ${answer.damaged}`
      found.push({ chunk: null, what, mended: false })
      return found
    }
    // It ends early: being behind is no damage.
    if (answer.end <= after) break
    after = answer.end
    bytes += answer.bytes
    await pace(answer.bytes)
  }
  const chunks = [...(await world.chunksInUse())]
  for (let at = 0; at < chunks.length; at += CHUNKS_PER_QUESTION) {
    if (isOver()) return null
    const asked = chunks.slice(at, at + CHUNKS_PER_QUESTION)
    const answer = await ask(copy, { op: 'checkChunks', chunks: asked }, { deadlineMs })
    if (answer.kind !== 'checked') return null
    bytes += answer.bytes
    await pace(answer.bytes)
    if (answer.bad.length + answer.missing.length > 0) found.push(...(await mendAll(answer, world)))
    passed({ chunks: at + asked.length, ofChunks: chunks.length, bytes })
  }
  return found
}

/** What was dropped since the list was made is no finding. */
async function mendAll(
  { bad, missing }: Answer & { kind: 'checked' },
  { chunksInUse, mend }: ScrubWorld,
): Promise<ScrubFinding[]> {
  const inUse = new Set(await chunksInUse())
  const found: ScrubFinding[] = []
  for (const chunk of [...bad, ...missing]) {
    if (!inUse.has(chunk)) continue
    const what = bad.includes(chunk) ? 'its checksum differs' : 'it is missing'
    found.push({ chunk, what, mended: await mend(chunk) })
  }
  return found
}
