import { assert, CorruptError } from '../base/index.ts'
import { OpensslPages, type PageSeal } from './openssl-pages.ts'
import { sodiumPages } from './sodium-pages.ts'

/**
 * Pages of chunks: XChaCha20-Poly1305, tags apart from the bytes, nonce = chunk id (16 bytes) and page number (u64 LE).
 * No associated data: key and nonce bind volume, key epoch, chunk and page. A chunk id is sealed under once only;
 * sealing other bytes with the same id and key would give both away.
 *
 * OpenSSL does it where it can be called, in half of the time of libsodium (docs/adr/0032). A typed array costs 50 ns, so whole
 * buffers are used as they are, and nonce and tag go through the same two scratch arrays each time.
 */

export const tagBytes = 16

const nonce = new Uint8Array(24)
const nonceWords = new DataView(nonce.buffer)
const tag = new Uint8Array(tagBytes)
/** null until a page is sealed or opened. */
let pageSeal: PageSeal | null = null

/**
 * Seals `len` bytes of `plain` into `cipher` (may be the same place), the 16-byte tag into `tags`. All buffers are the caller's.
 * @param chunkId 16 bytes
 * @param page 0 to 2^32 - 1
 */
export function sealPage(
  cipher: Buffer,
  cipherAt: number,
  plain: Buffer,
  plainAt: number,
  len: number,
  tags: Buffer,
  tagAt: number,
  key: Buffer,
  chunkId: Uint8Array,
  page: number,
): void {
  assert(tagAt >= 0 && tagAt + tagBytes <= tags.length, 'a page tag has room')
  setNonce(chunkId, page)
  const into = span(cipher, cipherAt, len)
  const from = span(plain, plainAt, len)
  seals().seal(into, tag, from, nonce, key)
  for (let i = 0; i < tagBytes; i++) tags[tagAt + i] = tag[i] as number
}

/**
 * Opens what sealPage made, into `plain` (may be the same place).
 * @throws CorruptError when bytes, tag, key, chunk or page do not belong together; `plain` then holds zeros
 */
export function openPage(
  plain: Buffer,
  plainAt: number,
  cipher: Buffer,
  cipherAt: number,
  len: number,
  tags: Buffer,
  tagAt: number,
  key: Buffer,
  chunkId: Uint8Array,
  page: number,
): void {
  assert(tagAt >= 0 && tagAt + tagBytes <= tags.length, 'a page tag is there')
  setNonce(chunkId, page)
  for (let i = 0; i < tagBytes; i++) tag[i] = tags[tagAt + i] as number
  const into = span(plain, plainAt, len)
  const from = span(cipher, cipherAt, len)
  if (seals().open(into, from, tag, nonce, key)) return
  throw new CorruptError('page fails its seal', { chunk: hexOf(chunkId), page })
}

/** What was kept of the last page's key goes: its volume was locked. */
export function wipePageKey(): void {
  pageSeal?.wipe()
}

/** A view of exactly these bytes; the buffer itself when it is that. @throws RangeError outside the buffer */
export function span(buffer: Buffer, at: number, len: number): Uint8Array {
  if (at === 0 && buffer.length === len) return buffer
  if (at < 0 || len < 0 || at + len > buffer.length) {
    throw new RangeError(`bytes ${at} to ${at + len} of a buffer of ${buffer.length}`)
  }
  return new Uint8Array(buffer.buffer, buffer.byteOffset + at, len)
}

function seals(): PageSeal {
  pageSeal ??= OpensslPages.find() ?? sodiumPages
  return pageSeal
}

function setNonce(chunkId: Uint8Array, page: number): void {
  assert(chunkId.length === 16, 'a chunk id has 16 bytes')
  assert(page >= 0 && page <= 0xffff_ffff, 'a page number fits 32 bits')
  for (let i = 0; i < 16; i++) nonce[i] = chunkId[i] as number
  nonceWords.setUint32(16, page, true)
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
