import type { Ino } from '../base/index.ts'
import { type Change, decodeExtent, keys } from '../meta/index.ts'
import type { Entries } from './draft.ts'
import { firstFrom, type PlacedExtent } from './placed-extents.ts'

/** Memory for the kept extents of one volume, about. */
const KEPT_BYTES_MAX = 10 * 1024 * 1024
const EXTENT_BYTES = 150

/** Extents of a file that overlap [from, to), and what changed since they were read. */
interface KeptPart {
  from: number
  to: number
  map: PlacedExtent[]
  /** By offset; null where an extent went. */
  readonly changed: Map<number, PlacedExtent | null>
}

/**
 * Decoded extents of files that were written to lately, kept from batch to batch: a database writes at random into the
 * same part of the same file, and reading a thousand extents anew for each batch took half of the engine's time.
 * Whoever applies changes to the view must `note` them, or `clear`.
 */
export class KeptExtents {
  readonly #parts = new Map<Ino, KeptPart>()

  /**
   * The extents that overlap [from, to), in order; what else of the file is kept may stand around them.
   * @param countMax extents read from the view at most · @returns null when there are more
   */
  load(view: Entries, ino: Ino, from: number, to: number, countMax: number): PlacedExtent[] | null {
    let part = this.#parts.get(ino)
    // The last one used is the last to go.
    this.#parts.delete(ino)
    if (part) takeChanges(part)
    if (!part || to < part.from || from > part.to) {
      const map = readExtents(view, ino, from, to, countMax)
      if (!map) return null
      part = { from, to, map, changed: new Map() }
    } else if (!widen(part, view, ino, from, to, countMax)) {
      return null
    }
    this.#parts.set(ino, part)
    this.#forgetOldest()
    return part.map
  }

  /** A change that the view has taken. */
  note({ key, value }: Change): void {
    if (key[0] !== keys.KIND.extent) return
    const part = this.#parts.get(keys.inoOfKey(key))
    if (!part) return
    const offset = keys.offsetOfKey(key)
    part.changed.set(offset, value && { offset, extent: decodeExtent(value) })
  }

  clear(): void {
    this.#parts.clear()
  }

  #forgetOldest(): void {
    let bytes = 0
    for (const { map } of this.#parts.values()) bytes += bytesOf(map)
    for (const [ino, { map }] of this.#parts) {
      if (bytes <= KEPT_BYTES_MAX) return
      this.#parts.delete(ino)
      bytes -= bytesOf(map)
    }
  }
}

function bytesOf(map: readonly PlacedExtent[]): number {
  let bytes = 0
  for (const { extent } of map) {
    bytes += EXTENT_BYTES + (extent.kind === 'inline' ? extent.length : 0)
  }
  return bytes
}

/** Read what is missing of [from, to) left and right of what is kept. @returns false when that is too much */
function widen(
  part: KeptPart,
  view: Entries,
  ino: Ino,
  from: number,
  to: number,
  countMax: number,
): boolean {
  if (from < part.from) {
    const left = readExtents(view, ino, from, part.from, countMax)
    if (!left) return false
    // What begins left of the kept part and reaches into it is read once more.
    part.map = left.concat(part.map.slice(firstFrom(part.map, part.from)))
    part.from = from
  }
  if (to > part.to) {
    const right = readExtents(view, ino, part.to, to, countMax)
    if (!right) return false
    part.map = part.map.concat(right.slice(firstFrom(right, part.to)))
    part.to = to
  }
  return true
}

/** Extents that overlap [from, to), perhaps one before them, in order; null when there are more than `countMax`. */
function readExtents(
  view: Entries,
  ino: Ino,
  from: number,
  to: number,
  countMax: number,
): PlacedExtent[] | null {
  const map: PlacedExtent[] = []
  const before = view.floor(keys.extentKey(ino, from), keys.extentKey(ino, 0))
  if (before) map.push(placed(before))
  for (const entry of view.range(keys.extentKey(ino, from + 1), keys.extentKey(ino, to))) {
    if (map.length === countMax) return null
    map.push(placed(entry))
  }
  return map
}

function placed([key, value]: [key: Buffer, value: Buffer]): PlacedExtent {
  return { offset: keys.offsetOfKey(key), extent: decodeExtent(value) }
}

/** Merge what changed since into the map. Changes outside of [from, to) stay out: the map is whole only inside. */
function takeChanges(part: KeptPart): void {
  const { changed, from, to, map } = part
  if (changed.size === 0) return
  const offsets = [...changed.keys()].sort((a, b) => a - b)
  const merged: PlacedExtent[] = []
  let next = 0
  for (const offset of offsets) {
    for (; next < map.length && (map[next] as PlacedExtent).offset < offset; next++) {
      merged.push(map[next] as PlacedExtent)
    }
    if (map[next]?.offset === offset) next++
    const now = changed.get(offset)
    if (now && offset < to && offset + now.extent.length > from) merged.push(now)
  }
  part.map = merged.concat(map.slice(next))
  changed.clear()
}
