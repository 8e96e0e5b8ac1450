import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ChunkId, VolumeNumber } from '../../src/base/index.ts'
import { FarRequests } from '../../src/fuse/far-requests.ts'
import { decodeFileMap, encodeFileMap, mapAlone } from '../../src/fuse/file-map.ts'
import { MAILBOX_BYTES, mailCell, wire } from '../../src/fuse/index.ts'
import * as kernel from '../support/fuse-requests.ts'

const VOLUME = 3 as VolumeNumber
const ROOT = kernel.nodeId(VOLUME, 1)
const VALID_MS = 3000
const OUT = wire.OUT_HEADER_BYTES

function makeWorld() {
  const mailbox = new Int32Array(new SharedArrayBuffer(MAILBOX_BYTES))
  const pages: Buffer[] = []
  const late: (readonly number[])[] = []
  const at = { ms: 1000, pauseMs: 0 }
  const far = new FarRequests({
    mailbox,
    now: () => at.ms,
    late: (_number, attributes) => late.push(attributes),
    reply: () => Buffer.alloc(4096),
    damaged: () => assert.unreachable('nothing is read'),
    list: (_number, page) => pages.push(page),
  })
  let unique = 0n
  /** @returns the errno of the answer given here; null when the request is handed on */
  const ask = (make: (head: kernel.Head) => Buffer): { request: Buffer; errno: number | null } => {
    const request = make({ unique: ++unique })
    let errno: number | null = null
    const isAnswered = far.answer(VOLUME, request, (_reply, _end, given) => {
      errno = given
      at.ms += at.pauseMs
      assert.is(mailbox[mailCell.answering], 1, 'who has it forgotten waits')
    })
    assert.is(mailbox[mailCell.answering], 0)
    assert.is(isAnswered, errno !== null)
    if (errno === null) far.handedOn(VOLUME, request)
    return { request, errno }
  }
  const answered = (request: Buffer, reply: Buffer | null, noLocks = false) =>
    far.heard({
      kind: 'answered',
      number: VOLUME,
      uniqueLo: request.readUInt32LE(8),
      uniqueHi: request.readUInt32LE(12),
      reply,
      isFresh: true,
      noLocks,
    })
  return { far, mailbox, pages, late, at, ask, answered }
}

function missing(): Buffer {
  const reply = Buffer.alloc(OUT + wire.ENTRY_BYTES)
  wire.encodeReplyHeader(reply, reply.length, 0, 0, 0)
  wire.encodeNegativeEntry(reply, OUT, VALID_MS)
  return reply
}

const lookup = (name: string) => (head: kernel.Head) => kernel.lookup(ROOT, name, head)

test('a request is handed on once, and answered here when it comes again', () => {
  const { ask, answered } = makeWorld()
  const { request, errno } = ask(lookup('a'))
  assert.is(errno, null)
  assert.is(ask(lookup('a')).errno, null, 'its answer has not come')
  answered(request, missing())
  assert.is(ask(lookup('a')).errno, 0)
})

test('nothing is answered here while there is mail, in which it may be revoked', () => {
  const { far, mailbox, ask, answered } = makeWorld()
  answered(ask(lookup('a')).request, missing())
  Atomics.store(mailbox, mailCell.posted, 1)
  assert.is(ask(lookup('a')).errno, null)
  far.heard({ kind: 'forget', number: VOLUME, forgetting: { attributes: [], names: true } })
  Atomics.store(mailbox, mailCell.posted, 0)
  assert.is(ask(lookup('a')).errno, null)
})

test('what was given after the thread stood still, the kernel is made to forget', () => {
  const { late, at, ask, answered } = makeWorld()
  answered(ask(lookup('a')).request, missing())
  ask(lookup('a'))
  assert.equal(late, [])
  at.pauseMs = 2000
  ask(lookup('a'))
  assert.equal(late, [[]], 'all names, and no attributes')
})

test('after a second name, the directory is listed', () => {
  const { pages, ask, answered } = makeWorld()
  for (const name of ['a', 'b']) answered(ask(lookup(name)).request, missing())
  assert.is(pages.length, 1)
})

test('a volume that changes hands is asked about anew', () => {
  const { far, ask, answered } = makeWorld()
  answered(ask(lookup('a')).request, missing())
  far.clear(VOLUME)
  assert.is(ask(lookup('a')).errno, null)
})

test('closing a file is nobody’s business until something is locked', () => {
  const { ask, answered } = makeWorld()
  const flush = (head: kernel.Head) => kernel.flush(ROOT, 1, 0n, head)
  const first = ask(flush)
  assert.is(first.errno, null)
  const lock = (head: kernel.Head) =>
    kernel.setlk(ROOT, { fh: 1, owner: 1n, start: 0n, end: 1n, type: 1, pid: 1 }, head)
  ask(lock)
  answered(first.request, null, true)
  assert.is(ask(flush).errno, null, 'it was asked before the lock')
  answered(ask(flush).request, null, true)
  assert.is(ask(flush).errno, 0)
  ask(lock)
  assert.is(ask(flush).errno, null)
})

test('a map says as much as there is room for, and goes without the bytes that were read', () => {
  const extents = Array.from({ length: 9 }, (_, n) => ({
    offset: n * 4096,
    extent: { kind: 'chunk', length: 4096, at: 0, chunk: `${n}`.repeat(32) as ChunkId } as const,
  }))
  const map = { size: 9 * 4096 + 1, from: 0, to: 9 * 4096 + 1, extents }
  const read = OUT + 100
  const buf = Buffer.alloc(4096)
  wire.encodeReplyHeader(buf, read, 0, 7, 0)
  const end = encodeFileMap(buf, read, buf.length, map, VALID_MS)
  const alone = mapAlone(buf.subarray(0, end))
  assert.is(alone.length, end - 100)
  assert.equal(decodeFileMap(alone), { map, validMs: VALID_MS })

  const cut = encodeFileMap(buf, read, end - 1, map, VALID_MS)
  const part = decodeFileMap(buf.subarray(0, cut))?.map
  assert.is(part?.extents.length, 8)
  assert.is(part?.to, 8 * 4096)
  assert.is(encodeFileMap(buf, read, read + 16, map, VALID_MS), read, 'no room even for its head')
  assert.is(decodeFileMap(buf.subarray(0, read)), null)
})

test.run()
