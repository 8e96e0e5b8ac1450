import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type ChunkId,
  type CopyId,
  type Epoch,
  type KeyEpoch,
  limits,
  type NodeId,
  ProtocolError,
  type RecordSeq,
  type VolumeId,
} from '../../src/base/index.ts'
import { chunkFileBytesMax } from '../../src/chunks/index.ts'
import { type Checkpoint, encodeCheckpoint } from '../../src/journal/index.ts'
import type { Addressed, Answer, Place, Request } from '../../src/replication/index.ts'
import {
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
  encodeRequestParts,
} from '../../src/replication/wire.ts'
import { seeded } from '../support/seeded.ts'

const volume = '0f'.repeat(16) as VolumeId
const copy = 'c0'.repeat(16) as CopyId
const owner = 'a1'.repeat(16) as NodeId
const chunk = 'cc'.repeat(16) as ChunkId
const chunks = [chunk, 'cd'.repeat(16) as ChunkId]
const epoch = 7 as Epoch
const seq = (value: number) => value as RecordSeq
const place: Place = { epoch, seq: seq(0x0102), chain: Buffer.alloc(16, 0xee) }
const none = Buffer.alloc(0)
const checkpoint: Checkpoint = {
  newest: place,
  oldest: { epoch, seq: seq(0x0101), chain: Buffer.alloc(16, 0xdd) },
  chunks,
  manifest: Buffer.from('sealed'),
}

const requests: readonly Request[] = [
  { op: 'state', candidate: owner },
  { op: 'promise', epoch: (2 ** 53 - 1) as Epoch, owner },
  { op: 'grant', epoch, owner },
  { op: 'yield', epoch, owner },
  { op: 'append', epoch, owner, before: place, records: Buffer.from('records'), sync: true },
  { op: 'append', epoch, owner, before: place, records: none, sync: false },
  { op: 'tags', seqs: [] },
  { op: 'tags', seqs: [seq(1), seq(2 ** 53 - 1)] },
  { op: 'read', after: place, bytesMax: 4 * 1024 * 1024 },
  { op: 'putChunk', epoch, owner, chunk, bytes: Buffer.from('a chunk') },
  { op: 'lacksChunks', chunks },
  { op: 'lacksChunks', chunks: [] },
  { op: 'readChunk', chunk },
  { op: 'checkChunks', chunks },
  { op: 'checkLog', after: seq(2 ** 40), bytesMax: 4096 },
  { op: 'deleteChunks', epoch, owner, committed: { epoch, seq: seq(9) }, chunks },
  { op: 'checkpoint', epoch, owner, checkpoint },
  { op: 'begin', epoch, owner, end: place, checkpoint },
  { op: 'readCheckpoint' },
  { op: 'whole', epoch, owner, drives: 'ab'.repeat(16) },
  { op: 'listOld', part: 255, old: { epoch, keyEpoch: 3 as KeyEpoch, restMs: 2 ** 53 - 1 } },
]

const answers: readonly Answer[] = [
  { kind: 'state', promised: epoch, waitMs: 0, end: place, damaged: null },
  { kind: 'state', promised: epoch, waitMs: 9999, end: place, damaged: 'cannot be read, é' },
  { kind: 'promised', end: place },
  { kind: 'granted', doubt: null },
  { kind: 'granted', doubt: 'ab'.repeat(16) },
  { kind: 'appended', end: seq(2 ** 40), durable: seq(3) },
  { kind: 'apart', end: place },
  { kind: 'tags', tags: [] },
  { kind: 'tags', tags: [null, Buffer.alloc(16, 1), null] },
  { kind: 'records', records: Buffer.from('records') },
  { kind: 'records', records: none },
  { kind: 'lacks', chunks },
  { kind: 'old', chunks },
  { kind: 'checkpoint', volume, checkpoint: null },
  { kind: 'checkpoint', volume, checkpoint },
  { kind: 'chunk', bytes: null },
  { kind: 'chunk', bytes: Buffer.from('a chunk') },
  { kind: 'checked', bytes: 2 ** 40, bad: [chunk], missing: [] },
  { kind: 'checked', bytes: 0, bad: [], missing: chunks },
  { kind: 'checkedLog', end: seq(9), bytes: 100, damaged: null },
  { kind: 'checkedLog', end: seq(9), bytes: 0, damaged: 'record 10, é' },
  { kind: 'done' },
  { kind: 'refused', why: 'promised', promised: epoch, waitMs: 0, words: 'epoch 7' },
  { kind: 'refused', why: 'leased', promised: epoch, waitMs: 2 ** 32 - 1, words: '' },
  { kind: 'refused', why: 'damaged', promised: epoch, waitMs: 0, words: 'words' },
  { kind: 'refused', why: 'otherCopy', promised: 0 as Epoch, waitMs: 0, words: 'words' },
  { kind: 'refused', why: 'away', promised: 0 as Epoch, waitMs: 0, words: 'words' },
]

const addressed = (message: Request): Addressed<Request> => ({ volume, copy, message })

test('every request and answer comes back as it was', () => {
  for (const request of requests) {
    assert.equal(decodeRequest(encodeRequest(addressed(request))), addressed(request))
  }
  for (const answer of answers) assert.equal(decodeAnswer(encodeAnswer(answer)), answer)
})

test('the bytes are those of version 1, both ways', () => {
  const to = '0f'.repeat(16) + 'c0'.repeat(16)
  const node = 'a1'.repeat(16)
  const at = `07000000000000000201000000000000${'ee'.repeat(16)}`
  const reign = `0700000000000000${node}`
  const file = encodeCheckpoint(volume, checkpoint).toString('hex')
  const ids = `02000000${'cc'.repeat(16)}${'cd'.repeat(16)}`
  const goldenRequests: [Request, string][] = [
    [{ op: 'state', candidate: owner }, `0101${to}${node}`],
    [{ op: 'promise', epoch, owner }, `0102${to}${reign}`],
    [{ op: 'grant', epoch, owner }, `0103${to}${reign}`],
    [{ op: 'yield', epoch, owner }, `010b${to}${reign}`],
    [
      { op: 'append', epoch, owner, before: place, records: Buffer.from('ab'), sync: true },
      `0104${to}${reign}${at}016162`,
    ],
    [{ op: 'tags', seqs: [seq(258)] }, `0105${to}010000000201000000000000`],
    [{ op: 'read', after: place, bytesMax: 258 }, `0106${to}${at}02010000`],
    [
      { op: 'putChunk', epoch, owner, chunk, bytes: Buffer.from('ab') },
      `0107${to}${reign}${'cc'.repeat(16)}6162`,
    ],
    [{ op: 'lacksChunks', chunks }, `0108${to}${ids}`],
    [{ op: 'readChunk', chunk }, `0109${to}${'cc'.repeat(16)}`],
    [
      { op: 'deleteChunks', epoch, owner, committed: { epoch, seq: seq(9) }, chunks },
      `010a${to}${reign}07000000000000000900000000000000${ids}`,
    ],
    [{ op: 'checkpoint', epoch, owner, checkpoint }, `010c${to}${reign}${file}`],
    [{ op: 'begin', epoch, owner, end: place, checkpoint }, `010d${to}${reign}${at}${file}`],
    [{ op: 'readCheckpoint' }, `010e${to}`],
    [{ op: 'whole', epoch, owner, drives: 'ab'.repeat(16) }, `0110${to}${reign}${'ab'.repeat(16)}`],
    [
      { op: 'listOld', part: 5, old: { epoch, keyEpoch: 3 as KeyEpoch, restMs: 258 } },
      `010f${to}050700000000000000030000000201000000000000`,
    ],
  ]
  for (const [request, hex] of goldenRequests) {
    assert.is(encodeRequest(addressed(request)).toString('hex'), hex)
    assert.equal(decodeRequest(Buffer.from(hex, 'hex')), addressed(request))
  }
  const goldenAnswers: [Answer, string][] = [
    [
      { kind: 'state', promised: epoch, waitMs: 258, end: place, damaged: 'no' },
      `0101070000000000000002010000${at}01020000006e6f`,
    ],
    [{ kind: 'promised', end: place }, `0102${at}`],
    [{ kind: 'granted', doubt: null }, '010300'],
    [{ kind: 'granted', doubt: 'ab'.repeat(16) }, `010301${'ab'.repeat(16)}`],
    [{ kind: 'appended', end: seq(9), durable: seq(8) }, '010409000000000000000800000000000000'],
    [{ kind: 'apart', end: place }, `0105${at}`],
    [{ kind: 'tags', tags: [null, Buffer.alloc(16, 1)] }, `0106020000000001${'01'.repeat(16)}`],
    [{ kind: 'records', records: Buffer.from('ab') }, '01076162'],
    [{ kind: 'lacks', chunks }, `0108${ids}`],
    [{ kind: 'old', chunks }, `010d${ids}`],
    [{ kind: 'checkpoint', volume, checkpoint: null }, `010c${'0f'.repeat(16)}00`],
    [{ kind: 'checkpoint', volume, checkpoint }, `010c${'0f'.repeat(16)}01${file}`],
    [{ kind: 'chunk', bytes: Buffer.from('ab') }, '0109016162'],
    [{ kind: 'done' }, '010a'],
    [
      { kind: 'refused', why: 'leased', promised: epoch, waitMs: 258, words: 'w' },
      '010b020700000000000000020100000100000077',
    ],
  ]
  for (const [answer, hex] of goldenAnswers) {
    assert.is(encodeAnswer(answer).toString('hex'), hex)
    assert.equal(decodeAnswer(Buffer.from(hex, 'hex')), answer)
  }
})

test('records and chunks that come in are views of the message', () => {
  const bytes = Buffer.alloc(64 * 1024, 5)
  const request = encodeRequest(addressed({ op: 'putChunk', epoch, owner, chunk, bytes }))
  const { message } = decodeRequest(request)
  assert.ok(message.op === 'putChunk' && message.bytes.buffer === request.buffer)
  const answer = encodeAnswer({ kind: 'records', records: bytes })
  const decoded = decodeAnswer(answer)
  assert.ok(decoded.kind === 'records' && decoded.records.buffer === answer.buffer)
})

test('a chunk file may come beside what stands before it, and then nothing else does', () => {
  const bytes = Buffer.from('a chunk')
  const put = addressed({ op: 'putChunk', epoch, owner, chunk, bytes })
  const { body, sealed } = encodeRequestParts(put)
  assert.is(sealed, bytes)
  assert.equal(decodeRequest(body, sealed), put)
  assert.equal(
    decodeRequest(Buffer.concat([body, bytes])),
    put,
    'the bytes are the same in one piece',
  )
  assert.is(encodeRequestParts(addressed({ op: 'grant', epoch, owner })).sealed, null)
  const refused: [Buffer, Buffer][] = [
    [encodeRequest(put), bytes],
    [encodeRequest(addressed({ op: 'grant', epoch, owner })), bytes],
    [body, Buffer.alloc(chunkFileBytesMax + 1)],
  ]
  for (const [first, second] of refused) {
    assert.throws(
      () => decodeRequest(first, second),
      (error: unknown) => error instanceof ProtocolError,
    )
  }
})

test('a wait is rounded up to whole milliseconds, and words are cut to what a peer takes', () => {
  const words = 'w'.repeat(10_000)
  const sent: Answer = { kind: 'refused', why: 'leased', promised: epoch, waitMs: 0.2, words }
  const got = decodeAnswer(encodeAnswer(sent))
  assert.ok(got.kind === 'refused' && got.waitMs === 1 && got.words.length === 4096)
})

test('what is larger than there may be is refused', () => {
  const recordMost = limits.recordBytesMax + 16 * limits.recordChunkIdsMax + 64 * 1024
  const many = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value)
  const tooLarge: readonly Request[] = [
    { op: 'putChunk', epoch, owner, chunk, bytes: Buffer.alloc(chunkFileBytesMax + 1) },
    {
      op: 'append',
      epoch,
      owner,
      before: place,
      records: Buffer.alloc(recordMost + 1),
      sync: false,
    },
    { op: 'tags', seqs: many(1025, seq(1)) },
    { op: 'lacksChunks', chunks: many(limits.recordChunkIdsMax + 1, chunk) },
  ]
  for (const request of tooLarge) {
    const body = encodeRequest(addressed(request))
    assert.throws(
      () => decodeRequest(body),
      (error: unknown) => error instanceof ProtocolError,
    )
  }
  const largest = encodeRequest(
    addressed({
      op: 'append',
      epoch,
      owner,
      before: place,
      records: Buffer.alloc(recordMost),
      sync: true,
    }),
  )
  assert.ok(largest.length <= limits.netBodyBytesMax, 'the largest message travels')
})

test('a body of another version, cut short, too long, flipped or made up is ProtocolError or another valid one', () => {
  const random = seeded(20_26)
  const refuses = (decode: (body: Buffer) => unknown, body: Buffer, must: boolean) => {
    try {
      decode(body)
      if (must) assert.unreachable(`taken: ${body.toString('hex')}`)
    } catch (error) {
      assert.instance(error, ProtocolError)
    }
  }
  const endsInRest = ({ message }: Addressed<Request>) =>
    message.op === 'append' || message.op === 'putChunk'
  const sides: [(body: Buffer) => unknown, { body: Buffer; open: number }[]][] = [
    [
      decodeRequest,
      requests.map((request) => {
        const body = encodeRequest(addressed(request))
        const rest =
          'records' in request ? request.records : 'bytes' in request ? request.bytes : none
        return { body, open: endsInRest(addressed(request)) ? rest.length : -1 }
      }),
    ],
    [
      decodeAnswer,
      answers.map((answer) => {
        const open =
          answer.kind === 'records'
            ? answer.records.length
            : answer.kind === 'chunk' && answer.bytes
              ? answer.bytes.length
              : -1
        return { body: encodeAnswer(answer), open }
      }),
    ],
  ]
  for (const [decode, bodies] of sides) {
    for (const { body, open } of bodies) {
      // What takes the rest of a message is as long as it is: the room that asked checks it by its own checksums.
      const fixed = open < 0 ? body.length : body.length - open
      for (let end = 0; end < fixed; end++)
        refuses(decode, Buffer.from(body.subarray(0, end)), true)
      refuses(decode, Buffer.concat([body, Buffer.of(0)]), open < 0)
      refuses(decode, Buffer.concat([Buffer.of(2), body.subarray(1)]), true)
      for (let round = 0; round < 500; round++) {
        const flipped = Buffer.from(body)
        const at = random.below(flipped.length)
        flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << random.below(8)), at)
        refuses(decode, flipped, false)
      }
    }
    for (let round = 0; round < 5000; round++) {
      const body = random.bytes(random.below(120))
      if (body.length > 0) body.writeUInt8(1, 0)
      if (body.length > 1) body.writeUInt8(random.below(17), 1)
      refuses(decode, body, false)
    }
  }
})

test.run()
