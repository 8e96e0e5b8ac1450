import type { ChunkId } from '../base/index.ts'
import { type ChunkInfo, decodeChunkInfo, keys } from '../meta/index.ts'
import { rangesByBackPointer } from './live-ranges.ts'
import type { LocalVolume } from './local-volume.ts'
import { isUnreadable, type Moved, wholeMoved } from './move-extents.ts'

/** Verdicts remembered: a chunk costs milliseconds to look at. */
const VERDICTS_MAX = 65_536

/**
 * Which chunks are named only where their own back-pointers say. Others share the bytes of one that is not (by
 * copy_file_range), and moving some of its extents would store those bytes twice.
 */
export class ChunkUses {
  readonly #volume: LocalVolume
  /** Shared chunks, and damaged ones, which fsck deals with: left alone. */
  readonly #left = new Set<ChunkId>()
  /** Chunks that nobody shared when they had so many live bytes. */
  readonly #sole = new Map<ChunkId, number>()

  constructor(volume: LocalVolume) {
    this.#volume = volume
  }

  /** Every change of a chunk passes here; null when it ended. */
  note(id: ChunkId, info: ChunkInfo | null): void {
    if (!info) {
      this.#left.delete(id)
      this.#sole.delete(id)
      return
    }
    const known = this.#sole.get(id)
    if (known === undefined) return
    // Only a copy adds to the live bytes of a chunk that is there.
    if (info.liveBytes > known) this.#sole.delete(id)
    else if (info.liveBytes < known) this.#sole.set(id, info.liveBytes)
  }

  isLeft(id: ChunkId): boolean {
    return this.#left.has(id)
  }

  leave(id: ChunkId): void {
    this.#left.add(id)
    this.#sole.delete(id)
  }

  /** Whether the extents that name a chunk may be moved, as far as that was looked at; null when it was not. */
  verdict(id: ChunkId): boolean | null {
    if (this.#left.has(id)) return false
    return this.#sole.has(id) ? true : null
  }

  /** Looks at a chunk. Takes milliseconds. */
  look(id: ChunkId): boolean {
    const value = this.#volume.view.get(keys.chunkKey(id))
    return value !== null && this.liveExtents(id, decodeChunkInfo(value)) !== null
  }

  /** Every extent that names a chunk; null when it is shared, damaged or on a drive that fails, and left alone from now on. */
  liveExtents(id: ChunkId, info: ChunkInfo): Moved[] | null {
    try {
      const ranges = rangesByBackPointer(this.#volume, id, info.drive)
      const found = ranges.reduce((sum, { was }) => sum + was.length, 0)
      if (found < info.liveBytes) {
        this.leave(id)
        return null
      }
      if (this.#sole.size >= VERDICTS_MAX) this.#sole.clear()
      this.#sole.set(id, info.liveBytes)
      return ranges.map(({ ino, offset, was }) => wholeMoved(ino, offset, was))
    } catch (error) {
      if (!isUnreadable(error)) throw error
      this.leave(id)
      return null
    }
  }
}
