import {
  assert,
  type ChunkId,
  CorruptError,
  codeOf,
  type Ino,
  newId,
  type Random,
} from '../base/index.ts'
import { decodeChunkInfo, decodeExtent, type Extent, keys } from '../meta/index.ts'
import { type ChunkPiece, nameChunk, putPieces } from './chunk-pieces.ts'
import { type Draft, ExtentEditor } from './draft.ts'
import type { LocalVolume } from './local-volume.ts'

export type Commit = (make: (draft: Draft) => object) => boolean

/** Bytes of a file on their way to a new chunk: all or a part of an extent, as it was when it was read. */
export interface Moved extends ChunkPiece {
  /** File offset of that extent, and the extent. Zeros need no chunk and are never moved. */
  extentAt: number
  was: Exclude<Extent, { kind: 'zero' }>
}

/** A whole extent. */
export function wholeMoved(ino: Ino, extentAt: number, was: Moved['was']): Moved {
  return { ino, offset: extentAt, length: was.length, at: 0, extentAt, was }
}

/** Gives each its place, one behind the other. @returns bytes of all */
export function layOut(moved: readonly Moved[]): number {
  let at = 0
  for (const one of moved) {
    one.at = at
    at += one.length
  }
  return at
}

/** Reads between two calls of `goOn`: a few milliseconds, when each opens another chunk. */
const READS_PER_TURN = 64

/** A chunk could not be read, or is gone. */
export class UnreadableChunk extends Error {
  readonly chunk: ChunkId

  constructor(chunk: ChunkId, cause: unknown) {
    super(`chunk ${chunk} cannot be moved`, { cause })
    this.chunk = chunk
  }
}

/** A chunk that is damaged, or on a drive that does not give it: work that nobody waits for goes on without it. */
export function isUnreadable(error: unknown): boolean {
  return error instanceof CorruptError || codeOf(error) === 'EIO'
}

/**
 * Writes extents into one new chunk in the order given, which is by file and offset: neighbours become one extent. What
 * somebody changed between the reading and the record is left alone.
 * @param moved at most limits.chunkBytesMax together
 * @param how.urgent may use the headroom, because it gives back more
 * @param how.goOn asked now and then while reading; false ends the work with nothing done
 * @returns whether something was moved
 * @throws UnreadableChunk; FsError ENOSPC; nothing was moved then
 */
export async function moveExtents(
  volume: LocalVolume,
  random: Random,
  commit: Commit,
  moved: readonly Moved[],
  how: { urgent: boolean; goOn?: () => Promise<boolean> },
): Promise<boolean> {
  const bytes = layOut(moved)
  const plain = Buffer.allocUnsafe(bytes)
  for (const [count, span] of spansOf(moved).entries()) {
    if (count % READS_PER_TURN === 0 && how.goOn && !(await how.goOn())) return false
    readSpan(volume, span, plain)
  }
  const pieces = runsOf(moved).map(pieceOf)
  const chunk = await putPieces(volume, newId<ChunkId>(random), plain, bytes, pieces, how.urgent)
  let used = false
  await nameChunk(volume, chunk, () => {
    commit((draft) => {
      draft.addChunk(chunk.id, chunk)
      used = replaceExtents(draft, moved, chunk.id)
      return {}
    })
  })
  if (!used) await volume.chunks.delete(chunk.id, chunk.drive)
  return used
}

/** Pieces that are near each other in one chunk, or a single inline one. */
interface Span {
  pieces: Moved[]
  /** Plain bytes of the chunk. */
  from: number
  to: number
}

/** What is read in one go: another read of the drive costs as much as this many bytes (50 us, measured). */
const GAP_BYTES_MAX = 32 * 1024
const SPAN_BYTES_MAX = 1024 * 1024

function spansOf(moved: readonly Moved[]): Span[] {
  const spans: Span[] = []
  const order = [...moved].sort((a, b) => compareSources(a, b))
  let before: Moved | null = null
  for (const one of order) {
    const from = sourceAt(one)
    const to = from + one.length
    const span = spans.at(-1)
    if (
      span &&
      before &&
      shareChunk(before, one) &&
      from - span.to <= GAP_BYTES_MAX &&
      to - span.from <= SPAN_BYTES_MAX
    ) {
      span.pieces.push(one)
      span.to = Math.max(span.to, to)
    } else spans.push({ pieces: [one], from, to })
    before = one
  }
  return spans
}

/** Where a piece begins in the chunk, or in the inline bytes, that it comes from. */
function sourceAt({ was, offset, extentAt }: Moved): number {
  return (was.kind === 'chunk' ? was.at : 0) + offset - extentAt
}

export function shareChunk({ was: a }: Moved, { was: b }: Moved): boolean {
  return a.kind === 'chunk' && b.kind === 'chunk' && a.chunk === b.chunk
}

function compareSources(a: Moved, b: Moved): number {
  if (a.was.kind !== 'chunk' || b.was.kind !== 'chunk') return a.was.kind < b.was.kind ? -1 : 1
  if (a.was.chunk !== b.was.chunk) return a.was.chunk < b.was.chunk ? -1 : 1
  return sourceAt(a) - sourceAt(b)
}

function readSpan(volume: LocalVolume, { pieces, from, to }: Span, plain: Buffer): void {
  const [first] = pieces
  assert(first !== undefined, 'a span has a piece')
  const { was } = first
  if (was.kind === 'inline') {
    was.data.copy(plain, first.at, from, to)
    return
  }
  const { chunk } = was
  const value = volume.view.get(keys.chunkKey(chunk))
  if (!value) throw new UnreadableChunk(chunk, null)
  const { drive } = decodeChunkInfo(value)
  const alone = pieces.length === 1
  const out = alone ? plain : Buffer.allocUnsafe(to - from)
  try {
    const outAt = alone ? first.at : 0
    volume.chunks.readSync(chunk, drive, volume.reader, from, to - from, out, outAt)
  } catch (cause) {
    if (!isUnreadable(cause)) throw cause
    throw new UnreadableChunk(chunk, cause)
  }
  if (alone) return
  for (const one of pieces) {
    const at = sourceAt(one) - from
    out.copy(plain, one.at, at, at + one.length)
  }
}

/**
 * Lets files name a chunk, in the place of those of `moved` that are still what they were.
 * @param chunk holds the bytes at `at` of each; neighbours among the list are neighbours in it
 * @returns false when none was
 */
export function replaceExtents(draft: Draft, moved: readonly Moved[], chunk: ChunkId): boolean {
  const unchanged = moved.filter(({ ino, extentAt, was }) => {
    const value = draft.entries.get(keys.extentKey(ino, extentAt))
    return value !== null && same(decodeExtent(value), was)
  })
  let editing = 0 as Ino
  let editor = new ExtentEditor(draft, editing)
  for (const run of runsOf(unchanged)) {
    const { ino, offset, length, at } = pieceOf(run)
    if (editing !== ino) editor = new ExtentEditor(draft, ino)
    editing = ino
    editor.carve(offset, offset + length)
    editor.put(offset, { kind: 'chunk', length, chunk, at })
  }
  return unchanged.length > 0
}

/** Groups of neighbours: in the file, and in the chunk they go to. */
export function runsOf(moved: readonly Moved[]): Moved[][] {
  const runs: Moved[][] = []
  let before: Moved | null = null
  for (const one of moved) {
    const joins =
      before !== null &&
      before.ino === one.ino &&
      before.offset + before.length === one.offset &&
      before.at + before.length === one.at
    if (joins) runs.at(-1)?.push(one)
    else runs.push([one])
    before = one
  }
  return runs
}

function pieceOf(run: readonly Moved[]): ChunkPiece {
  const [first] = run
  const last = run.at(-1)
  assert(first !== undefined && last !== undefined, 'a run is not empty')
  const { ino, offset, at } = first
  return { ino, offset, length: last.offset + last.length - offset, at }
}

function same(a: Extent, b: Extent): boolean {
  if (a.kind === 'chunk' && b.kind === 'chunk') {
    return a.chunk === b.chunk && a.at === b.at && a.length === b.length
  }
  return a.kind === 'inline' && b.kind === 'inline' && a.data.equals(b.data)
}
