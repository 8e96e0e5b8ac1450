import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type ChunkId,
  type CopyId,
  codeOf,
  type Epoch,
  type ErrnoCode,
  FsError,
  type NodeId,
  type PeerKey,
  type VolumeId,
} from '../../src/base/index.ts'
import { askOverNet, serveCopies } from '../../src/daemon/copies-net.ts'
import type { Handler } from '../../src/net/index.ts'
import {
  type Addressed,
  type Answer,
  encodeAnswer,
  encodeRequest,
  type Request,
} from '../../src/replication/index.ts'

const volume = '5e'.repeat(16) as VolumeId
const here = 'a1'.repeat(16) as NodeId
const there = 'a2'.repeat(16) as NodeId
const nowhere = 'a3'.repeat(16) as NodeId
const keyThere = 'b2'.repeat(32) as PeerKey
const copy = 'c1'.repeat(16) as CopyId
const chunk = 'cc'.repeat(16) as ChunkId
const epoch = 2 as Epoch
const signal = new AbortController().signal

const state: Request = { op: 'state', candidate: here }
const putChunk: Request = { op: 'putChunk', epoch, owner: here, chunk, bytes: Buffer.from('x') }
const readChunk: Request = { op: 'readChunk', chunk }
const grant: Request = { op: 'grant', epoch, owner: here }
const done: Answer = { kind: 'done' }

/** One node that asks, with a network that answers as the test says. */
function asking(answer: (service: string, body: Buffer) => Buffer) {
  const calls: { peer: PeerKey; service: string; lane: string | undefined }[] = []
  const local: Addressed<Request>[] = []
  const ask = askOverNet(volume, {
    node: here,
    copies: {
      async answer(asked) {
        local.push(asked)
        return done
      },
    },
    async call(peer, service, body, { lane }) {
      calls.push({ peer, service, lane })
      return answer(service, body)
    },
    peerOf: (node) => (node === there ? keyThere : null),
    generation: 2,
  })
  const to = (node: NodeId, message: Request) => ask({ id: copy, node }, message, { deadlineMs: 9 })
  return { to, calls, local }
}

async function codeOfRejection(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    return codeOf(error)
  }
  return ''
}

test('chunks go by the bulk lane, all else by the control lane, and to the own node nothing goes out', async () => {
  const { to, calls, local } = asking(() => encodeAnswer(done))
  for (const message of [state, grant, putChunk, readChunk]) {
    assert.equal(await to(there, message), done)
  }
  const control = { peer: keyThere, service: 'copy', lane: 'control' }
  const bulk = { peer: keyThere, service: 'copy.chunks', lane: 'bulk' }
  assert.equal(calls, [control, control, bulk, bulk])
  await to(here, grant)
  assert.is(calls.length, 4)
  assert.equal(local, [{ volume, copy, message: grant }])
})

test('whatever keeps another node from an answer is silence, but no room for a chunk', async () => {
  const expected: [ErrnoCode, Request, string][] = [
    ['EIO', grant, 'EHOSTUNREACH'],
    ['EPROTO', grant, 'EHOSTUNREACH'],
    ['EAGAIN', grant, 'EHOSTUNREACH'],
    ['EACCES', grant, 'EHOSTUNREACH'],
    ['ENOSPC', grant, 'EHOSTUNREACH'],
    ['ENOSPC', putChunk, 'ENOSPC'],
    ['ETIMEDOUT', grant, 'ETIMEDOUT'],
    ['ECONNRESET', grant, 'ECONNRESET'],
    ['EMSGSIZE', putChunk, 'EMSGSIZE'],
  ]
  for (const [code, message, told] of expected) {
    const { to } = asking(() => {
      throw new FsError(code, 'net.call', {})
    })
    assert.is(await codeOfRejection(to(there, message)), told, code)
  }
  const garbled = asking(() => Buffer.from('garbage'))
  assert.is(await codeOfRejection(garbled.to(there, state)), 'EHOSTUNREACH')
  assert.is(await codeOfRejection(garbled.to(nowhere, state)), 'EHOSTUNREACH')
})

test('a mistake of this program is not taken for silence', async () => {
  const { to } = asking(() => {
    throw new TypeError('a bug')
  })
  try {
    await to(there, state)
    assert.unreachable('nothing was thrown')
  } catch (error) {
    assert.instance(error, TypeError)
  }
})

test('a call is answered when it is understood, on its lane, and of who it says it is', async () => {
  const handlers = new Map<string, Handler>()
  const asked: Addressed<Request>[] = []
  serveCopies(
    { serve: (service, handler) => handlers.set(service, handler) },
    {
      async answer(request) {
        asked.push(request)
        return done
      },
    },
    (peer) => (peer === keyThere ? there : null),
    () => 2,
  )
  const call = (service: string, body: Buffer) => {
    const handler = handlers.get(service)
    assert.ok(handler)
    return handler({ peer: keyThere, role: 'member', body, sealed: null, signal })
  }
  const of = (message: Request, generation = 2) => {
    const prefix = Buffer.alloc(6)
    prefix.writeUIntLE(generation, 0, 6)
    return Buffer.concat([prefix, encodeRequest({ volume, copy, message })])
  }
  const mine: Request = { op: 'grant', epoch, owner: there }
  assert.equal(await call('copy', of(mine)), encodeAnswer(done))
  assert.equal(await call('copy.chunks', of(readChunk)), encodeAnswer(done))
  assert.equal(
    asked.map(({ message }) => message.op),
    ['grant', 'readChunk'],
  )
  assert.is(await codeOfRejection(call('copy', Buffer.from('garbage'))), 'EPROTO')
  assert.is(await codeOfRejection(call('copy', of(readChunk))), 'EPROTO')
  assert.is(await codeOfRejection(call('copy', of(grant))), 'EACCES')
  assert.is(await codeOfRejection(call('copy', of(state))), 'EACCES')
  assert.is(await codeOfRejection(call('copy', of(mine, 1))), 'ESTALE', 'of a past coordinator')
  assert.is(await codeOfRejection(call('copy', Buffer.from('x'))), 'EPROTO')
  assert.is(asked.length, 2, 'nothing of it reached a copy')
  assert.equal(await call('copy', of(mine, 3)), encodeAnswer(done), 'who has heard of a newer one')
})

test.run()
