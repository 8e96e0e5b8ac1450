import sodium from 'sodium-native'
import { FsError } from '../base/index.ts'
import type { KeyPair } from './identity.ts'
import { emptySecret } from './secret.ts'

/** crypto_box_SEALBYTES: a one-time public key (32) and a tag (16). */
export const sealBytes = 48
const publicKeyBytes = 32

/**
 * Encrypts to an X25519 public key; nobody can tell who did.
 * @param op of the caller, for the error
 * @throws FsError EINVAL when the key is none
 */
export function boxSeal(plain: Buffer, publicKey: Buffer, op: string): Buffer {
  if (publicKey.length !== publicKeyBytes) {
    throw new FsError('EINVAL', op, {
      bytes: publicKey.length,
      message: `${op}: a public key has ${publicKeyBytes} bytes, this one ${publicKey.length}`,
    })
  }
  const sealed = Buffer.alloc(plain.length + sealBytes)
  try {
    sodium.crypto_box_seal(sealed, plain, publicKey)
  } catch (error) {
    throw new FsError('EINVAL', op, {
      cause: error,
      message: `${op}: that is no X25519 public key (a point of small order)`,
    })
  }
  return sealed
}

/** The plain bytes, `plainBytes` of them, in secure memory; undefined when it was not sealed for this pair, or is damaged. */
export function boxOpen(
  sealed: Buffer,
  { publicKey, secretKey }: KeyPair,
  plainBytes: number,
): Buffer | undefined {
  if (sealed.length !== plainBytes + sealBytes) return undefined
  const plain = emptySecret(plainBytes)
  return sodium.crypto_box_seal_open(plain, sealed, publicKey, secretKey) ? plain : undefined
}
