import {
  type ChunkId,
  CorruptError,
  codeOf,
  type Ino,
  limits,
  newId,
  type Random,
} from '../base/index.ts'
import {
  type Change,
  type ChunkInfo,
  decodeChunkInfo,
  decodeExtent,
  type Extent,
  keys,
} from '../meta/index.ts'
import { type ChunkPiece, putPieces } from './chunk-pieces.ts'
import { type Draft, ExtentEditor } from './draft.ts'
import { rangesByBackPointer } from './live-ranges.ts'
import type { LocalVolume } from './local-volume.ts'

/** Inline bytes from which packing them into a chunk is worth the write. */
const INLINE_PACKED_MIN = 1024 * 1024
const EXTENTS_PER_PASS = 4096

type Commit = (make: (draft: Draft) => object) => boolean

/** A live range on its way to a new chunk, and what it was when it was read. */
interface Moved extends ChunkPiece {
  was: Extent
}

/**
 * Gives back dead space: chunks whose live bytes fell below half are rewritten, many inline extents become a chunk.
 * A rewrite names what it read and moves only extents that are still that (design §5).
 */
export class Reclaim {
  readonly #volume: LocalVolume
  readonly #random: Random
  readonly #sparse = new Set<ChunkId>()
  /**
   * Left alone: chunks with live ranges that their back-pointers do not name (shared by copy_file_range), and damaged
   * ones, which fsck deals with.
   */
  readonly #shared = new Set<ChunkId>()

  constructor(volume: LocalVolume, random: Random) {
    this.#volume = volume
    this.#random = random
  }

  /** Every change that is applied passes here. */
  note(change: Change): void {
    if (change.key[0] !== keys.KIND.chunk) return
    const id = keys.chunkOfKey(change.key)
    if (change.value && isSparse(decodeChunkInfo(change.value))) this.#sparse.add(id)
    else this.#sparse.delete(id)
    if (!change.value) this.#shared.delete(id)
  }

  /** Look at all chunks once, after the volume was opened. */
  survey(): void {
    const { view } = this.#volume
    const end = Buffer.of(keys.KIND.chunk + 1)
    for (const [key, value] of view.range(Buffer.of(keys.KIND.chunk), end)) {
      this.note({ key, value })
    }
  }

  /** One pass: rewrite at most one chunk's worth. True when something was moved. */
  async pass(commit: Commit): Promise<boolean> {
    try {
      const { inlineBytes } = this.#volume.shared
      if (inlineBytes >= INLINE_PACKED_MIN) return await this.#packInline(commit)
      return await this.#rewriteSparse(commit)
    } catch (error) {
      // No room even in the headroom: what is deleted next makes some, and what is sparse is looked at again.
      if (codeOf(error) === 'ENOSPC') return false
      throw error
    }
  }

  async #rewriteSparse(commit: Commit): Promise<boolean> {
    const taken: ChunkId[] = []
    const moved: Moved[] = []
    let bytes = 0
    for (const id of this.#sparse) {
      const value = this.#volume.view.get(keys.chunkKey(id))
      if (!value || this.#shared.has(id)) {
        this.#sparse.delete(id)
        continue
      }
      const info = decodeChunkInfo(value)
      if (bytes + info.liveBytes > limits.chunkBytesMax) break
      if (moved.length > EXTENTS_PER_PASS) break
      taken.push(id)
      this.#sparse.delete(id)
      const live = this.#liveRanges(id, info)
      if (!live) {
        taken.pop()
        continue
      }
      bytes += live.reduce((sum, range) => sum + range.length, 0)
      moved.push(...live)
    }
    // A lone small chunk is not worth a new one.
    if (moved.length === 0 || (taken.length < 2 && bytes < limits.inlineBytesMax)) return false
    try {
      await this.#move(moved, bytes, commit)
    } catch (error) {
      for (const id of taken) if (!this.#shared.has(id)) this.#sparse.add(id)
      throw error
    }
    return true
  }

  /** What of a chunk is still named, by its own back-pointer; null when it is damaged. */
  #liveRanges(id: ChunkId, info: ChunkInfo): Moved[] | null {
    try {
      const ranges = rangesByBackPointer(this.#volume, id, info.drive)
      const found = ranges.reduce((sum, { was }) => sum + was.length, 0)
      if (found < info.liveBytes) this.#shared.add(id)
      return ranges.map(({ ino, offset, was }) => ({ ino, offset, length: was.length, at: 0, was }))
    } catch (error) {
      if (!(error instanceof CorruptError)) throw error
      this.#shared.add(id)
      return null
    }
  }

  async #packInline(commit: Commit): Promise<boolean> {
    const { view } = this.#volume
    const moved: Moved[] = []
    let bytes = 0
    const end = Buffer.of(keys.KIND.packable + 1)
    for (const [key] of view.range(Buffer.of(keys.KIND.packable), end)) {
      const ino = keys.inoOfKey(key)
      const offset = keys.offsetOfKey(key)
      const value = view.get(keys.extentKey(ino, offset))
      const extent = value ? decodeExtent(value) : null
      if (extent?.kind !== 'inline') continue
      if (bytes + extent.length > limits.chunkBytesMax || moved.length >= EXTENTS_PER_PASS) break
      moved.push({ ino, offset, length: extent.length, at: 0, was: extent })
      bytes += extent.length
    }
    if (moved.length === 0) return false
    await this.#move(moved, bytes, commit)
    return true
  }

  async #move(moved: Moved[], bytes: number, commit: Commit): Promise<void> {
    const volume = this.#volume
    moved.sort((a, b) => a.ino - b.ino || a.offset - b.offset)
    const plain = Buffer.allocUnsafe(bytes)
    let at = 0
    for (const range of moved) {
      range.at = at
      const { was, length } = range
      if (was.kind === 'inline') was.data.copy(plain, at)
      else if (was.kind === 'chunk') {
        const value = volume.view.get(keys.chunkKey(was.chunk))
        if (!value) return
        const { drive } = decodeChunkInfo(value)
        try {
          volume.chunks.readSync(was.chunk, drive, volume.reader, was.at, length, plain, at)
        } catch (error) {
          if (!(error instanceof CorruptError)) throw error
          // What shares the pass with it is found sparse again by the next change, or at the next start.
          this.#shared.add(was.chunk)
          return
        }
      }
      at += length
    }
    const chunk = await putPieces(volume, newId<ChunkId>(this.#random), plain, at, moved, true)
    let used = false
    commit((draft) => {
      draft.addChunk(chunk.id, chunk)
      let editing = 0 as Ino
      let editor = new ExtentEditor(draft, editing)
      for (const { ino, offset, length, at, was } of moved) {
        const value = draft.entries.get(keys.extentKey(ino, offset))
        if (!value || !same(decodeExtent(value), was)) continue
        if (editing !== ino) editor = new ExtentEditor(draft, ino)
        editing = ino
        editor.carve(offset, offset + length)
        editor.put(offset, { kind: 'chunk', length, chunk: chunk.id, at })
        used = true
      }
      return {}
    })
    if (!used) await volume.chunks.delete(chunk.id, chunk.drive)
  }
}

function isSparse(info: ChunkInfo): boolean {
  return info.liveBytes < info.plainBytes / 2
}

function same(a: Extent, b: Extent): boolean {
  if (a.kind === 'chunk' && b.kind === 'chunk') {
    return a.chunk === b.chunk && a.at === b.at && a.length === b.length
  }
  return a.kind === 'inline' && b.kind === 'inline' && a.data.equals(b.data)
}
