import { randomBytes } from 'node:crypto'

/** Randomness as the rooms see it; simulation gives a seeded one. */
export interface Random {
  bytes(count: number): Buffer
}

export const systemRandom: Random = { bytes: (count) => randomBytes(count) }

/** 128 random bits as 32 hex digits, cast to the id the caller wants. */
export function newId<T extends string>(random: Random): T {
  return random.bytes(16).toString('hex') as T
}
