import sodium from 'sodium-native'

/**
 * Secrets live in memory from sodium_malloc: locked against swapping, left out of core dumps, between guard pages,
 * freed and wiped when collected. `wipe` empties them at once.
 */

/** Room for a secret that the caller fills. Never a pooled Buffer. */
export function emptySecret(lengthBytes: number): Buffer {
  return sodium.sodium_malloc(lengthBytes)
}

/** Random bytes. */
export function newSecret(lengthBytes = 32): Buffer {
  const secret = emptySecret(lengthBytes)
  sodium.randombytes_buf(secret)
  return secret
}

/** Moves bytes into secure memory; the source is all zeros afterwards. */
export function secretFrom(bytes: Uint8Array): Buffer {
  const secret = copySecret(bytes)
  wipe(bytes)
  return secret
}

/** A second copy in secure memory; the source stays. */
export function copySecret(bytes: Uint8Array): Buffer {
  const secret = emptySecret(bytes.length)
  secret.set(bytes)
  return secret
}

/** Overwrites with zeros, in a way no optimiser removes. */
export function wipe(...buffers: Uint8Array[]): void {
  for (const buffer of buffers) sodium.sodium_memzero(buffer)
}

/** Compares in constant time; lengths are not secret. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && sodium.sodium_memcmp(a, b)
}
