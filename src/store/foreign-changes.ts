import type { Ino } from '../base/index.ts'
import { type Change, keys } from '../meta/index.ts'
import { INO_RING_BYTES, InoRing } from './ino-ring.ts'

const ANYTHING = 0
const INTS_BYTES = 8
export const FOREIGN_BYTES = INTS_BYTES + INO_RING_BYTES

const { inode, extent, xattr, orphan, packable } = keys.KIND
const ABOUT_ONE_INODE: ReadonlySet<number> = new Set([inode, extent, xattr, orphan, packable])
const { chunk, totals, answer, checkpoint } = keys.KIND
const ABOUT_NONE: ReadonlySet<number> = new Set([chunk, totals, answer, checkpoint])

/**
 * Which inodes the engine's records change, told to the thread that answers the kernel: it drops what it keeps of them, and
 * of nothing else. Told when a record is appended, so early rather than late.
 */
export class ForeignChanges {
  readonly #anything: Int32Array
  readonly #inodes: InoRing

  /** @param at a multiple of 8 */
  constructor(buffer: SharedArrayBuffer, at: number) {
    this.#anything = new Int32Array(buffer, at, 1)
    this.#inodes = new InoRing(buffer, at + INTS_BYTES)
  }

  /** Under the volume's lock. */
  note(changes: readonly Change[]): void {
    if (!this.#noteInodes(changes)) this.noteAnything()
  }

  /** @returns false when they are more than can be told, or about something else */
  #noteInodes(changes: readonly Change[]): boolean {
    let last = 0
    for (const { key } of changes) {
      const kind = key[0] as number
      if (ABOUT_NONE.has(kind)) continue
      // A name's place hangs on its directory, and is kept beside what is kept of inodes.
      if (!ABOUT_ONE_INODE.has(kind)) return false
      const ino = keys.inoOfKey(key)
      if (ino === last) continue
      last = ino
      if (!this.#inodes.push(ino)) return false
    }
    return true
  }

  /** What changed is not known, or too much to tell. */
  noteAnything(): void {
    Atomics.store(this.#anything, ANYTHING, 1)
  }

  /** Under the volume's lock. @returns inodes noted since the last call, null when it may be anything */
  take(): Ino[] | null {
    const inos = this.#inodes.take()
    return Atomics.exchange(this.#anything, ANYTHING, 0) === 1 ? null : inos
  }
}
