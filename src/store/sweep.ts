import { type ChunkId, type Clock, CorruptError, codeOf, type RecordSeq } from '../base/index.ts'
import { scan } from '../journal/index.ts'
import type { Engine } from './engine.ts'
import { isNamed, type UnnamedChunk, unnamedChunks } from './fsck-chunks.ts'
import type { LocalVolume } from './local-volume.ts'
import { turn, type Work } from './work.ts'

/** Design §6.6: a chunk that no record ever named rests a day before it is swept. */
export const SWEEP_REST_MS = 24 * 3600 * 1000
const RECORDS_PER_TURN = 500

export interface Swept {
  deleted: UnnamedChunk[]
  /** Younger than a day, and no record says that it ended. */
  resting: UnnamedChunk[]
}

/**
 * Deletes chunks of past epochs that nothing names (rule 6): those that a stable record ended, and those that no
 * record ever named and that have rested a day. A crash between two steps leaves them. One pass for all volumes.
 */
export async function sweep(engines: readonly Engine[], clock: Clock, work: Work): Promise<Swept> {
  const releases = await Promise.all(engines.map(({ checkpoints }) => checkpoints.hold()))
  try {
    const namers = engines.map(({ volume, checkpoints }) => ({
      volume,
      kept: new Set(checkpoints.chunks().map(({ id }) => id)),
    }))
    const { sec } = clock.now()
    const swept: Swept = { deleted: [], resting: [] }
    const young: UnnamedChunk[] = []
    const unnamed = await unnamedChunks(namers, work)
    const stable = await stableVolumes(namers.map(({ volume }) => volume))
    for (const chunk of unnamed) {
      if (!stable.has(chunk.volume)) continue
      const writtenMs = chunk.volume.chunks.writtenMs(chunk.id, chunk.drive) ?? 0
      if (sec * 1000 - writtenMs >= SWEEP_REST_MS) await remove(chunk, swept)
      else young.push(chunk)
    }
    for (const { volume } of namers) {
      const own = young.filter((chunk) => chunk.volume === volume)
      const ended = await endedBy(volume, new Set(own.map(({ id }) => id)), work)
      for (const chunk of own) {
        if (ended.has(chunk.id)) await remove(chunk, swept)
        else swept.resting.push(chunk)
      }
    }
    return swept
  } finally {
    for (const release of releases) release()
  }
}

/**
 * The volumes whose log is on stable storage up to now. The record that dropped the last use of a chunk may be a moment
 * old: lost in a cut of power, it would leave a file without its bytes.
 */
async function stableVolumes(volumes: readonly LocalVolume[]): Promise<Set<LocalVolume>> {
  const stable = new Set<LocalVolume>()
  for (const volume of volumes) {
    const { shared } = volume
    shared.lock()
    const { head } = shared
    shared.unlock()
    try {
      await volume.journal.syncAsync(head)
      stable.add(volume)
    } catch (error) {
      // Its engine meets the same error, stops the volume and says so; nothing of it is deleted.
      if (codeOf(error) !== 'EIO') throw error
    }
  }
  return stable
}

async function remove(chunk: UnnamedChunk, swept: Swept): Promise<void> {
  const { volume, id, drive } = chunk
  if (isNamed(volume, id)) return
  if (await volume.chunks.delete(id, drive)) swept.deleted.push(chunk)
}

/** Which of these chunks a record on stable storage stopped using. Headers are clear: nothing is unsealed. */
async function endedBy(
  volume: LocalVolume,
  chunks: ReadonlySet<ChunkId>,
  work: Work,
): Promise<Set<ChunkId>> {
  const ended = new Set<ChunkId>()
  if (chunks.size === 0) return ended
  const { journalDirectory, id } = volume.opening
  const upTo = volume.shared.synced as RecordSeq
  let count = 0
  try {
    for (const { header } of scan(volume.disk, journalDirectory, id, null, null, { upTo })) {
      for (const chunk of header.ends) if (chunks.has(chunk)) ended.add(chunk)
      if (++count % RECORDS_PER_TURN === 0) await turn(work)
    }
  } catch (error) {
    // What cannot be read says nothing: those chunks rest their day.
    if (!(error instanceof CorruptError)) throw error
  }
  return ended
}
