import {
  type ChunkId,
  type Clock,
  CorruptError,
  codeOf,
  limits,
  type Random,
} from '../base/index.ts'
import { type Change, type ChunkInfo, decodeChunkInfo, decodeExtent, keys } from '../meta/index.ts'
import { ChunkUses } from './chunk-uses.ts'
import { gatherRegion } from './gather.ts'
import type { LocalVolume } from './local-volume.ts'
import {
  type Commit,
  type Moved,
  moveExtents,
  UnreadableChunk,
  wholeMoved,
} from './move-extents.ts'
import { Scattered } from './scattered.ts'

/** Inline bytes from which packing them into a chunk is worth the write. */
const INLINE_PACKED_MIN = 1024 * 1024
/** So many make the view large: they are packed beside writers too. */
const INLINE_PRESSING = 64 * 1024 * 1024
const EXTENTS_PER_PASS = 4096
/** Dead bytes that are worth a new chunk for what lives beside them. */
const DEAD_BYTES_MIN = limits.inlineBytesMax
/** What waits for room is looked at again after so long. */
const ROOM_MS = 30_000

export interface PassOptions {
  /** Nobody has changed anything for limits.reclaimQuietMs. */
  quiet: boolean
  /** Asked every few milliseconds; false when the pass is to end soon. */
  goOn: () => Promise<boolean>
}

/**
 * Gives back dead space and puts scattered files together: chunks whose live bytes fell below half are rewritten, many
 * inline extents become a chunk, small extents of a file that lie side by side become one. What is moved names what it
 * was when it was read, and only extents that are still that are moved (design §5).
 */
export class Reclaim {
  readonly #volume: LocalVolume
  readonly #random: Random
  readonly #sparse = new Set<ChunkId>()
  readonly #uses: ChunkUses
  readonly #scattered: Scattered
  /** The last pass was told to stop: there is more to do. */
  #cutShort = false

  constructor(volume: LocalVolume, world: { clock: Clock; random: Random }) {
    this.#volume = volume
    this.#random = world.random
    this.#uses = new ChunkUses(volume)
    this.#scattered = new Scattered(world.clock)
  }

  /** Every change that is applied passes here. Hot. */
  note(change: Change): void {
    if (change.key[0] === keys.KIND.chunk) this.#noteChunk(change)
    else this.#scattered.note(change)
  }

  #noteChunk({ key, value }: Change): void {
    const id = keys.chunkOfKey(key)
    const info = value ? decodeChunkInfo(value) : null
    this.#uses.note(id, info)
    if (info && isSparse(info) && !this.#uses.isLeft(id)) this.#sparse.add(id)
    else this.#sparse.delete(id)
  }

  /** Look at all chunks once, after the volume was opened. Files are looked at when it is quiet. */
  survey(): void {
    const { view } = this.#volume
    const end = Buffer.of(keys.KIND.chunk + 1)
    for (const [key, value] of view.range(Buffer.of(keys.KIND.chunk), end)) {
      this.#noteChunk({ key, value })
    }
  }

  /** There is work that cannot wait until nobody writes. */
  get pressing(): boolean {
    const { inlineBytes, freeBytes } = this.#volume.shared
    if (inlineBytes >= INLINE_PRESSING) return true
    return freeBytes < limits.shortFreeBytes && this.#sparse.size > 0
  }

  /**
   * Milliseconds until another pass may find something to do; null when none will before the next change.
   * @param quietMs since the last change of others; when that was quiet, a pass has just found nothing
   */
  waitMs(quietMs: number): number | null {
    const scattered = this.#scattered
    const rest = scattered.restMs()
    if (quietMs >= limits.reclaimQuietMs) {
      if (rest === null && !scattered.surveying) return null
      return rest || (this.#cutShort ? limits.reclaimQuietMs : ROOM_MS)
    }
    const waiting =
      rest !== null ||
      scattered.surveying ||
      this.#sparse.size > 0 ||
      this.#volume.shared.inlineBytes >= INLINE_PACKED_MIN
    return waiting ? limits.reclaimQuietMs - quietMs : null
  }

  /**
   * One pass: at most one chunk is written. Beside writers only what cannot wait for their end.
   * @returns whether something was done, so that another pass may find more
   */
  async pass(commit: Commit, { quiet, goOn }: PassOptions): Promise<boolean> {
    const { inlineBytes, freeBytes } = this.#volume.shared
    const packed = quiet ? INLINE_PACKED_MIN : INLINE_PRESSING
    this.#cutShort = false
    try {
      if (inlineBytes >= packed && (await this.#packInline(commit))) return true
      if (freeBytes < limits.shortFreeBytes && (await this.#rewriteSparse(commit, goOn)))
        return true
      if (!quiet) return false
      // Before the sparse chunks: most of those of a scattered file end by it, and need not be rewritten.
      if (freeBytes >= limits.gatherFreeBytesMin) {
        const gathered = await this.#gather(commit, goOn)
        if (gathered !== null) return gathered
      }
      return await this.#rewriteSparse(commit, goOn)
    } catch (error) {
      // No room even in the headroom: what is deleted next makes some, and what is sparse is looked at again.
      if (codeOf(error) === 'ENOSPC') return false
      throw error
    }
  }

  /** @returns null when no file is scattered, false when it was told to stop */
  async #gather(commit: Commit, goOn: () => Promise<boolean>): Promise<boolean | null> {
    const region = this.#scattered.take()
    if (!region) {
      if (!this.#scattered.surveying) return null
      this.#scattered.survey(this.#volume.view)
      return true
    }
    let whole = true
    const goOnWhole = async () => {
      whole = await goOn()
      return whole
    }
    try {
      await gatherRegion(this.#volume, this.#random, this.#uses, commit, region, goOnWhole)
    } catch (error) {
      // Damaged values of the view are fsck's to tell.
      if (error instanceof CorruptError) return true
      whole = false
      if (!(error instanceof UnreadableChunk)) throw error
      this.#uses.leave(error.chunk)
      return true
    } finally {
      if (!whole) {
        this.#scattered.putBack(region)
        this.#cutShort = true
      }
    }
    return whole
  }

  async #rewriteSparse(commit: Commit, goOn: () => Promise<boolean>): Promise<boolean> {
    const taken: ChunkId[] = []
    const moved: Moved[] = []
    let bytes = 0
    let dead = 0
    for (const id of this.#sparse) {
      const value = this.#volume.view.get(keys.chunkKey(id))
      if (!value || this.#uses.isLeft(id)) {
        this.#sparse.delete(id)
        continue
      }
      const info = decodeChunkInfo(value)
      if (bytes + info.liveBytes > limits.chunkBytesMax) break
      if (moved.length > EXTENTS_PER_PASS) break
      if (dead >= DEAD_BYTES_MIN && !(await goOn())) break
      this.#sparse.delete(id)
      const live = this.#uses.liveExtents(id, info)
      if (!live) continue
      taken.push(id)
      bytes += info.liveBytes
      dead += info.plainBytes - info.liveBytes
      for (const one of live) moved.push(one)
    }
    try {
      if (moved.length === 0 || dead < DEAD_BYTES_MIN) return false
      moved.sort((a, b) => a.ino - b.ino || a.offset - b.offset)
      await moveExtents(this.#volume, this.#random, commit, moved, { urgent: true })
      taken.length = 0
      return true
    } catch (error) {
      if (!(error instanceof UnreadableChunk)) throw error
      this.#uses.leave(error.chunk)
      return true
    } finally {
      for (const id of taken) if (!this.#uses.isLeft(id)) this.#sparse.add(id)
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
      moved.push(wholeMoved(ino, offset, extent))
      bytes += extent.length
    }
    if (moved.length === 0) return false
    return await moveExtents(this.#volume, this.#random, commit, moved, { urgent: true })
  }
}

function isSparse(info: ChunkInfo): boolean {
  return info.liveBytes < info.plainBytes / 2
}
