import type { Ino } from '../base/index.ts'
import { decodeExtent, type Extent, keys } from '../meta/index.ts'
import type { Entries } from './draft.ts'

/** An extent and where in the file it begins. */
export interface PlacedExtent {
  offset: number
  extent: Extent
}

/** Index of the first entry at or behind an offset; `map` is in order. */
export function firstFrom(map: readonly { readonly offset: number }[], offset: number): number {
  let low = 0
  let high = map.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((map[middle] as { offset: number }).offset >= offset) high = middle
    else low = middle + 1
  }
  return low
}

/** The extents of `map` that overlap [from, to). */
export function overlappingPart(
  map: readonly PlacedExtent[],
  from: number,
  to: number,
): PlacedExtent[] {
  let first = firstFrom(map, from)
  const before = map[first - 1]
  if (before && before.offset + before.extent.length > from) first--
  let end = first
  while (end < map.length && (map[end] as PlacedExtent).offset < to) end++
  return map.slice(first, end)
}

/**
 * A view of which some files' extents were read in one go. Hundreds of small writes into one file then cost one scan,
 * not two look-ups each (measured: 30 us a write).
 */
export class ExtentsAtHand implements Entries {
  readonly #entries: Entries
  readonly #loaded = new Map<Ino, { from: number; to: number; map: PlacedExtent[] }>()

  constructor(entries: Entries) {
    this.#entries = entries
  }

  /** Read the extents that overlap [from, to), unless they are more than `countMax`. */
  load(ino: Ino, from: number, to: number, countMax: number): void {
    const map: PlacedExtent[] = []
    const before = this.#entries.floor(keys.extentKey(ino, from), keys.extentKey(ino, 0))
    if (before) map.push(placed(before))
    const start = keys.extentKey(ino, from + 1)
    for (const entry of this.#entries.range(start, keys.extentKey(ino, to))) {
      if (map.length === countMax) return
      map.push(placed(entry))
    }
    this.#loaded.set(ino, { from, to, map })
  }

  /** All of them: what is at hand is few enough. */
  extents(ino: Ino, from: number, to: number): PlacedExtent[] | null {
    const loaded = this.#loaded.get(ino)
    if (!loaded || from < loaded.from || to > loaded.to) return null
    return overlappingPart(loaded.map, from, to)
  }

  get(key: Buffer): Buffer | null {
    return this.#entries.get(key)
  }

  range(start: Buffer, end: Buffer): Iterable<[key: Buffer, value: Buffer]> {
    return this.#entries.range(start, end)
  }

  floor(key: Buffer, floor: Buffer): [key: Buffer, value: Buffer] | null {
    return this.#entries.floor(key, floor)
  }
}

function placed([key, value]: [key: Buffer, value: Buffer]): PlacedExtent {
  return { offset: keys.offsetOfKey(key), extent: decodeExtent(value) }
}
