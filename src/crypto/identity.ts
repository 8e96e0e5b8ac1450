import sodium from 'sodium-native'
import { FsError } from '../base/index.ts'
import { identityContext, identitySub } from './domains.ts'
import { emptySecret, newSecret, wipe } from './secret.ts'
import { derive } from './sub-keys.ts'

export interface KeyPair {
  readonly publicKey: Buffer
  /** Secure memory. */
  readonly secretKey: Buffer
}

/** Who a node is: an Ed25519 pair to sign with, an X25519 pair that volume keys are sealed to. Both come from the seed. */
export interface Identity {
  /** 32 bytes in secure memory; the only thing to store, and the whole secret. */
  readonly seed: Buffer
  /** Ed25519: 32 and 64 bytes. */
  readonly sign: KeyPair
  /** X25519: 32 and 32 bytes. */
  readonly box: KeyPair
}

const publicKeyBytes = 32
const signatureBytes = 64

export function newIdentity(): Identity {
  return identityFromSeed(newSecret(32))
}

/** @param seed 32 bytes in secure memory (secretFrom); kept, not copied. @throws FsError EINVAL for another length */
export function identityFromSeed(seed: Buffer): Identity {
  if (seed.length !== 32) {
    throw new FsError('EINVAL', 'identity.open', {
      bytes: seed.length,
      message: `identity.open: a seed has 32 bytes, this one ${seed.length}`,
    })
  }
  const signSeed = derive(seed, identityContext, identitySub.sign, 32)
  const sign = signKeyPairFromSeed(signSeed)
  wipe(signSeed)
  const boxSeed = derive(seed, identityContext, identitySub.box, 32)
  const box = boxKeyPairFromSeed(boxSeed)
  wipe(boxSeed)
  return { seed, sign, box }
}

export function wipeIdentity(identity: Identity): void {
  wipe(identity.seed, identity.sign.secretKey, identity.box.secretKey)
}

/** An X25519 pair, for a person who is to be a recipient. */
export function newBoxKeyPair(): KeyPair {
  const pair = { publicKey: Buffer.alloc(publicKeyBytes), secretKey: emptySecret(32) }
  sodium.crypto_box_keypair(pair.publicKey, pair.secretKey)
  return pair
}

/** The X25519 pair of a 32-byte seed. The seed stays the caller's to wipe. */
export function boxKeyPairFromSeed(seed: Buffer): KeyPair {
  const pair = { publicKey: Buffer.alloc(publicKeyBytes), secretKey: emptySecret(32) }
  sodium.crypto_box_seed_keypair(pair.publicKey, pair.secretKey, seed)
  return pair
}

/** The Ed25519 pair of a 32-byte seed. The seed stays the caller's to wipe. */
export function signKeyPairFromSeed(seed: Buffer): KeyPair {
  const pair = { publicKey: Buffer.alloc(publicKeyBytes), secretKey: emptySecret(64) }
  sodium.crypto_sign_seed_keypair(pair.publicKey, pair.secretKey, seed)
  return pair
}

/** Ed25519 signature, 64 bytes. */
export function sign(message: Buffer, secretKey: Buffer): Buffer {
  const signature = Buffer.alloc(signatureBytes)
  sodium.crypto_sign_detached(signature, message, secretKey)
  return signature
}

/** False for a wrong signature and for a signature or key of the wrong length: both come from strangers. */
export function verify(message: Buffer, signature: Buffer, publicKey: Buffer): boolean {
  if (signature.length !== signatureBytes || publicKey.length !== publicKeyBytes) return false
  return sodium.crypto_sign_verify_detached(signature, message, publicKey)
}
