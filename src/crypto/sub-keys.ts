import sodium from 'sodium-native'
import { dataKeyContext, dataKeySub, nameContext, nameSub } from './domains.ts'
import { emptySecret, newSecret } from './secret.ts'

/** Keys of one key epoch of a volume, 32 bytes each, in secure memory. */
export interface SubKeys {
  readonly chunk: Buffer
  readonly journal: Buffer
  readonly view: Buffer
}

export const subKeyBytes = 32
/** Key length of siphash-2-4. */
export const nameKeyBytes = 16

export function newDataKey(): Buffer {
  return newSecret(32)
}

export function deriveSubKeys(dataKey: Buffer): SubKeys {
  return {
    chunk: derive(dataKey, dataKeyContext, dataKeySub.chunk, subKeyBytes),
    journal: derive(dataKey, dataKeyContext, dataKeySub.journal, subKeyBytes),
    view: derive(dataKey, dataKeyContext, dataKeySub.view, subKeyBytes),
  }
}

/** The siphash key for names. It outlives rotations: the view finds names by their hash. */
export function deriveNameKey(nameSecret: Buffer): Buffer {
  return derive(nameSecret, nameContext, nameSub, nameKeyBytes)
}

/** BLAKE2b key derivation into secure memory. @param key 32 bytes */
export function derive(key: Buffer, context: Buffer, subId: number, lengthBytes: number): Buffer {
  const out = emptySecret(lengthBytes)
  sodium.crypto_kdf_derive_from_key(out, subId, context, key)
  return out
}
