import sodium from 'sodium-native'
import { assert, CorruptError } from '../base/index.ts'
import { span, tagBytes } from './pages.ts'
import { isSealError } from './sodium-pages.ts'

/**
 * Blobs: nonce (24 random bytes) || ciphertext || tag (16), XChaCha20-Poly1305. For index values and journal bodies.
 * A random nonce of 192 bits never repeats in practice, so any number of blobs may be sealed under one key.
 */

const nonceBytes = 24
/** A sealed blob is this much longer than its plain bytes. */
export const blobOverheadBytes = nonceBytes + tagBytes

/** Random bytes are fetched for this many nonces at once: one system call costs 20 times one nonce. */
const poolNonces = 256
const pool = new Uint8Array(poolNonces * nonceBytes)
const poolViews = Array.from({ length: poolNonces }, (_, i) =>
  pool.subarray(i * nonceBytes, (i + 1) * nonceBytes),
)
let poolUsed = poolNonces

const openNonce = new Uint8Array(nonceBytes)
const tag = new Uint8Array(tagBytes)

/** @param ad bytes bound to the blob but not stored in it */
export function sealBlob(key: Buffer, plain: Uint8Array, ad: Buffer | null): Buffer {
  const out = Buffer.allocUnsafe(plain.length + blobOverheadBytes)
  seal(key, plain, ad, out, 0)
  return out
}

/** @throws CorruptError when blob, key and associated data do not belong together */
export function openBlob(key: Buffer, sealed: Buffer, ad: Buffer | null): Buffer {
  if (sealed.length < blobOverheadBytes) throw tooShort(sealed.length)
  const plain = Buffer.allocUnsafe(sealed.length - blobOverheadBytes)
  open(key, sealed, 0, sealed.length, ad, plain)
  return plain
}

/** Seals `len` bytes of `plain` from `plainAt` into `out` at `outAt`; returns the bytes written, len + 40. They must not overlap. */
export function sealBlobInto(
  key: Buffer,
  plain: Buffer,
  plainAt: number,
  len: number,
  ad: Buffer | null,
  out: Buffer,
  outAt: number,
): number {
  seal(key, span(plain, plainAt, len), ad, out, outAt)
  return len + blobOverheadBytes
}

/**
 * Opens a blob of `sealedLen` bytes into `out` at `outAt`; returns the plain length, sealedLen - 40.
 * @throws CorruptError as openBlob; `out` then holds zeros there
 */
export function openBlobInto(
  key: Buffer,
  sealed: Buffer,
  sealedAt: number,
  sealedLen: number,
  ad: Buffer | null,
  out: Buffer,
  outAt: number,
): number {
  if (sealedLen < blobOverheadBytes) throw tooShort(sealedLen)
  const len = sealedLen - blobOverheadBytes
  open(key, sealed, sealedAt, sealedLen, ad, span(out, outAt, len))
  return len
}

function seal(key: Buffer, plain: Uint8Array, ad: Buffer | null, out: Buffer, outAt: number): void {
  const len = plain.length
  assert(outAt >= 0 && outAt + len + blobOverheadBytes <= out.length, 'a sealed blob has room')
  const nonce = nextNonce()
  sodium.crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
    span(out, outAt + nonceBytes, len),
    tag,
    plain,
    ad,
    null,
    nonce,
    key,
  )
  out.set(nonce, outAt)
  out.set(tag, outAt + nonceBytes + len)
}

/** The detached call: it fails with an int; the joined one's binding returns uint64_t, right only by wrap-around. */
function open(
  key: Buffer,
  sealed: Buffer,
  at: number,
  sealedLen: number,
  ad: Buffer | null,
  plain: Uint8Array,
): void {
  assert(at >= 0 && at + sealedLen <= sealed.length, 'a sealed blob is inside its buffer')
  const cipherAt = at + nonceBytes
  const tagAt = at + sealedLen - tagBytes
  for (let i = 0; i < nonceBytes; i++) openNonce[i] = sealed[at + i] as number
  for (let i = 0; i < tagBytes; i++) tag[i] = sealed[tagAt + i] as number
  try {
    sodium.crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
      plain,
      null,
      span(sealed, cipherAt, plain.length),
      tag,
      ad,
      openNonce,
      key,
    )
  } catch (error) {
    if (!isSealError(error)) throw error
    throw new CorruptError('blob fails its seal', { bytes: sealedLen })
  }
}

function nextNonce(): Uint8Array {
  if (poolUsed === poolNonces) {
    sodium.randombytes_buf(pool)
    poolUsed = 0
  }
  return poolViews[poolUsed++] as Uint8Array
}

function tooShort(bytes: number): CorruptError {
  return new CorruptError('blob shorter than its nonce and tag', { bytes })
}
