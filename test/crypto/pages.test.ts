import { createCipheriv } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CorruptError } from '../../src/base/index.ts'
import { openPage, sealPage, tagBytes } from '../../src/crypto/index.ts'

const key = Buffer.from(Array.from({ length: 32 }, (_, i) => i))
const chunk = Buffer.from('00112233445566778899aabbccddeeff', 'hex')

function sealed(plain: Buffer, page: number) {
  const cipher = Buffer.alloc(plain.length)
  const tag = Buffer.alloc(tagBytes)
  sealPage(cipher, 0, plain, 0, plain.length, tag, 0, key, chunk, page)
  return { cipher, tag }
}

/** XChaCha20-Poly1305 from its draft (draft-irtf-cfrg-xchacha-03, 2.2 and 2.3) over OpenSSL's RFC 8439: not one line shared with libsodium. */
function reference(plain: Buffer, nonce: Buffer) {
  const words = new Uint32Array(16)
  words.set([0x61707865, 0x3320646e, 0x79622d32, 0x6b206574])
  for (let i = 0; i < 8; i++) words[4 + i] = key.readUInt32LE(i * 4)
  for (let i = 0; i < 4; i++) words[12 + i] = nonce.readUInt32LE(i * 4)
  const w = (i: number) => words[i] as number
  const step = (a: number, b: number, c: number, bits: number) => {
    words[a] = w(a) + w(b)
    const x = w(c) ^ w(a)
    words[c] = (x << bits) | (x >>> (32 - bits))
  }
  const quarter = (a: number, b: number, c: number, d: number) => {
    step(a, b, d, 16)
    step(c, d, b, 12)
    step(a, b, d, 8)
    step(c, d, b, 7)
  }
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 4; i++) quarter(i, 4 + i, 8 + i, 12 + i)
    for (let i = 0; i < 4; i++) quarter(i, 4 + ((i + 1) % 4), 8 + ((i + 2) % 4), 12 + ((i + 3) % 4))
  }
  const subkey = Buffer.alloc(32)
  for (let i = 0; i < 4; i++) {
    subkey.writeUInt32LE(w(i), i * 4)
    subkey.writeUInt32LE(w(12 + i), 16 + i * 4)
  }
  const short = Buffer.concat([Buffer.alloc(4), nonce.subarray(16)])
  const aead = createCipheriv('chacha20-poly1305', subkey, short, { authTagLength: 16 })
  const cipher = Buffer.concat([aead.update(plain), aead.final()])
  return { cipher, tag: aead.getAuthTag() }
}

test('a page is XChaCha20-Poly1305 under chunk id and page number, as an independent implementation makes it', () => {
  for (const page of [0, 1, 255, 256, 0xffff_ffff]) {
    const number = Buffer.alloc(8)
    number.writeBigUInt64LE(BigInt(page))
    const plain = Buffer.from(`page ${page} of a chunk`.repeat(40))
    assert.equal(sealed(plain, page), reference(plain, Buffer.concat([chunk, number])))
  }
})

test('a page seals to the golden bytes of format version 1', () => {
  const { cipher, tag } = sealed(Buffer.from('weft'), 7)
  assert.is(
    cipher.toString('hex') + tag.toString('hex'),
    '242a13e75deed00ea725e67705b4b07f55f27e85',
  )
})

test('pages in the middle of buffers come back, and nothing around them is touched', () => {
  const plain = Buffer.alloc(1000, 0x11)
  const cipher = Buffer.alloc(1000, 0x22)
  const tags = Buffer.alloc(64, 0x33)
  sealPage(cipher, 300, plain, 100, 500, tags, 17, key, chunk, 3)
  assert.ok(cipher.subarray(0, 300).every((byte) => byte === 0x22))
  assert.ok(cipher.subarray(800).every((byte) => byte === 0x22))
  assert.ok(tags.subarray(0, 17).every((byte) => byte === 0x33))
  assert.ok(tags.subarray(33).every((byte) => byte === 0x33))
  const out = Buffer.alloc(1000, 0x44)
  openPage(out, 200, cipher, 300, 500, tags, 17, key, chunk, 3)
  assert.ok(out.subarray(200, 700).equals(plain.subarray(100, 600)))
  assert.ok(out.subarray(0, 200).every((byte) => byte === 0x44))
  assert.ok(out.subarray(700).every((byte) => byte === 0x44))
})

test('a page can be sealed and opened in place, and an empty one too', () => {
  const bytes = Buffer.from('in place, in place')
  const tag = Buffer.alloc(16)
  sealPage(bytes, 3, bytes, 3, 9, tag, 0, key, chunk, 0)
  assert.is.not(bytes.toString(), 'in place, in place')
  openPage(bytes, 3, bytes, 3, 9, tag, 0, key, chunk, 0)
  assert.is(bytes.toString(), 'in place, in place')
  sealPage(bytes, 0, bytes, 0, 0, tag, 0, key, chunk, 1)
  openPage(bytes, 0, bytes, 0, 0, tag, 0, key, chunk, 1)
})

test('every changed byte of a sealed page or its tag is refused, and no plain byte comes out', () => {
  const { cipher, tag } = sealed(Buffer.alloc(200, 0x5a), 9)
  for (let at = 0; at < cipher.length + tag.length; at++) {
    const target = at < cipher.length ? cipher : tag
    const i = at < cipher.length ? at : at - cipher.length
    target[i] = (target[i] as number) ^ (1 << (at % 8))
    const out = Buffer.alloc(200, 0x77)
    assert.throws(
      () => openPage(out, 0, cipher, 0, 200, tag, 0, key, chunk, 9),
      (error: unknown) => error instanceof CorruptError && error.subject.page === 9,
      `byte ${at}`,
    )
    assert.ok(out.every((byte) => byte === 0))
    target[i] = (target[i] as number) ^ (1 << (at % 8))
  }
  openPage(Buffer.alloc(200), 0, cipher, 0, 200, tag, 0, key, chunk, 9)
})

test('a page opens only as its own page of its own chunk under its own key', () => {
  const { cipher, tag } = sealed(Buffer.alloc(64, 1), 5)
  const out = Buffer.alloc(64)
  const otherChunk = Buffer.from(chunk)
  otherChunk[15] = 0
  const otherKey = Buffer.alloc(32, 9)
  const corrupt = (error: unknown) => error instanceof CorruptError
  assert.throws(() => openPage(out, 0, cipher, 0, 64, tag, 0, key, chunk, 6), corrupt)
  assert.throws(() => openPage(out, 0, cipher, 0, 64, tag, 0, key, otherChunk, 5), corrupt)
  assert.throws(() => openPage(out, 0, cipher, 0, 64, tag, 0, otherKey, chunk, 5), corrupt)
  assert.throws(() => openPage(out, 0, cipher, 0, 63, tag, 0, key, chunk, 5), corrupt)
})

test('offsets outside a buffer are a bug, not a damaged page', () => {
  const small = Buffer.alloc(10)
  const tag = Buffer.alloc(16)
  const bug = (error: unknown) => error instanceof Error && !(error instanceof CorruptError)
  assert.throws(() => sealPage(small, 5, small, 0, 6, tag, 0, key, chunk, 0), bug)
  assert.throws(() => openPage(small, 0, small, 5, 6, tag, 0, key, chunk, 0), bug)
  assert.throws(() => sealPage(small, 0, small, 0, 5, tag, 1, key, chunk, 0), bug)
  assert.throws(() => sealPage(small, 0, small, 0, 5, tag, 0, key, chunk.subarray(1), 0), bug)
  assert.throws(() => openPage(small, 0, small, 0, 5, tag, 0, key.subarray(1), chunk, 0), bug)
  assert.throws(() => sealPage(small, 0, small, 0, 5, tag, 0, key, chunk, 2 ** 32), bug)
})

test.run()
