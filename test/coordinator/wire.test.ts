import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { limits, ProtocolError } from '../../src/base/index.ts'
import {
  type Answer,
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
  type Request,
} from '../../src/coordinator/wire.ts'
import { seeded } from '../support/seeded.ts'

const bytes = (text: string) => Buffer.from(text)
const cursor = { life: '0011223344556677', seq: 2 ** 40 }

const requests: readonly Request[] = [
  { op: 'get', key: 'volume/a' },
  { op: 'list', prefix: '' },
  { op: 'list', prefix: 'volume/' },
  { op: 'page', list: cursor, from: 256 },
  {
    op: 'transaction',
    steps: [
      { key: 'a', expected: 0, value: bytes('one') },
      { key: 'b', expected: 2 ** 53 - 1, value: null },
      { key: 'c', expected: 7, value: 'unchanged' },
      { key: 'd', expected: 7, value: Buffer.alloc(0) },
    ],
  },
  { op: 'poll', prefix: '', waitMs: 0, cursor: null },
  { op: 'poll', prefix: 'volume/', waitMs: 20_000, cursor },
]

const answers: readonly Answer[] = [
  { kind: 'refused', code: 'EAGAIN', retry: 'later', message: 'coordinator: moves, é' },
  { kind: 'entry', entry: null },
  { kind: 'entry', entry: { key: 'a', value: bytes('1'), version: 9 } },
  { kind: 'entries', list: null, entries: [] },
  { kind: 'entries', list: cursor, entries: [{ key: 'a', value: Buffer.alloc(0), version: 1 }] },
  { kind: 'done', result: { ok: true, versions: [3, 0, 2 ** 53 - 1] } },
  {
    kind: 'changes',
    cursor,
    changes: [
      { key: 'a', value: bytes('1'), version: 9 },
      { key: 'b', value: null, version: 10 },
    ],
  },
  { kind: 'again' },
]

test('every request and answer comes back as it was', () => {
  for (const request of requests) assert.equal(decodeRequest(encodeRequest(request)), request)
  for (const answer of answers) assert.equal(decodeAnswer(encodeAnswer(answer)), answer)
})

test('the bytes are those of version 1', () => {
  const hex = (body: Buffer) => body.toString('hex')
  assert.is(hex(encodeRequest({ op: 'get', key: 'ab' })), '0101020000006162')
  assert.is(
    hex(
      encodeRequest({ op: 'transaction', steps: [{ key: 'k', expected: 5, value: bytes('v') }] }),
    ),
    '010401010000006b0500000000000000010100000076',
  )
  assert.is(
    hex(encodeRequest({ op: 'poll', prefix: 'p', waitMs: 258, cursor: { ...cursor, seq: 3 } })),
    '01050100000070020100000100112233445566770300000000000000',
  )
  assert.is(
    hex(encodeAnswer({ kind: 'done', result: { ok: true, versions: [1] } })),
    '010401010100000000000000',
  )
  assert.is(
    hex(encodeAnswer({ kind: 'entry', entry: { key: 'k', value: bytes('v'), version: 1 } })),
    '010201010000006b01000000000000000100000076',
  )
})

test('an errno that this build does not know is EIO, not a mistake of the peer', () => {
  const body = encodeAnswer({ kind: 'refused', code: 'EBUSY', retry: 'later', message: 'm' })
  body.write('ENEW!', 6, 'latin1')
  assert.equal(decodeAnswer(body), { kind: 'refused', code: 'EIO', retry: 'later', message: 'm' })
})

test('what breaks the rules of keys and transactions is refused before it is done', () => {
  const bad: readonly Request[] = [
    { op: 'get', key: '' },
    { op: 'get', key: 'x'.repeat(limits.coordinatorKeyBytesMax + 1) },
    { op: 'list', prefix: 'a b' },
    { op: 'transaction', steps: [] },
    {
      op: 'transaction',
      steps: Array.from({ length: limits.coordinatorStepsMax + 1 }, (_, i) => ({
        key: `k${i}`,
        expected: 0,
        value: null,
      })),
    },
    {
      op: 'transaction',
      steps: [
        { key: 'k', expected: 0, value: null },
        { key: 'k', expected: 0, value: null },
      ],
    },
  ]
  for (const request of bad)
    assert.throws(
      () => decodeRequest(encodeRequest(request)),
      (error: unknown) => error instanceof ProtocolError,
    )
})

test('a body of another version, cut short, too long, flipped or made up is ProtocolError or another valid one', () => {
  const random = seeded(20_26)
  const decoders: readonly [(body: Buffer) => unknown, readonly Buffer[]][] = [
    [decodeRequest, requests.map(encodeRequest)],
    [decodeAnswer, answers.map(encodeAnswer)],
  ]
  for (const [decode, bodies] of decoders) {
    const refuses = (body: Buffer, must: boolean) => {
      try {
        decode(body)
        if (must) assert.unreachable(`taken: ${body.toString('hex')}`)
      } catch (error) {
        assert.instance(error, ProtocolError)
      }
    }
    for (const body of bodies) {
      for (let end = 0; end < body.length; end++) refuses(Buffer.from(body.subarray(0, end)), true)
      refuses(Buffer.concat([body, Buffer.of(0)]), true)
      refuses(Buffer.concat([Buffer.of(2), body.subarray(1)]), true)
      for (let round = 0; round < 500; round++) {
        const flipped = Buffer.from(body)
        const at = random.below(flipped.length)
        flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << random.below(8)), at)
        refuses(flipped, false)
      }
    }
    for (let round = 0; round < 3000; round++) {
      const body = random.bytes(random.below(60))
      if (body.length > 0) body.writeUInt8(1, 0)
      if (body.length > 1) body.writeUInt8(random.below(7), 1)
      refuses(body, false)
    }
  }
})

test.run()
