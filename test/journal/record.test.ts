import { crc32 } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Epoch, KeyEpoch, VolumeId } from '../../src/base/index.ts'
import { createJournal, firstHead, scan } from '../../src/journal/index.ts'
import {
  chunkId,
  collect,
  directory,
  fields,
  makeWorld,
  nameOfThrown,
  pathOf,
  plainSealer,
  tamper,
  volumeId,
} from './world.ts'

/** Bytes as version 1 wrote them: docs/format.md, journal. Never changed; a new version gets a new test. */
const goldenRecord = [
  '57464a52 0100 0100', // magic, version, flags (request id)
  'a3000000 2d000000', // header 104 + 3 * 16 + 3 of padding + 8 bytes, sealed body 24 + 5 + 16
  '000102030405060708090a0b0c0d0e0f', // volume
  '03000000 02000000 01000000', // key epoch, chunks begun, chunks ended
  '07000000 4433221188776655', // mount, unique
  '0200000001000000 0100000000000000', // epoch 2^32 + 2, sequence
  '0000000000000000 0000000000000000', // confirmed epoch, sequence
  '00000000000000000000000000000000', // chain
  'b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1 b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2',
  'e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1 000000',
  'b1f716fb 1f0cde1c', // CRC32 of the sealed body, of the header
  'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee 68656c6c6f', // nonce, body
  '8aa2d5d758730e905d712b4a25981792', // tag
]
  .join('')
  .replaceAll(' ', '')

const goldenFileHeader = [
  '57464a46 0100 0000 01000000 00000000', // magic, version, file number
  '000102030405060708090a0b0c0d0e0f', // volume
  '0500000000000000 0900000000000000', // epoch, sequence before
  'cccccccccccccccccccccccccccccccc', // chain before
  'c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1', // checkpoint
  '00'.repeat(428),
  '7d69e00e', // CRC32
]
  .join('')
  .replaceAll(' ', '')

const goldenFields = fields({
  epoch: 0x1_0000_0002 as Epoch,
  keyEpoch: 3 as KeyEpoch,
  begins: [chunkId(0xb1), chunkId(0xb2)],
  ends: [chunkId(0xe1)],
  requestId: { mount: 7, uniqueLo: 0x11223344, uniqueHi: 0x55667788 },
})

test('a record has the bytes of format version 1', () => {
  const { disk, first, journal } = makeWorld()
  const head = journal.append(first, goldenFields, Buffer.from('hello'))
  assert.is(disk.readFile(pathOf(1)).subarray(first.offset).toString('hex'), goldenRecord)
  assert.is(head.offset, first.offset + goldenRecord.length / 2)
  assert.is(head.chain.toString('hex'), goldenRecord.slice(-32))
})

test('a record of format version 1 is read', () => {
  const { disk, first } = makeWorld()
  tamper(disk, 1, (bytes) => Buffer.concat([bytes, Buffer.from(goldenRecord, 'hex')]))
  const { records } = collect(scan(disk, directory, volumeId, first, plainSealer))
  const record = records[0]
  assert.is(record?.body?.toString(), 'hello')
  assert.is(record?.raw.toString('hex'), goldenRecord)
  assert.equal(record?.header, { ...goldenFields, seq: 1, chain: Buffer.alloc(16) })
})

test('a file header has the bytes of format version 1', () => {
  const { disk } = makeWorld()
  const place = { epoch: 5 as Epoch, seq: 9 as never, chain: Buffer.alloc(16, 0xcc) }
  const head = createJournal(disk, '/joined', volumeId, { ...place, checkpoint: chunkId(0xc1) })
  assert.is(disk.readFile('/joined/0000000001.journal').toString('hex'), goldenFileHeader)
  assert.equal(head, { ...place, file: 1, offset: 512 })
  assert.equal(firstHead(disk, '/joined', volumeId), head)
})

test('a record without request id gives null, not zeros', () => {
  const { disk, first, journal } = makeWorld()
  journal.append(first, fields(), Buffer.alloc(0))
  const { records } = collect(scan(disk, directory, volumeId, null, plainSealer))
  assert.is(records[0]?.header.requestId, null)
  assert.is(records[0]?.body?.length, 0)
})

test('records begin aligned, whatever the length of the body', () => {
  const { first, journal, scanAll } = makeWorld()
  let head = first
  for (let bytes = 0; bytes < 20; bytes++) {
    head = journal.append(head, fields(), Buffer.alloc(bytes, 'x'))
    assert.is(head.offset % 8, 0)
  }
  assert.is(scanAll().bodies.length, 20)
})

test('a record of a newer version is refused by name, not called damage', () => {
  const { disk, first } = makeWorld()
  tamper(disk, 1, (bytes) => {
    const record = Buffer.from(goldenRecord, 'hex')
    record.writeUInt16LE(2, 4)
    record.writeUInt32LE(crc32(record.subarray(0, 0xa3 - 4)), 0xa3 - 4)
    return Buffer.concat([bytes, record])
  })
  assert.throws(
    () => collect(scan(disk, directory, volumeId, first, plainSealer)),
    /record written by a newer weft \(version 2, this build reads 1\)/,
  )
})

test('a file of a newer version is refused by name', () => {
  const { disk } = makeWorld()
  tamper(disk, 1, (bytes) => {
    bytes.writeUInt16LE(2, 4)
    bytes.writeUInt32LE(crc32(bytes.subarray(0, 508)), 508)
    return bytes
  })
  assert.throws(() => firstHead(disk, directory, volumeId), /file written by a newer weft/)
})

test('the header is bound to the body: changed with its checksum mended, the seal fails', () => {
  const { disk, first, journal } = makeWorld()
  journal.append(first, fields(), Buffer.from('hello'))
  tamper(disk, 1, (bytes) => {
    bytes.writeUInt32LE(9, first.offset + 72) // confirmed epoch
    const headerBytes = bytes.readUInt32LE(first.offset + 8)
    const crcAt = first.offset + headerBytes - 4
    bytes.writeUInt32LE(crc32(bytes.subarray(first.offset, crcAt)), crcAt)
    return bytes
  })
  assert.is(
    nameOfThrown(() => collect(scan(disk, directory, volumeId, null, plainSealer))),
    'CorruptError seal',
  )
})

test("another volume's journal is not read", () => {
  const { disk } = makeWorld()
  const other = 'ff'.repeat(16) as VolumeId
  assert.is(
    nameOfThrown(() => firstHead(disk, directory, other)),
    'CorruptError',
  )
})

test.run()
