import type { Random } from '../../src/base/index.ts'

export interface Seeded extends Random {
  /** 0 to 2^32 - 1. */
  word(): number
  /** A whole number from 0, below `end`. */
  below(end: number): number
}

/** mulberry32: the same numbers for the same seed on every machine, so that a failing seed can be run again. */
export function seeded(seed: number): Seeded {
  let state = seed >>> 0
  const word = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
  return {
    word,
    below: (end) => word() % end,
    bytes: (count) => {
      const bytes = Buffer.alloc(Math.ceil(count / 4) * 4)
      for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(word(), at)
      return bytes.subarray(0, count)
    },
  }
}
