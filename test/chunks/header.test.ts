import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type ChunkId,
  CorruptError,
  type Epoch,
  type KeyEpoch,
  type VolumeId,
} from '../../src/base/index.ts'
import { type ChunkHeader, decodeHeader, encodeHeader, layoutOf } from '../../src/chunks/header.ts'
import { seeded } from '../support/seeded.ts'

const header: ChunkHeader = {
  id: '000102030405060708090a0b0c0d0e0f' as ChunkId,
  volume: 'f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff' as VolumeId,
  keyEpoch: 3 as KeyEpoch,
  epoch: (2 ** 33 + 5) as Epoch,
  pageBytes: 16384,
  plainBytes: 40000,
  backPointerBytes: 140,
  bodyCrc: 0xdeadbeef,
}

/** Block 0 of the header above; docs/format.md, "Chunk files", version 1. */
const golden = [
  '5745465443484e4b0100000000400000', // magic, version 1, pages of 16384
  '000102030405060708090a0b0c0d0e0f', // chunk id
  'f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', // volume id
  '0300000003000000', // key epoch 3, 3 pages
  '0500000002000000', // epoch 2^33 + 5
  '409c000000000000', // 40000 plain bytes
  '40bc0000', // back-pointers at 4096 + 4096 + 40000
  '8c000000', // 140 of them
  'efbeadde', // body checksum
].join('')

/** A checksum that fits whatever else was done to the block. */
function reseal(block: Buffer): Buffer {
  block.writeUInt32LE(crc32(block.subarray(0, 4092)), 4092)
  return block
}

test('a header has its golden bytes, both ways', () => {
  const block = Buffer.alloc(4096, 0xff)
  encodeHeader(header, block)
  assert.is(block.toString('hex', 0, 84), golden)
  assert.ok(block.subarray(84, 4092).every((byte) => byte === 0))
  assert.is(block.readUInt32LE(4092), crc32(block.subarray(0, 4092)))
  assert.is(
    createHash('sha256').update(block).digest('hex'),
    '927f966339238e415ce8d4c4df2b51a732f3f0a7a1d18c4fcc305cbec2b30bfc',
  )
  assert.equal(decodeHeader(block, 4096, header.id), header)
})

test('the layout follows from the lengths, every part on its block', () => {
  assert.equal(layoutOf(1, 16384, 40), {
    pageCount: 1,
    tagsAt: 4096,
    dataAt: 8192,
    backPointerAt: 8193,
    backPointerEnd: 8233,
    fileBytes: 12288,
  })
  assert.equal(layoutOf(4 * 1024 * 1024, 16384, 40).dataAt, 8192)
  assert.equal(layoutOf(4 * 1024 * 1024, 4096, 40).dataAt, 4096 + 16384)
  assert.equal(layoutOf(16385, 16384, 40).pageCount, 2)
})

test('every flipped bit of block 0 is found', () => {
  const block = Buffer.alloc(4096)
  encodeHeader(header, block)
  for (let at = 0; at < 4096; at++) {
    const bit = 1 << (at % 8)
    block[at]! ^= bit
    assert.throws(() => decodeHeader(block, 4096, header.id), isCorrupt, `byte ${at}`)
    block[at]! ^= bit
  }
  assert.throws(() => decodeHeader(block, 4095, header.id), isCorrupt)
  const other = 'ff'.repeat(16) as ChunkId
  assert.throws(() => decodeHeader(block, 4096, other), isCorrupt)
})

test('a header that lies under a right checksum is found', () => {
  const lies: [string, (block: Buffer) => void][] = [
    ['version', (block) => block.writeUInt16LE(2, 8)],
    ['no page bytes', (block) => block.writeUInt32LE(0, 12)],
    ['odd page bytes', (block) => block.writeUInt32LE(5000, 12)],
    ['huge page bytes', (block) => block.writeUInt32LE(0x8000_0000, 12)],
    ['page count', (block) => block.writeUInt32LE(4, 52)],
    ['epoch above 2^53', (block) => block.writeUInt32LE(0x20_0000, 60)],
    ['no plain bytes', (block) => block.writeUInt32LE(0, 64)],
    ['too many plain bytes', (block) => block.writeUInt32LE(0xffff_ffff, 64)],
    ['one page less', (block) => block.writeUInt32LE(30000, 64)],
    ['back-pointer offset', (block) => block.writeUInt32LE(0, 72)],
    ['back-pointers shorter than a seal', (block) => block.writeUInt32LE(39, 76)],
    ['back-pointers over their limit', (block) => block.writeUInt32LE(0x7fff_ffff, 76)],
  ]
  for (const [what, lie] of lies) {
    const block = Buffer.alloc(4096)
    encodeHeader(header, block)
    lie(block)
    assert.throws(() => decodeHeader(reseal(block), 4096, header.id), isCorrupt, what)
  }
})

test('garbage in block 0 gives only CorruptError', () => {
  const random = seeded(20260101)
  let right = 0
  for (let round = 0; round < 3000; round++) {
    const block = Buffer.alloc(4096)
    encodeHeader(header, block)
    // A few random words anywhere in the fields, mostly under a right checksum, so that the checks behind it are reached.
    for (let count = 1 + random.below(4); count > 0; count--) {
      block.writeUInt32LE(random.word(), 8 + random.below(76))
    }
    if (round % 4 !== 0) reseal(block)
    try {
      decodeHeader(block, random.below(8) === 0 ? random.below(4096) : 4096, header.id)
      right++
    } catch (error) {
      if (!(error instanceof CorruptError)) throw error
    }
  }
  assert.ok(right > 0, 'some changes are of fields any value fits, so the fuzz gets through')
})

function isCorrupt(error: unknown): boolean {
  return error instanceof CorruptError
}

test.run()
