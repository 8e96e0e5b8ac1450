import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CorruptError } from '../../src/base/index.ts'
import {
  blobOverheadBytes,
  openBlob,
  openBlobInto,
  sealBlob,
  sealBlobInto,
} from '../../src/crypto/index.ts'

const key = Buffer.from(Array.from({ length: 32 }, (_, i) => 255 - i))
const corrupt = (error: unknown) => error instanceof CorruptError

test('a blob of any length comes back with its associated data, and without', () => {
  for (const len of [0, 1, 63, 64, 65, 100, 4096, 100_000]) {
    const plain = Buffer.alloc(len, len % 251)
    for (const ad of [null, Buffer.alloc(0), Buffer.from('header')]) {
      const sealed = sealBlob(key, plain, ad)
      assert.is(sealed.length, len + blobOverheadBytes)
      assert.ok(openBlob(key, sealed, ad).equals(plain))
    }
  }
})

test('a blob sealed by format version 1 opens', () => {
  const sealed = Buffer.from(
    '6d22b621c5a12074e5eb0e9dc627bd4abf910f847790ac643164b599c57e1e894a5e40902c56177df4b6dd408a4af5082f8e9a92',
    'hex',
  )
  assert.is(openBlob(key, sealed, Buffer.from('weft')).toString(), 'golden value')
})

test('no two blobs share a nonce, across refills of the pool', () => {
  const seen = new Set<string>()
  for (let i = 0; i < 2000; i++) seen.add(sealBlob(key, key, null).toString('hex', 0, 24))
  assert.is(seen.size, 2000)
})

test('every changed byte of a blob, of its key and of its associated data is refused', () => {
  const ad = Buffer.from('position 17')
  const own = Buffer.from(key)
  const sealed = sealBlob(own, Buffer.from('a value of the index'), ad)
  for (const target of [sealed, ad, own]) {
    for (let i = 0; i < target.length; i++) {
      target[i] = (target[i] as number) ^ 0x10
      assert.throws(() => openBlob(own, sealed, ad), corrupt, `byte ${i}`)
      target[i] = (target[i] as number) ^ 0x10
    }
  }
  assert.throws(() => openBlob(own, sealed, null), corrupt)
  assert.is(openBlob(own, sealed, ad).toString(), 'a value of the index')
})

test('a blob cut at any length is refused as damaged', () => {
  const sealed = sealBlob(key, Buffer.from('twelve bytes'), null)
  for (let len = 0; len < sealed.length; len++) {
    assert.throws(() => openBlob(key, sealed.subarray(0, len), null), corrupt, `length ${len}`)
  }
})

test('a blob is sealed into and opened from the middle of a buffer without touching the rest', () => {
  const ad = Buffer.from('record header')
  const plain = Buffer.from('..the body of a record..')
  const file = Buffer.alloc(200, 0x2e)
  const len = plain.length - 4
  const written = sealBlobInto(key, plain, 2, len, ad, file, 50)
  assert.is(written, len + blobOverheadBytes)
  assert.ok(file.subarray(0, 50).every((byte) => byte === 0x2e))
  assert.ok(file.subarray(50 + written).every((byte) => byte === 0x2e))
  const out = Buffer.alloc(100, 0x2d)
  assert.is(openBlobInto(key, file, 50, written, ad, out, 10), len)
  assert.is(out.toString('latin1', 9, 11 + len), '-the body of a record-')
  assert.is(openBlob(key, file.subarray(50, 50 + written), ad).toString(), 'the body of a record')
})

test('a refused blob leaves zeros, not plain bytes, and a place too small is a bug', () => {
  const sealed = sealBlob(key, Buffer.from('secret'), null)
  sealed[30] = (sealed[30] as number) ^ 1
  const out = Buffer.alloc(8, 0x2d)
  assert.throws(() => openBlobInto(key, sealed, 0, sealed.length, null, out, 1), corrupt)
  assert.is(out.toString('latin1'), '-\0\0\0\0\0\0-')
  const bug = (error: unknown) => error instanceof Error && !corrupt(error)
  assert.throws(() => openBlobInto(key, sealed, 0, sealed.length, null, out, 3), bug)
  assert.throws(() => openBlobInto(key, sealed, 1, sealed.length, null, out, 0), bug)
  assert.throws(() => sealBlobInto(key, out, 0, 8, null, Buffer.alloc(47), 0), bug)
})

test.run()
