import sodium from 'sodium-native'
import type { PageSeal } from './openssl-pages.ts'

/** XChaCha20-Poly1305, the tag apart, by libsodium: what every machine has. */
export class SodiumPages implements PageSeal {
  seal(
    cipher: Uint8Array,
    tag: Uint8Array,
    plain: Uint8Array,
    nonce: Uint8Array,
    key: Buffer,
  ): void {
    sodium.crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
      cipher,
      tag,
      plain,
      null,
      null,
      nonce,
      key,
    )
  }

  open(
    plain: Uint8Array,
    cipher: Uint8Array,
    tag: Uint8Array,
    nonce: Uint8Array,
    key: Buffer,
  ): boolean {
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
  }

  wipe(): void {}
}

/** A size that the library rejects is a bug, and none. */
export function isSealError(error: unknown): boolean {
  return error instanceof Error && error.message === 'could not verify data'
}
