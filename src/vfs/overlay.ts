import { assert, type Ino } from '../base/index.ts'
import { decodeExtent, type Extent, keys } from '../meta/index.ts'
import {
  type AppendedChange,
  type Entries,
  firstFrom,
  type LocalVolume,
  type PlacedExtent,
} from '../store/index.ts'

interface Pending {
  value: Buffer | null
  seq: number
}

/** Changes above which the worker waits for the engine to apply some: bounds memory and replay after a crash. */
const PENDING_MAX = 16_384
const PRUNE_AT = 1024
/** Ranges of files up to this size are looked up from behind. */
const NEAR_BYTES = 64 * 1024

const { dirent, extent, xattr } = keys.KIND

/** A key as the maps here have it. */
const nameOf = (key: Buffer) => key.toString('latin1')
/** Of such a key: its kind and inode. */
const groupOf = (name: string) => name.slice(0, GROUP_BYTES)
const GROUP_BYTES = 9

/**
 * The view plus the records this thread appended that the engine has not applied yet. Point reads merge the two;
 * range reads wait until the range has nothing pending.
 */
export class Overlay implements Entries {
  readonly #volume: LocalVolume
  readonly #wakeEngine: () => void
  readonly #pending = new Map<string, Pending>()
  /** The records that these are of, oldest first, and what each changed. */
  #records: { seq: number; names: string[] }[] = []
  /** Directory, file or attribute set (kind and inode of the key) → last record that changed it. */
  readonly #groups = new Map<string, number>()
  readonly #extents = new Map<Ino, PendingExtents>()
  #pruneAt = PRUNE_AT
  /** This thread has the volume's lock: who waits for the engine then waits for ever. */
  underLock = false

  constructor(volume: LocalVolume, wakeEngine: () => void) {
    this.#volume = volume
    this.#wakeEngine = wakeEngine
  }

  get(key: Buffer): Buffer | null {
    if (this.#pending.size > 0) {
      const pending = this.#pending.get(nameOf(key))
      if (pending) return pending.value
    }
    return this.#volume.view.get(key)
  }

  /**
   * The first `countMax` extents of a file that overlap [from, to), in order: the view's, with those that this thread
   * changed since. Waits for nobody. What an extent was cut into is pending with it, so that one look before `from` is enough.
   */
  extents(ino: Ino, from: number, to: number, countMax = Number.POSITIVE_INFINITY): PlacedExtent[] {
    const changed = this.#extents.get(ino)
    const found: PlacedExtent[] = []
    if (from >= to) return found
    const take = (offset: number, value: Buffer) => {
      if (changed?.has(offset)) return
      const placed = decodeExtent(value)
      if (offset + placed.length > from) found.push({ offset, extent: placed })
    }
    const first = keys.extentKey(ino, 0)
    if (to - from <= NEAR_BYTES) {
      // Few if any: from behind, one look does for them and the one that begins before.
      for (const [key, value] of this.#volume.view.backward(keys.extentKey(ino, to - 1), first)) {
        const offset = keys.offsetOfKey(key)
        take(offset, value)
        if (offset <= from) break
      }
    } else {
      const before = this.floor(keys.extentKey(ino, from), first)
      if (before) take(keys.offsetOfKey(before[0]), before[1])
      const end = keys.extentKey(ino, to)
      for (const [key, value] of this.range(keys.extentKey(ino, from + 1), end)) {
        if (found.length >= countMax) break
        take(keys.offsetOfKey(key), value)
      }
    }
    if (changed) found.push(...changed.overlapping(from, to))
    found.sort((x, y) => x.offset - y.offset)
    if (found.length > countMax) found.length = countMax
    return found
  }

  range(start: Buffer, end: Buffer): Iterable<[key: Buffer, value: Buffer]> {
    return this.#volume.view.range(start, end)
  }

  floor(key: Buffer, floor: Buffer): [key: Buffer, value: Buffer] | null {
    return this.#volume.view.floor(key, floor)
  }

  add(changes: readonly AppendedChange[], seq: number): void {
    const names: string[] = []
    for (const { key, value } of changes) {
      const name = nameOf(key)
      names.push(name)
      const pending = this.#pending.get(name)
      // In place: a directory's inode and the totals are in nearly every record, and a new entry in a large map is dear.
      if (pending) {
        pending.value = value
        pending.seq = seq
      } else this.#pending.set(name, { value, seq })
      const kind = key[0]
      if (kind === dirent || kind === extent || kind === xattr) this.#groups.set(groupOf(name), seq)
      if (kind === extent) this.#addExtent(key, value, seq)
    }
    this.#records.push({ seq, names })
  }

  #addExtent(key: Buffer, value: Buffer | null, seq: number): void {
    const ino = keys.inoOfKey(key)
    let changed = this.#extents.get(ino)
    if (!changed) {
      changed = new PendingExtents()
      this.#extents.set(ino, changed)
    }
    changed.set(keys.offsetOfKey(key), value ? decodeExtent(value) : null, seq)
  }

  /** Before a change takes the lock: forget what is applied, and wait when the engine is far behind. */
  throttle(): void {
    if (this.#pending.size < this.#pruneAt) return
    this.prune()
    if (this.#pending.size > PENDING_MAX) {
      this.waitApplied(this.#volume.shared.seq)
      this.prune()
    }
    this.#pruneAt = this.#pending.size + PRUNE_AT
  }

  /** Forget what the view has by now, and see it there. */
  prune(): void {
    const { applied } = this.#volume.shared
    this.#volume.view.refresh()
    const isOver = (seq: number | undefined) => seq !== undefined && seq <= applied
    let over = 0
    for (const { seq, names } of this.#records) {
      if (!isOver(seq)) break
      over += 1
      for (const name of names) {
        if (isOver(this.#pending.get(name)?.seq)) this.#pending.delete(name)
        if (isOver(this.#groups.get(groupOf(name)))) this.#groups.delete(groupOf(name))
      }
    }
    if (over > 0) this.#records = this.#records.slice(over)
    for (const [ino, changed] of this.#extents) {
      changed.prune(applied)
      if (changed.size === 0) this.#extents.delete(ino)
    }
  }

  /** The range of keys that begins with these 9 bytes can be read from the view when this returns. */
  settle(groupStart: Buffer): void {
    if (this.#groups.size === 0) return
    const seq = this.#groups.get(groupOf(nameOf(groupStart)))
    if (seq === undefined) return
    this.waitApplied(seq)
    this.prune()
  }

  /** Everything is in the view when this returns. */
  settleAll(): void {
    this.waitApplied(this.#volume.shared.seq)
    this.prune()
  }

  waitApplied(seq: number): void {
    const { shared } = this.#volume
    if (shared.applied >= seq) return
    assert(!this.underLock, 'nobody waits for the engine under the lock')
    if (seq > shared.followWanted) shared.followWanted = seq
    this.#wakeEngine()
    shared.waitForProgress(() => shared.applied >= seq || shared.stopped)
    if (shared.applied < seq) throw this.#volume.stoppedError()
  }
}

/** The extents of one file that records changed which the view may lack; null where one was taken away. None overlap. */
class PendingExtents {
  /** In order of their offsets. */
  #list: { offset: number; extent: Extent | null; seq: number }[] = []

  get size(): number {
    return this.#list.length
  }

  has(offset: number): boolean {
    return this.#list[firstFrom(this.#list, offset)]?.offset === offset
  }

  set(offset: number, extent: Extent | null, seq: number): void {
    const at = firstFrom(this.#list, offset)
    const there = this.#list[at]?.offset === offset ? 1 : 0
    this.#list.splice(at, there, { offset, extent, seq })
  }

  /** Those that overlap [from, to), the last one first. */
  overlapping(from: number, to: number): PlacedExtent[] {
    const found: PlacedExtent[] = []
    for (let i = firstFrom(this.#list, to) - 1; i >= 0; i--) {
      const { offset, extent } = this.#list[i] as { offset: number; extent: Extent | null }
      if (!extent) continue
      if (offset + extent.length > from) found.push({ offset, extent })
      if (offset <= from) break
    }
    return found
  }

  /** Forget what records up to this one changed. */
  prune(applied: number): void {
    this.#list = this.#list.filter(({ seq }) => seq > applied)
  }
}
