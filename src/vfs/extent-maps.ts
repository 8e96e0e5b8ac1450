import { type Ino, limits } from '../base/index.ts'
import { type Change, decodeExtent, keys } from '../meta/index.ts'
import { firstFrom, overlappingPart, type PlacedExtent } from '../store/index.ts'
import type { Overlay } from './overlay.ts'

/** Files whose extents are kept decoded, and how many of them in one file at most. */
const FILES_MAX = 128
const EXTENTS_MAX = 1024

/** Where a file's bytes are, from the view, kept for files read again. Cleared whenever somebody changed extents. */
export class ExtentMaps {
  readonly #overlay: Overlay
  readonly #maps = new Map<Ino, PlacedExtent[]>()
  /** Files with too many extents to keep: looked up range by range. */
  readonly #large = new Set<Ino>()

  constructor(overlay: Overlay) {
    this.#overlay = overlay
  }

  clear(): void {
    this.#maps.clear()
    this.#large.clear()
  }

  forget(ino: Ino): void {
    this.#maps.delete(ino)
    this.#large.delete(ino)
  }

  /** A change that this thread appended: keeps the extents at hand right. */
  note(change: Change): void {
    const { key, value } = change
    if (key[0] !== keys.KIND.extent) return
    const map = this.#maps.get(keys.inoOfKey(key))
    if (!map) return
    const offset = keys.offsetOfKey(key)
    const at = firstFrom(map, offset)
    const there = map[at]?.offset === offset ? 1 : 0
    if (value) map.splice(at, there, { offset, extent: decodeExtent(value) })
    else if (there) map.splice(at, 1)
  }

  /** Extents that overlap [from, to), in order. */
  overlapping(ino: Ino, from: number, to: number): PlacedExtent[] {
    const map = this.#map(ino)
    if (!map) return this.#overlay.extents(ino, from, to)
    return overlappingPart(map, from, to)
  }

  /** Likewise, at most so many of them. */
  first(ino: Ino, from: number, to: number, max: number): PlacedExtent[] {
    const map = this.#map(ino)
    return map
      ? overlappingPart(map, from, to).slice(0, max)
      : this.#overlay.extents(ino, from, to, max)
  }

  #map(ino: Ino): PlacedExtent[] | null {
    const known = this.#maps.get(ino)
    if (known) return known
    if (this.#large.has(ino)) return null
    const map = this.#overlay.extents(ino, 0, limits.fileBytesMax, EXTENTS_MAX + 1)
    if (map.length > EXTENTS_MAX) {
      this.#large.add(ino)
      return null
    }
    if (this.#maps.size >= FILES_MAX) this.#maps.clear()
    this.#maps.set(ino, map)
    return map
  }
}
