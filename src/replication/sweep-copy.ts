import type { ChunkId, Epoch, NodeId, RecordSeq } from '../base/index.ts'
import { type AskCopy, isSilence } from './follower.ts'
import type { CopyPlace, OldChunks } from './messages.ts'
import type { Times } from './times.ts'

/** Parts that the chunks of a copy lie in. */
export const PARTS = 256

export interface SweepWorld {
  readonly ask: AskCopy
  readonly epoch: Epoch
  readonly node: NodeId
  readonly times: Times
  /** Of these chunks those that nothing in the log up to `seq` uses. */
  unnamed(chunks: readonly ChunkId[]): Promise<Unnamed>
  /** Fulfilled when every member has the record. @throws FsError EIO when this owner is past */
  sync(seq: RecordSeq): Promise<void>
}

export interface Unnamed {
  readonly chunks: readonly ChunkId[]
  readonly seq: RecordSeq
}

/**
 * Have one copy delete chunks that no record names (design §6.6): what was put for a record that never came, or stayed when
 * the copy was away. Only the owner can say it, and only once the record that might have been the last to name one is
 * committed.
 * @returns how many it deleted, null when it does not answer
 */
export async function sweepCopy(
  { ask, epoch, node, times, unnamed, sync }: SweepWorld,
  copy: CopyPlace,
  old: OldChunks,
  parts: number,
): Promise<number | null> {
  const options = { deadlineMs: times.chunkMs }
  let deleted = 0
  try {
    for (let part = 0; part < parts; part++) {
      const listed = await ask(copy, { op: 'listOld', part, old }, options)
      if (listed.kind !== 'old') return null
      if (listed.chunks.length === 0) continue
      const { chunks, seq } = await unnamed(listed.chunks)
      if (chunks.length === 0) continue
      await sync(seq)
      const committed = { epoch, seq }
      const request = { op: 'deleteChunks', epoch, owner: node, committed, chunks } as const
      if ((await ask(copy, request, options)).kind !== 'done') return null
      deleted += chunks.length
    }
    return deleted
  } catch (error) {
    if (!isSilence(error)) throw error
    return null
  }
}
