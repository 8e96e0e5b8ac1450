import { type Clock, type Ino, limits } from '../base/index.ts'
import { type Change, decodeExtent, keys, type View } from '../meta/index.ts'

/** A file is looked at in parts of so many bytes: what one chunk takes. */
export const REGION_BYTES = limits.chunkBytesMax
/**
 * A region of more extents is worth being put together. Each costs a look-up, and often a page that is read for a part
 * of it (12 to 50 us), of the 5 ms that 4 MiB take to read.
 */
export const REGION_EXTENTS_MAX = 32
/** A longer extent reads well where it is. */
export const SMALL_EXTENT_BYTES = 256 * 1024
/** A file that was changed so short ago is being written: what is put together would be scattered again at once. */
const FILE_REST_MS = 1000
/** Regions remembered; what finds no place is found by looking at the keys again. */
const REGIONS_MAX = 65_536
/** Keys looked at in one step: a few milliseconds. */
const KEYS_PER_STEP = 2048

export interface Region {
  ino: Ino
  /** First byte in the file. */
  offset: number
}

interface ScatteredFile {
  changedMs: number
  /** By number of the region: small extents put there, not yet too many. */
  counts: Map<number, number>
  /** Regions that have too many. */
  ready: Set<number>
}

/**
 * Which regions of files have many small extents, as far as it is known: from the changes that pass here, and from one
 * walk over the keys after the start. A guess that is cheap to keep; who acts on it looks at the extents themselves.
 */
export class Scattered {
  readonly #clock: Clock
  readonly #files = new Map<Ino, ScatteredFile>()
  #counted = 0
  #ready = 0
  /** Key from which the walk goes on; null when it is over. */
  #surveyFrom: Buffer | null = Buffer.of(keys.KIND.extent)
  /** A region found no place: the walk has to be made again. */
  #missed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Regions waiting to be put together. */
  get ready(): number {
    return this.#ready
  }

  /** Not every key has been looked at. */
  get surveying(): boolean {
    return this.#surveyFrom !== null
  }

  /** Every change that is applied passes here. Hot. */
  note({ key, value }: Change): void {
    if (key[0] === keys.KIND.inode) {
      if (!value) this.#forget(keys.inoOfKey(key))
      return
    }
    if (key[0] !== keys.KIND.extent || !value || !isSmall(value)) return
    const offset = keys.offsetOfKey(key)
    // The one extent of a small file.
    if (offset === 0) return
    const ino = keys.inoOfKey(key)
    const file = this.#count(ino, Math.floor(offset / REGION_BYTES), 1)
    if (file) file.changedMs = this.#clock.monotonicMs()
  }

  /** Look at a few keys more. */
  survey(view: View): void {
    if (!this.#surveyFrom) return
    const end = Buffer.of(keys.KIND.extent + 1)
    let left = KEYS_PER_STEP
    let from: Buffer | null = this.#surveyFrom
    while (from && left > 0) {
      const start: Buffer = from
      from = null
      let ino = 0 as Ino
      let region = -1
      let count = 0
      for (const key of view.keys(start, end)) {
        const owner = keys.inoOfKey(key)
        const at = Math.floor(keys.offsetOfKey(key) / REGION_BYTES)
        if (owner !== ino || at !== region) {
          // Only between two regions, so that each is counted whole.
          if (--left <= 0) {
            from = Buffer.from(key)
            break
          }
          ino = owner
          region = at
          count = 0
        } else left--
        if (++count > REGION_EXTENTS_MAX) {
          this.#count(ino, region, count)
          from = keys.extentKey(ino, (region + 1) * REGION_BYTES)
          break
        }
      }
    }
    this.#surveyFrom = from
  }

  /** Takes a region of a file that rests out of the list. */
  take(): Region | null {
    const now = this.#clock.monotonicMs()
    for (const [ino, file] of this.#files) {
      const [region] = file.ready
      if (region === undefined || now - file.changedMs < FILE_REST_MS) continue
      file.ready.delete(region)
      this.#ready--
      if (file.counts.size + file.ready.size === 0) this.#files.delete(ino)
      return { ino, offset: region * REGION_BYTES }
    }
    if (this.#missed && this.#ready === 0) {
      this.#missed = false
      this.#surveyFrom = Buffer.of(keys.KIND.extent)
    }
    return null
  }

  /** A region that was taken and is still to be done. */
  putBack({ ino, offset }: Region): void {
    this.#count(ino, Math.floor(offset / REGION_BYTES), REGION_EXTENTS_MAX + 1)
  }

  /** Milliseconds until a file with something to do has rested; 0 when one has, null when there is none. */
  restMs(): number | null {
    if (this.#ready === 0) return null
    const now = this.#clock.monotonicMs()
    let rest = FILE_REST_MS
    for (const file of this.#files.values()) {
      if (file.ready.size > 0) rest = Math.min(rest, file.changedMs + FILE_REST_MS - now)
    }
    return Math.max(0, rest)
  }

  #count(ino: Ino, region: number, by: number): ScatteredFile | null {
    const known = this.#files.get(ino)
    if (known?.ready.has(region)) return known
    const before = known?.counts.get(region)
    if (before === undefined && !this.#makePlace()) return null
    let file = this.#files.get(ino)
    if (!file) {
      file = { changedMs: Number.NEGATIVE_INFINITY, counts: new Map(), ready: new Set() }
      this.#files.set(ino, file)
    }
    const count = (before ?? 0) + by
    if (count <= REGION_EXTENTS_MAX) {
      file.counts.set(region, count)
      if (before === undefined) this.#counted++
      return file
    }
    if (file.counts.delete(region)) this.#counted--
    file.ready.add(region)
    this.#ready++
    return file
  }

  #makePlace(): boolean {
    if (this.#counted + this.#ready < REGIONS_MAX) return true
    // Those with few extents are most likely to stay so.
    this.#missed = true
    if (this.#counted < REGIONS_MAX / 4) return false
    for (const [ino, file] of this.#files) {
      file.counts.clear()
      if (file.ready.size === 0) this.#files.delete(ino)
    }
    this.#counted = 0
    return true
  }

  #forget(ino: Ino): void {
    const file = this.#files.get(ino)
    if (!file) return
    this.#counted -= file.counts.size
    this.#ready -= file.ready.size
    this.#files.delete(ino)
  }
}

function isSmall(value: Buffer): boolean {
  const extent = decodeExtent(value)
  return extent.kind !== 'zero' && extent.length < SMALL_EXTENT_BYTES
}
