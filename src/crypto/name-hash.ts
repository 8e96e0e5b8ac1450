import sodium from 'sodium-native'
import { assert } from '../base/index.ts'

export const nameHashBytes = 8

const hash = new Uint8Array(nameHashBytes)

/** siphash-2-4 of a name into 8 bytes of `out`. Two names may share a hash: the sealed name decides. @param nameKey 16 bytes */
export function nameHash(nameKey: Buffer, name: Uint8Array, out: Buffer, outAt: number): void {
  assert(outAt >= 0 && outAt + nameHashBytes <= out.length, 'a name hash has room')
  sodium.crypto_shorthash(hash, name, nameKey)
  for (let i = 0; i < nameHashBytes; i++) out[outAt + i] = hash[i] as number
}
