import type { ChunkId, Random } from '../base/index.ts'
import { keys } from '../meta/index.ts'
import type { ChunkUses } from './chunk-uses.ts'
import { overlapping } from './live-ranges.ts'
import type { LocalVolume } from './local-volume.ts'
import {
  type Commit,
  layOut,
  type Moved,
  moveExtents,
  replaceExtents,
  runsOf,
  shareChunk,
} from './move-extents.ts'
import { REGION_BYTES, REGION_EXTENTS_MAX, type Region, SMALL_EXTENT_BYTES } from './scattered.ts'

/** So many extents fewer are worth a chunk that is written anew. */
const EXTENTS_SAVED_MIN = REGION_EXTENTS_MAX / 2

/**
 * Puts the extents of one region of a file together, in file order: what lies one behind the other in a chunk already
 * becomes one extent as it is; else the small ones are copied into a new chunk. What others share stays where it is.
 * @param goOn asked every few milliseconds; false ends it with nothing done
 * @throws UnreadableChunk, CorruptError; FsError ENOSPC: it takes nothing from the headroom
 */
export async function gatherRegion(
  volume: LocalVolume,
  random: Random,
  uses: ChunkUses,
  commit: Commit,
  region: Region,
  goOn: () => Promise<boolean>,
): Promise<void> {
  const parts = partsOf(volume, region)
  if (parts.length <= REGION_EXTENTS_MAX) return
  const runs = runsInPlace(parts)
  if (runs.length <= REGION_EXTENTS_MAX) {
    commit((draft) => {
      for (const run of runs) {
        const was = run[0]?.was
        if (run.length < 2 || was?.kind !== 'chunk') continue
        if (draft.entries.get(keys.chunkKey(was.chunk))) replaceExtents(draft, run, was.chunk)
      }
      return {}
    })
    return
  }
  const small = parts.filter(({ length }) => length < SMALL_EXTENT_BYTES)
  for (const chunk of chunksOf(small)) {
    if (uses.verdict(chunk) !== null) continue
    if (!(await goOn())) return
    uses.look(chunk)
  }
  const moved = small.filter(({ was }) => was.kind === 'inline' || uses.verdict(was.chunk))
  layOut(moved)
  if (moved.length - runsOf(moved).length < EXTENTS_SAVED_MIN) return
  await moveExtents(volume, random, commit, moved, { urgent: false, goOn })
}

/** What of extents lies in a region, in order; `at` is where it is in its chunk now. */
function partsOf(volume: LocalVolume, { ino, offset }: Region): Moved[] {
  const parts: Moved[] = []
  const end = offset + REGION_BYTES
  for (const { offset: extentAt, extent: was } of overlapping(volume.view, ino, offset, end)) {
    if (was.kind === 'zero') continue
    const from = Math.max(offset, extentAt)
    const length = Math.min(end, extentAt + was.length) - from
    const at = was.kind === 'chunk' ? was.at + from - extentAt : 0
    parts.push({ ino, offset: from, length, at, extentAt, was })
  }
  return parts
}

/** Groups of neighbours in the file that are neighbours in one chunk. Parts of extents stand alone: they stay whole. */
function runsInPlace(parts: readonly Moved[]): Moved[][] {
  const groups: Moved[][] = []
  let before: Moved | null = null
  for (const one of parts) {
    if (before && isWhole(before) && isWhole(one) && shareChunk(before, one)) {
      groups.at(-1)?.push(one)
    } else groups.push([one])
    before = one
  }
  return groups.flatMap((group) => runsOf(group))
}

function isWhole({ length, was }: Moved): boolean {
  return length === was.length
}

function chunksOf(parts: readonly Moved[]): Set<ChunkId> {
  const chunks = new Set<ChunkId>()
  for (const { was } of parts) if (was.kind === 'chunk') chunks.add(was.chunk)
  return chunks
}
