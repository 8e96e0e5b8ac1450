import { type Change, keys } from '../meta/index.ts'

/** Bits of one set: a record of the engine touches some hundreds of inodes and chunks. */
const BITS = 16_384
export const TOUCHED_BYTES = BITS / 8
/** From so many changes on the set would say yes to nearly everything; it then says yes to all. */
const CHANGES_MAX = 2048

/**
 * Which inodes and chunks records touch, as a set that two threads share: it may say yes for one that is not in it, never
 * no for one that is. So a thread can tell, without waiting, that its change and another's have nothing in common.
 * Written and read under the volume's lock.
 */
export class Touched {
  readonly #words: Uint32Array

  constructor(buffer: SharedArrayBuffer, at: number) {
    this.#words = new Uint32Array(buffer, at, BITS / 32)
  }

  clear(): void {
    this.#words.fill(0)
  }

  add(changes: readonly Change[]): void {
    if (changes.length > CHANGES_MAX) {
      this.#words.fill(0xffff_ffff)
      return
    }
    for (const { key } of changes) {
      const bit = bitOf(key)
      if (bit >= 0) this.#words[bit >>> 5] = (this.#words[bit >>> 5] as number) | (1 << (bit & 31))
    }
  }

  /** Whether one of these changes may touch what is in the set. */
  meets(changes: readonly Change[]): boolean {
    for (const { key } of changes) {
      const bit = bitOf(key)
      if (bit >= 0 && ((this.#words[bit >>> 5] as number) & (1 << (bit & 31))) !== 0) return true
    }
    return false
  }
}

/** All keys of one inode share a bit; -1 for what every record holds: totals, answers. */
function bitOf(key: Buffer): number {
  const kind = key[0]
  if (kind === keys.KIND.totals || kind === keys.KIND.answer || kind === keys.KIND.checkpoint)
    return -1
  // Ids of chunks are random; inode numbers count up, and their low bits differ most.
  if (kind === keys.KIND.chunk) return key.readUInt16LE(1) % BITS
  return ((key.readUInt32BE(5) + key.readUInt32BE(1) * 31) >>> 0) % BITS
}
