import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { limits, ProtocolError } from '../../src/base/index.ts'
import { formatAddress, parseAddress } from '../../src/net/addresses.ts'
import {
  decodeFrame,
  decodeHello,
  encodeFrame,
  encodeHello,
  type Frame,
  type Hello,
} from '../../src/net/frames.ts'
import { seeded } from '../support/seeded.ts'

function bytesOf(frame: Frame): Buffer {
  const { head, body } = encodeFrame(frame)
  return Buffer.concat([head, body])
}

const FRAMES: readonly (readonly [Frame, string])[] = [
  [
    { kind: 'request', id: 0x1_0000_0002, service: 'journal.append', body: Buffer.from('abc') },
    '01 0200000001000000 0e 6a6f75726e616c2e617070656e64 616263',
  ],
  [{ kind: 'request', id: 1, service: 'a', body: Buffer.alloc(0) }, '01 0100000000000000 01 61'],
  [{ kind: 'answer', id: 7, body: Buffer.from([0xff]) }, '02 0700000000000000 ff'],
  [
    { kind: 'failure', id: 7, retry: 'later', code: 'ESTALE', message: 'zu spät' },
    '03 0700000000000000 01 06 455354414c45 0800 7a75207370c3a474',
  ],
  [
    { kind: 'failure', id: 7, retry: 'never', code: 'EIO', message: '' },
    '03 0700000000000000 00 03 45494f 0000',
  ],
  [{ kind: 'cancel', id: 9 }, '04 0900000000000000'],
  [{ kind: 'ping', token: 0xfffffffe }, '05 feffffff'],
  [{ kind: 'pong', token: 1 }, '06 01000000'],
  [{ kind: 'bye' }, '07'],
]

const HELLO: Hello = {
  lane: 'bulk',
  instance: '000102030405060708090a0b0c0d0e0f',
  dial: 3,
  sealedKey: Buffer.alloc(32, 0x5e),
  addresses: [
    { host: '10.0.0.1', port: 4000 },
    { host: 'fd00::1', port: 1 },
  ],
}
const HELLO_BYTES = `01 01 000102030405060708090a0b0c0d0e0f 03000000
  5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e 02
  0d 31302e302e302e313a34303030 0b 5b666430303a3a315d3a31`

const hex = (text: string) => text.replaceAll(/\s/g, '')

/** Anything but ProtocolError is red; that a message is taken by chance is fine. */
function tolerates(decode: () => unknown, what: string): void {
  try {
    decode()
  } catch (error) {
    assert.ok(error instanceof ProtocolError, `${what}: ${String(error)}`)
  }
}

test('frames have the bytes that were agreed, both ways', () => {
  for (const [frame, golden] of FRAMES) {
    assert.is(bytesOf(frame).toString('hex'), hex(golden), frame.kind)
    assert.equal(decodeFrame(Buffer.from(hex(golden), 'hex')), frame)
  }
})

test('a hello has the bytes that were agreed, both ways', () => {
  assert.is(encodeHello(HELLO).toString('hex'), hex(HELLO_BYTES))
  assert.equal(decodeHello(Buffer.from(hex(HELLO_BYTES), 'hex')), HELLO)
})

test('a hello of another version is refused in words that say what to do', () => {
  const bytes = encodeHello(HELLO)
  bytes[0] = 2
  assert.throws(
    () => decodeHello(bytes),
    (error: unknown) =>
      error instanceof ProtocolError && /version 2 .* this node 1.*upgrade/.test(error.message),
  )
})

test('every truncation and every byte too many of a frame without a body is refused', () => {
  for (const [frame] of FRAMES) {
    const bytes = bytesOf(frame)
    const headBytes = encodeFrame(frame).head.length
    for (let length = 0; length < headBytes; length++)
      assert.throws(
        () => decodeFrame(bytes.subarray(0, length)),
        (error: unknown) => error instanceof ProtocolError,
        `${frame.kind} cut to ${length}`,
      )
    if (frame.kind === 'request' || frame.kind === 'answer') continue
    assert.throws(
      () => decodeFrame(Buffer.concat([bytes, Buffer.alloc(1)])),
      (error: unknown) => error instanceof ProtocolError,
    )
  }
  const hello = encodeHello(HELLO)
  for (let length = 0; length < hello.length; length++)
    assert.throws(
      () => decodeHello(hello.subarray(0, length)),
      (error: unknown) => error instanceof ProtocolError,
    )
})

test('garbage gives ProtocolError or a frame, and nothing else', () => {
  const random = seeded(Number(process.env.WEFT_SEED ?? 1))
  for (let round = 0; round < 50_000; round++) {
    const bytes = random.bytes(random.below(60))
    // Half of it with a kind that exists, so that it gets past the first byte.
    if (bytes.length > 0 && round % 2 === 0) bytes[0] = 1 + random.below(7)
    tolerates(() => decodeFrame(bytes), bytes.toString('hex'))
    if (bytes.length > 1 && round % 2 === 0) bytes.set([1, random.below(2)])
    tolerates(() => decodeHello(bytes), bytes.toString('hex'))
  }
  for (let round = 0; round < 50_000; round++) {
    const [frame] = FRAMES[random.below(FRAMES.length)] ?? [{ kind: 'bye' } as const]
    const bytes = bytesOf(frame)
    bytes[random.below(bytes.length)] = random.below(256)
    tolerates(() => decodeFrame(bytes), bytes.toString('hex'))
  }
})

test('names of services and of errors are checked', () => {
  const request = (service: string) =>
    bytesOf({ kind: 'request', id: 1, service, body: Buffer.alloc(0) })
  const failure = (code: string) =>
    bytesOf({ kind: 'failure', id: 1, retry: 'never', code, message: '' })
  for (const service of ['', 'A', '../x', 'a\0', 'x'.repeat(65)])
    assert.throws(() => decodeFrame(request(service)), /service/)
  for (const code of ['', 'constructor', 'E', 'eio'])
    assert.throws(() => decodeFrame(failure(code)), /errno/)
})

test('a body at the limit is taken, one byte more is refused', () => {
  const most = Buffer.alloc(limits.netBodyBytesMax)
  const taken = decodeFrame(bytesOf({ kind: 'answer', id: 1, body: most }))
  assert.is(taken.kind === 'answer' && taken.body.length, limits.netBodyBytesMax)
  const more = Buffer.alloc(limits.netBodyBytesMax + 1)
  assert.throws(() => decodeFrame(bytesOf({ kind: 'answer', id: 1, body: more })), /at most/)
})

test('a long message of an error is cut, not refused', () => {
  const frame = decodeFrame(
    bytesOf({ kind: 'failure', id: 1, retry: 'never', code: 'EIO', message: 'x'.repeat(5000) }),
  )
  assert.is(frame.kind === 'failure' && frame.message.length, 1024)
})

test('an address is host:port, and nothing else', () => {
  for (const text of ['10.0.0.1:4000', 'node-a.lab:1', '[fd00::1]:65535', 'a:0']) {
    const address = parseAddress(text)
    assert.ok(address, text)
    assert.is(formatAddress(address), text)
  }
  for (const text of [
    '',
    'a',
    ':1',
    'a:',
    'a:65536',
    'a:-1',
    'fd00::1:80',
    '[x]:1',
    'a b:1',
    '-a:1',
  ])
    assert.is(parseAddress(text), undefined, text)
})

test.run()
