/**
 * sodium-native 5.1.0, only the calls weft makes. Read from its index.js and binding.cc, which ship no types.
 * Everywhere: a wrong size throws an ERR_ASSERTION error, a failed check any other Error, unless said otherwise.
 */
declare module 'sodium-native' {
  interface Sodium {
    /** Guarded, locked memory, filled with 0xdb. Freed when collected. */
    sodium_malloc(size: number): Buffer
    sodium_memzero(buffer: Uint8Array): void
    sodium_memcmp(a: Uint8Array, b: Uint8Array): boolean
    randombytes_buf(buffer: Uint8Array): void

    crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
      cipher: Uint8Array,
      tag: Uint8Array,
      plain: Uint8Array,
      ad: Uint8Array | null,
      nsec: null,
      nonce: Uint8Array,
      key: Uint8Array,
    ): number
    /** Throws when the tag is wrong; the plain buffer is then all zeros. */
    crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
      plain: Uint8Array,
      nsec: null,
      cipher: Uint8Array,
      tag: Uint8Array,
      ad: Uint8Array | null,
      nonce: Uint8Array,
      key: Uint8Array,
    ): void

    crypto_kdf_derive_from_key(
      subkey: Uint8Array,
      subkeyId: number,
      context: Uint8Array,
      key: Uint8Array,
    ): void
    crypto_shorthash(out: Uint8Array, input: Uint8Array, key: Uint8Array): void
    crypto_generichash(out: Uint8Array, input: Uint8Array, key?: Uint8Array): void

    crypto_pwhash_ALG_ARGON2ID13: number
    /** Runs on the thread pool. The promise rejects when the memory cannot be had. */
    crypto_pwhash_async(
      out: Uint8Array,
      passphrase: Uint8Array,
      salt: Uint8Array,
      opsLimit: number,
      memLimitBytes: number,
      algorithm: number,
    ): Promise<void>

    crypto_box_keypair(publicKey: Uint8Array, secretKey: Uint8Array): void
    crypto_box_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void
    crypto_box_seal(cipher: Uint8Array, plain: Uint8Array, publicKey: Uint8Array): void
    /** False when it was not sealed for this pair. */
    crypto_box_seal_open(
      plain: Uint8Array,
      cipher: Uint8Array,
      publicKey: Uint8Array,
      secretKey: Uint8Array,
    ): boolean

    crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void
    crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void
    crypto_sign_verify_detached(
      signature: Uint8Array,
      message: Uint8Array,
      publicKey: Uint8Array,
    ): boolean
  }
  const sodium: Sodium
  export default sodium
}
