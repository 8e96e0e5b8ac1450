import { type ChunkId, type DriveId, type Ino, limits, newId, type Random } from '../base/index.ts'
import { decodeChunkInfo, decodeExtent, type Extent, keys } from '../meta/index.ts'
import { type ChunkPiece, decodeBackPointer, nameChunk, putPieces } from './chunk-pieces.ts'
import { type Draft, type Entries, ExtentEditor } from './draft.ts'
import type { LocalVolume } from './local-volume.ts'
import { turn, type Work } from './work.ts'

export type ChunkExtent = Extract<Extent, { kind: 'chunk' }>

/** Bytes [from, to) of an extent, as it was when it was read. */
export interface LiveRange {
  ino: Ino
  /** File offset of the extent. */
  offset: number
  was: ChunkExtent
  from: number
  to: number
}

export type RangesByChunk = Map<ChunkId, LiveRange[]>
export type Commit = (make: (draft: Draft) => object) => boolean

const EXTENTS_PER_TURN = 2000
/** Ranges that one record moves: about half a MiB of changes. */
const RANGES_PER_RECORD = 4096
/** Pieces that a back-pointer holds (limits.chunkBackPointerBytesMax); what is beyond is found by looking at all extents. */
const PIECES_MAX = 8192

/** Every extent that names one of these chunks, whichever file it is of. One pass over all extents. */
export async function extentsOf(
  volume: LocalVolume,
  chunks: ReadonlySet<ChunkId>,
  work: Work,
): Promise<RangesByChunk> {
  const found: RangesByChunk = new Map()
  const end = Buffer.of(keys.KIND.extent + 1)
  let start = Buffer.of(keys.KIND.extent)
  for (let more = true; more; ) {
    more = false
    let count = 0
    for (const [key, value] of volume.view.readable(start, end)) {
      if (++count > EXTENTS_PER_TURN) {
        start = Buffer.from(key)
        more = true
        break
      }
      const was = decodeExtent(value)
      if (was.kind !== 'chunk' || !chunks.has(was.chunk)) continue
      const range = { ino: keys.inoOfKey(key), offset: keys.offsetOfKey(key), was }
      addRange(found, { ...range, from: 0, to: was.length })
    }
    await turn(work)
  }
  return found
}

export function addRange(ranges: RangesByChunk, range: LiveRange): void {
  const list = ranges.get(range.was.chunk)
  if (list) list.push(range)
  else ranges.set(range.was.chunk, [range])
}

/** Plain bytes of a chunk that some range needs, in order and without overlap. */
export function spansOf(ranges: readonly LiveRange[]): { from: number; to: number }[] {
  const sorted = ranges
    .map(({ was, from, to }) => ({ from: was.at + from, to: was.at + to }))
    .sort((a, b) => a.from - b.from)
  const spans: { from: number; to: number }[] = []
  for (const span of sorted) {
    const last = spans.at(-1)
    if (last && span.from <= last.to) last.to = Math.max(last.to, span.to)
    else spans.push({ ...span })
  }
  return spans
}

interface Move {
  range: LiveRange
  at: number
}

/**
 * Writes live ranges into new chunks, sealed with the newest key, and lets their files name those. Bytes that several
 * files share stay shared. A range that somebody changed meanwhile is left alone.
 * @param ranges by the chunk they are in; each chunk's fit into one new chunk
 * @throws CorruptError {chunk} when one cannot be read: nothing of that chunk, and of those not yet done, was moved
 */
export async function rewriteRanges(
  volume: LocalVolume,
  random: Random,
  commit: Commit,
  ranges: RangesByChunk,
): Promise<void> {
  const plain = Buffer.allocUnsafe(limits.chunkBytesMax)
  let moves: Move[] = []
  let at = 0
  const flush = async () => {
    const [ready, bytes] = [moves, at]
    moves = []
    at = 0
    if (ready.length > 0) await moveInto(volume, random, commit, plain, bytes, ready)
  }
  for (const [chunk, list] of ranges) {
    const spans = spansOf(list)
    const bytes = spans.reduce((sum, { from, to }) => sum + to - from, 0)
    if (at + bytes > plain.length || moves.length + list.length > PIECES_MAX) await flush()
    const value = volume.view.get(keys.chunkKey(chunk))
    if (!value) continue
    const { drive } = decodeChunkInfo(value)
    const began = at
    const placed: { from: number; to: number; at: number }[] = []
    try {
      for (const { from, to } of spans) {
        volume.chunks.readSync(chunk, drive, volume.reader, from, to - from, plain, at)
        placed.push({ from, to, at })
        at += to - from
      }
    } catch (error) {
      at = began
      await flush()
      throw error
    }
    for (const range of list) {
      const from = range.was.at + range.from
      const span = spanAt(placed, from)
      moves.push({ range, at: span.at + (from - span.from) })
    }
  }
  await flush()
}

/** The span that holds a byte; they are in order, and there is one. */
function spanAt<T extends { from: number }>(spans: readonly T[], at: number): T {
  let low = 0
  let high = spans.length - 1
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    if ((spans[middle] as T).from <= at) low = middle
    else high = middle - 1
  }
  return spans[low] as T
}

async function moveInto(
  volume: LocalVolume,
  random: Random,
  commit: Commit,
  plain: Buffer,
  bytes: number,
  moves: Move[],
): Promise<void> {
  moves.sort(
    (a, b) =>
      a.range.ino - b.range.ino || a.range.offset + a.range.from - (b.range.offset + b.range.from),
  )
  const pieces = moves.slice(0, PIECES_MAX).map(
    ({ range, at }): ChunkPiece => ({
      ino: range.ino,
      offset: range.offset + range.from,
      length: range.to - range.from,
      at,
    }),
  )
  const chunk = await putPieces(volume, newId<ChunkId>(random), plain, bytes, pieces, true)
  let used = false
  for (let start = 0; start < moves.length; start += RANGES_PER_RECORD) {
    const part = moves.slice(start, start + RANGES_PER_RECORD)
    await nameChunk(volume, chunk, () => {
      let placed = false
      commit((draft) => {
        if (!used) draft.addChunk(chunk.id, chunk)
        placed = placeRanges(draft, chunk.id, part)
        return {}
      })
      used ||= placed
    })
  }
  if (!used) await volume.chunks.delete(chunk.id, chunk.drive)
}

/** True when at least one range was still what it was. */
function placeRanges(draft: Draft, chunk: ChunkId, moves: readonly Move[]): boolean {
  let placed = false
  let editing = 0 as Ino
  let editor = new ExtentEditor(draft, editing)
  for (const { range, at } of moves) {
    const { ino, offset, was, from, to } = range
    const value = draft.entries.get(keys.extentKey(ino, offset))
    if (!value || !same(decodeExtent(value), was)) continue
    if (editing !== ino) editor = new ExtentEditor(draft, ino)
    editing = ino
    editor.carve(offset + from, offset + to)
    editor.put(offset + from, { kind: 'chunk', length: to - from, chunk, at })
    placed = true
  }
  return placed
}

function same(now: Extent, was: ChunkExtent): boolean {
  return (
    now.kind === 'chunk' &&
    now.chunk === was.chunk &&
    now.at === was.at &&
    now.length === was.length
  )
}

/** What of a chunk is still named where its own back-pointer says; what shares its bytes elsewhere is not among it. */
export function rangesByBackPointer(volume: LocalVolume, id: ChunkId, drive: DriveId): LiveRange[] {
  const { view, chunks, reader } = volume
  const ranges: LiveRange[] = []
  const seen = new Set<string>()
  for (const piece of decodeBackPointer(chunks.backPointerSync(id, drive, reader))) {
    const { ino } = piece
    const end = piece.offset + piece.length
    for (const { offset, extent } of overlapping(view, ino, piece.offset, end)) {
      // A copy inside one file can lie across two pieces.
      if (extent.kind !== 'chunk' || extent.chunk !== id || seen.has(`${ino}:${offset}`)) continue
      seen.add(`${ino}:${offset}`)
      ranges.push({ ino, offset, was: extent, from: 0, to: extent.length })
    }
  }
  return ranges
}

export function* overlapping(
  entries: Entries,
  ino: Ino,
  from: number,
  to: number,
): Generator<{ offset: number; extent: Extent }> {
  // Most often one begins there: a third of the price of a search.
  const value = entries.get(keys.extentKey(ino, from))
  if (value) {
    const extent = decodeExtent(value)
    yield { offset: from, extent }
    if (from + extent.length >= to) return
  } else {
    const before = entries.floor(keys.extentKey(ino, from), keys.extentKey(ino, 0))
    if (before) {
      const offset = keys.offsetOfKey(before[0])
      const extent = decodeExtent(before[1])
      if (offset + extent.length > from) yield { offset, extent }
    }
  }
  for (const [key, value] of entries.range(
    keys.extentKey(ino, from + 1),
    keys.extentKey(ino, to),
  )) {
    yield { offset: keys.offsetOfKey(key), extent: decodeExtent(value) }
  }
}
