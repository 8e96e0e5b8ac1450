import sodium from 'sodium-native'
import type { PageSeal } from './openssl-pages.ts'

/** XChaCha20-Poly1305, the tag apart, by libsodium: what every machine has. It keeps nothing. */
export const sodiumPages: PageSeal = {
  seal(cipher, tag, plain, nonce, key) {
    sodium.crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
      cipher,
      tag,
      plain,
      null,
      null,
      nonce,
      key,
    )
  },
  open(plain, cipher, tag, nonce, key) {
    try {
      sodium.crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
        plain,
        null,
        cipher,
        tag,
        null,
        nonce,
        key,
      )
      return true
    } catch (error) {
      if (isSealError(error)) return false
      throw error
    }
  },
  wipe() {},
}

/** A size that the library rejects is a bug, and none. */
export function isSealError(error: unknown): boolean {
  return error instanceof Error && error.message === 'could not verify data'
}
