import { assert, type ChunkId, CorruptError, type Ino, limits } from '../base/index.ts'
import {
  type Change,
  type ChunkInfo,
  decodeChunkInfo,
  decodeExtent,
  decodeInode,
  type Extent,
  encodeChunkInfo,
  encodeExtent,
  encodeInode,
  type Inode,
  keys,
} from '../meta/index.ts'

/** What a draft reads: the view with every record of the log applied. */
export interface Entries {
  get(key: Buffer): Buffer | null
  range(start: Buffer, end: Buffer): Iterable<[key: Buffer, value: Buffer]>
  floor(key: Buffer, floor: Buffer): [key: Buffer, value: Buffer] | null
  /** The first `countMax` extents of a file that overlap [from, to), in order, where they are at hand; null to look them up. */
  extents?(
    ino: Ino,
    from: number,
    to: number,
    countMax: number,
  ): { offset: number; extent: Extent }[] | null
}

/**
 * The changes of one record while it is being made, with chunk accounting. It reads its own inode and chunk changes.
 * Made and appended under the volume's lock, over a view that holds every earlier record.
 */
export class Draft {
  readonly #entries: Entries
  readonly #changes = new Map<string, Change>()
  readonly #chunkDeltas = new Map<ChunkId, number>()
  readonly #newChunks = new Map<ChunkId, ChunkInfo>()
  /** Bytes under quota, inline bytes and inodes that this record adds (negative: gives back). */
  bytesDelta = 0
  inlineDelta = 0
  inodesDelta = 0
  /** The record covers every staged write up to this number; null when it covers none, or some alone (dataThrough). */
  covers: number | null = null
  /** Chunks that no extent uses: those of checkpoints, which the record begins and stops using. */
  besides: { begins: readonly ChunkId[]; ends: readonly ChunkId[] } = {
    begins: [],
    ends: [],
  }

  constructor(entries: Entries) {
    this.#entries = entries
  }

  get entries(): Entries {
    return this.#entries
  }

  get(key: Buffer): Buffer | null {
    const drafted = this.#changes.get(key.toString('latin1'))
    return drafted ? drafted.value : this.#entries.get(key)
  }

  touches(key: Buffer): boolean {
    return this.#changes.has(key.toString('latin1'))
  }

  put(key: Buffer, value: Buffer): void {
    this.#changes.set(key.toString('latin1'), { key, value })
  }

  delete(key: Buffer): void {
    this.#changes.set(key.toString('latin1'), { key, value: null })
  }

  inode(ino: Ino): Inode | null {
    const value = this.get(keys.inodeKey(ino))
    return value ? decodeInode(value) : null
  }

  putInode(ino: Ino, inode: Inode): void {
    this.put(keys.inodeKey(ino), encodeInode(inode))
  }

  addChunk(id: ChunkId, info: Omit<ChunkInfo, 'liveBytes'>): void {
    this.#newChunks.set(id, { ...info, liveBytes: 0 })
  }

  /** Correct the live bytes of a chunk that is in the view; at zero it ends. */
  recount(id: ChunkId, delta: number): void {
    this.#count(id, delta)
  }

  putExtent(ino: Ino, offset: number, extent: Extent): void {
    assert(extent.length > 0, 'an extent has bytes')
    this.bytesDelta += extent.length
    if (extent.kind === 'inline') {
      this.inlineDelta += extent.length
      this.put(keys.packableKey(ino, offset), Buffer.alloc(0))
    }
    if (extent.kind === 'chunk') this.#count(extent.chunk, extent.length)
    this.put(keys.extentKey(ino, offset), encodeExtent(extent))
  }

  deleteExtent(ino: Ino, offset: number, extent: Extent): void {
    this.bytesDelta -= extent.length
    if (extent.kind === 'inline') {
      this.inlineDelta -= extent.length
      this.delete(keys.packableKey(ino, offset))
    }
    if (extent.kind === 'chunk') this.#count(extent.chunk, -extent.length)
    this.delete(keys.extentKey(ino, offset))
  }

  /**
   * Take an inode out of the volume: extents, attributes, and at last itself.
   * @returns false when extentsMax was reached before the end: to be called again in the next record
   */
  purge(ino: Ino, extentsMax: number): boolean {
    const editor = new ExtentEditor(this, ino)
    if (editor.carve(0, limits.fileBytesMax, extentsMax) < limits.fileBytesMax) return false
    const attributes = keys.startOfIno(keys.KIND.xattr, ino)
    for (const [key] of this.#entries.range(attributes, keys.endOfIno(keys.KIND.xattr, ino))) {
      this.delete(key)
    }
    this.delete(keys.inodeKey(ino))
    this.delete(keys.orphanKey(ino))
    this.inodesDelta--
    return true
  }

  /** The record's changes, chunks it begins and stops using. The draft is spent afterwards. */
  finish(): { changes: Change[]; begins: ChunkId[]; ends: ChunkEnd[] } {
    const begins: ChunkId[] = []
    const ends: ChunkEnd[] = []
    for (const [id, delta] of this.#chunkDeltas) {
      const fresh = this.#newChunks.get(id)
      const key = keys.chunkKey(id)
      const value = fresh ? null : this.#entries.get(key)
      const info = fresh ?? (value ? decodeChunkInfo(value) : null)
      if (!info) throw new CorruptError('an extent names a chunk the view does not know', { id })
      info.liveBytes += delta
      assert(info.liveBytes >= 0, 'live bytes of a chunk are never negative')
      if (info.liveBytes > 0) {
        if (fresh) begins.push(id)
        if (fresh || delta !== 0) this.put(key, encodeChunkInfo(info))
      } else {
        if (!fresh) this.delete(key)
        ends.push({ id, drive: info.drive })
      }
    }
    return { changes: [...this.#changes.values()], begins, ends }
  }

  #count(chunk: ChunkId, delta: number): void {
    this.#chunkDeltas.set(chunk, (this.#chunkDeltas.get(chunk) ?? 0) + delta)
  }
}

export interface ChunkEnd {
  id: ChunkId
  drive: ChunkInfo['drive']
}

/**
 * Changes the extents of one file inside a draft. Ranges are carved in ascending order and never overlap: the only
 * drafted extent a later range can meet is then the remainder right of the range before.
 */
export class ExtentEditor {
  readonly #draft: Draft
  readonly #ino: Ino
  #remainder: { offset: number; extent: Extent } | null = null
  #carvedTo = 0
  /** Bytes under quota that this editor added to the file (negative: gave back). */
  bytesDelta = 0

  constructor(draft: Draft, ino: Ino) {
    this.#draft = draft
    this.#ino = ino
  }

  /**
   * Make [from, to) a hole; what was there is given back.
   * @param extentsMax stop after about so many extents, because a record is bounded
   * @returns the offset up to which it is a hole now: `to`, unless extentsMax was reached
   */
  carve(from: number, to: number, extentsMax = Number.POSITIVE_INFINITY): number {
    assert(from >= this.#carvedTo && to >= from, 'ranges are carved in ascending order')
    if (from === to) return to
    let count = 0
    for (const { offset, extent } of this.#overlapping(from, to, extentsMax + 1)) {
      const end = offset + extent.length
      if (++count > extentsMax) {
        this.#carvedTo = offset
        return offset
      }
      this.#draft.deleteExtent(this.#ino, offset, extent)
      this.bytesDelta -= extent.length
      if (offset < from) this.put(offset, slice(extent, 0, from - offset))
      if (end > to) {
        const rest = slice(extent, to - offset, extent.length)
        this.put(to, rest)
        this.#remainder = { offset: to, extent: rest }
      }
    }
    this.#carvedTo = to
    return to
  }

  /** Put an extent where a hole is, or was just carved. */
  put(offset: number, extent: Extent): void {
    this.#draft.putExtent(this.#ino, offset, extent)
    this.bytesDelta += extent.length
  }

  *#overlapping(
    from: number,
    to: number,
    countMax: number,
  ): Generator<{ offset: number; extent: Extent }> {
    const { entries } = this.#draft
    const remainder = this.#remainder
    if (remainder && remainder.offset + remainder.extent.length > from && remainder.offset < to) {
      this.#remainder = null
      yield remainder
    }
    const atHand = entries.extents?.(this.#ino, from, to, countMax)
    if (atHand) {
      for (const placed of atHand) {
        if (!this.#draft.touches(keys.extentKey(this.#ino, placed.offset))) yield placed
      }
      return
    }
    const before = entries.floor(keys.extentKey(this.#ino, from), keys.extentKey(this.#ino, 0))
    if (before && !this.#draft.touches(before[0])) {
      const offset = keys.offsetOfKey(before[0])
      const extent = decodeExtent(before[1])
      if (offset + extent.length > from) yield { offset, extent }
    }
    const start = keys.extentKey(this.#ino, from + 1)
    for (const [key, value] of entries.range(start, keys.extentKey(this.#ino, to))) {
      if (this.#draft.touches(key)) continue
      yield { offset: keys.offsetOfKey(key), extent: decodeExtent(value) }
    }
  }
}

function slice(extent: Extent, from: number, to: number): Extent {
  switch (extent.kind) {
    case 'chunk':
      return { ...extent, length: to - from, at: extent.at + from }
    case 'inline':
      return { kind: 'inline', length: to - from, data: extent.data.subarray(from, to) }
    case 'zero':
      return { kind: 'zero', length: to - from }
  }
}
