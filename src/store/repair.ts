import type { Random } from '../base/index.ts'
import { messageOf } from '../base/index.ts'
import { keys } from '../meta/index.ts'
import type { Engine } from './engine.ts'
import { type BadChunk, splitByPages } from './fsck-chunks.ts'
import type { IndexCheck } from './fsck-index.ts'
import type { JournalCheck } from './fsck-journal.ts'
import { addRange, extentsOf, type RangesByChunk, rewriteRanges } from './live-ranges.ts'
import type { Work } from './work.ts'

/** What fsck may change. */
export interface Mending {
  repair: boolean
  /** Records that are needed and damaged may be given up, and what needs them. Only with `repair`. */
  acceptLoss: boolean
}

/** A write between two looks can split what was read: a few rounds reach its end. */
const ROUNDS_MAX = 5

/**
 * What can still be read of a damaged chunk goes to a new one; its file goes to quarantine. Ranges that are lost keep
 * naming it and answer EIO until they are written anew.
 */
export async function repairBadChunk(
  engine: Engine,
  bad: BadChunk,
  random: Random,
  work: Work,
): Promise<'repaired' | 'quarantined'> {
  const { volume } = engine
  const { id, drive } = bad
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const good: RangesByChunk = new Map()
    for (const range of (await extentsOf(volume, new Set([id]), work)).get(id) ?? []) {
      for (const part of splitByPages(range, bad).good) addRange(good, part)
    }
    if (good.size === 0) break
    await rewriteRanges(volume, random, (make) => engine.commit(make), good)
  }
  // One of which everything could be read ends like any chunk without live bytes.
  if (!bad.missing) volume.chunks.quarantine(id, drive)
  return volume.view.get(keys.chunkKey(id)) ? 'quarantined' : 'repaired'
}

/**
 * A journal that is damaged behind the view is not needed any more once the index is in a checkpoint: the damaged
 * files go to quarantine, a new file begins.
 * @returns null when it was done, else why it must not be
 */
export async function repairJournal(
  engine: Engine,
  journal: JournalCheck,
  index: IndexCheck,
  acceptLoss: boolean,
): Promise<string | null> {
  const { volume, checkpoints } = engine
  if (!acceptLoss && (index.bad.length > 0 || index.problems.length > 0)) {
    return `the index is not whole, and the journal may be needed to mend it: it stays as it is. To give that up: weft fsck ${volume.name} --repair --accept-loss`
  }
  const damaged = new Set(journal.damage.map(({ file }) => file))
  try {
    engine.locked(() => volume.shared.setHead(volume.journal.rollOver(volume.shared.head)))
    engine.commit(() => ({}))
    await checkpoints.take((make) => engine.commit(make), {
      alone: true,
      beforeDrop: () => {
        const files = new Set(volume.journal.files().map(({ file }) => file))
        for (const file of damaged) if (files.has(file)) volume.journal.quarantine(file)
      },
    })
    return null
  } catch (error) {
    return `no new checkpoint could be taken: ${messageOf(error)}`
  }
}
