import { createHash } from 'node:crypto'
import { CorruptError } from '../base/index.ts'
import { boxOpen, boxSeal, sealBytes } from './box-seal.ts'
import { sealedSecretDomain } from './domains.ts'
import type { KeyPair } from './identity.ts'
import { copySecret, emptySecret, sameBytes, wipe } from './secret.ts'

/** Plain bytes: SHA-256 of what it is bound to (32), then the secret. */
const BOUND_BYTES = 32

/**
 * Seals somebody else's secret, a password say, for one key pair alone.
 * @param boundTo what it is for: it opens for nothing else, so that nobody who changes a file has it shown to another host
 * @throws FsError EINVAL when `boxPublicKey` is no X25519 key
 */
export function sealSecret(secret: Buffer, boundTo: string, boxPublicKey: Buffer): Buffer {
  const plain = emptySecret(BOUND_BYTES + secret.length)
  try {
    plain.set(digestOf(boundTo))
    plain.set(secret, BOUND_BYTES)
    return boxSeal(plain, boxPublicKey, 'secret.seal')
  } finally {
    wipe(plain)
  }
}

/**
 * The secret, in secure memory.
 * @throws CorruptError when it is damaged, sealed for another pair, or bound to something else
 */
export function openSecret(sealed: Buffer, boundTo: string, pair: KeyPair): Buffer {
  const plainBytes = sealed.length - sealBytes
  const plain = plainBytes < BOUND_BYTES ? undefined : boxOpen(sealed, pair, plainBytes)
  if (plain === undefined) throw new CorruptError('a sealed secret does not open with this key')
  try {
    if (!sameBytes(plain.subarray(0, BOUND_BYTES), digestOf(boundTo))) {
      throw new CorruptError('a sealed secret was sealed for something else')
    }
    return copySecret(plain.subarray(BOUND_BYTES))
  } finally {
    wipe(plain)
  }
}

function digestOf(boundTo: string): Buffer {
  return createHash('sha256').update(sealedSecretDomain).update(boundTo).digest()
}
