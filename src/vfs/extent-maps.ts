import type { Ino } from '../base/index.ts'
import { decodeExtent, type Extent, keys } from '../meta/index.ts'
import type { Overlay } from './overlay.ts'

export interface PlacedExtent {
  offset: number
  extent: Extent
}

/** Files whose extents are kept decoded, and how many of them in one file at most. */
const FILES_MAX = 128
const EXTENTS_MAX = 8192

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

  /** Extents that overlap [from, to), in order. */
  overlapping(ino: Ino, from: number, to: number): PlacedExtent[] {
    const map = this.#map(ino)
    if (!map) return this.#lookUp(ino, from, to)
    let low = 0
    let high = map.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const { offset, extent } = map[middle] as PlacedExtent
      if (offset + extent.length > from) high = middle
      else low = middle + 1
    }
    const first = low
    while (low < map.length && (map[low] as PlacedExtent).offset < to) low++
    return map.slice(first, low)
  }

  #map(ino: Ino): PlacedExtent[] | null {
    const known = this.#maps.get(ino)
    if (known) return known
    if (this.#large.has(ino)) return null
    const start = keys.startOfIno(keys.KIND.extent, ino)
    this.#overlay.settle(start)
    const map: PlacedExtent[] = []
    for (const [key, value] of this.#overlay.range(start, keys.endOfIno(keys.KIND.extent, ino))) {
      if (map.length === EXTENTS_MAX) {
        this.#large.add(ino)
        return null
      }
      map.push({ offset: keys.offsetOfKey(key), extent: decodeExtent(value) })
    }
    if (this.#maps.size >= FILES_MAX) this.#maps.clear()
    this.#maps.set(ino, map)
    return map
  }

  #lookUp(ino: Ino, from: number, to: number): PlacedExtent[] {
    const start = keys.extentKey(ino, from)
    this.#overlay.settle(start)
    const found: PlacedExtent[] = []
    const before = this.#overlay.floor(start, keys.extentKey(ino, 0))
    if (before) {
      const offset = keys.offsetOfKey(before[0])
      const extent = decodeExtent(before[1])
      if (offset + extent.length > from) found.push({ offset, extent })
    }
    for (const [key, value] of this.#overlay.range(
      keys.extentKey(ino, from + 1),
      keys.extentKey(ino, to),
    )) {
      found.push({ offset: keys.offsetOfKey(key), extent: decodeExtent(value) })
    }
    return found
  }
}
