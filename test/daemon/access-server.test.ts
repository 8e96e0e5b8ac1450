import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  codeOf,
  type NodeId,
  type PeerKey,
  silentLog,
  type VolumeNumber,
} from '../../src/base/index.ts'
import type { AccessHost, AccessRequest } from '../../src/daemon/access-host.ts'
import { ACCESS_SERVICE, AccessServer } from '../../src/daemon/access-server.ts'
import { encodeAccessCall } from '../../src/daemon/access-wire.ts'
import type { NodeVolume } from '../../src/daemon/volumes.ts'
import type { Handler } from '../../src/net/index.ts'
import { HandClock } from '../cluster/world.ts'
import * as kernel from '../support/fuse-requests.ts'

const NUMBER = 3 as VolumeNumber
const THERE = 'a2'.repeat(16) as NodeId
const PEER = 'b2'.repeat(32) as PeerKey
const SESSION = 77
const signal = new AbortController().signal

/** An owner whose access thread says how often it has executed something. */
async function owner() {
  const executed: bigint[] = []
  const ended: number[] = []
  const clock = new HandClock()
  const waits: { share: Promise<void> | null; request: Promise<null> | null } = {
    share: null,
    request: null,
  }
  const access = {
    opens: () => {},
    endSession: (_: VolumeNumber, session: number) => ended.push(session),
    request: async ({ frame }: AccessRequest) => {
      if (waits.request) return await waits.request
      const unique = Buffer.from(frame.buffer).readBigUInt64LE(8)
      executed.push(unique)
      return Buffer.from(`answer ${executed.length}`)
    },
  }
  const volume = {
    stored: { record: { name: 'v', id: 'cc'.repeat(16) } },
    shared: { epoch: 5, lineFirst: 5, isLeaving: false },
    closed: null,
    before: [],
    isShared: true,
  }
  const server = new AccessServer({
    access: access as unknown as AccessHost,
    volume: () => volume as unknown as NodeVolume,
    isMoving: () => false,
    stagingOf: () => '/nowhere',
    share: async () => {
      await waits.share
    },
    unshare: async () => {},
    nameOf: () => 'there',
    peerOf: () => PEER,
    call: () => Promise.reject(new Error('nothing is revoked')),
    asked: () => {},
    node: 'a1'.repeat(16) as NodeId,
    boot: 'b0',
    clock,
    log: silentLog,
  })
  const handlers = new Map<string, Handler>()
  server.serve({ serve: (service, handler) => handlers.set(service, handler) }, () => THERE)
  const call = async (op: 'state' | 'request', frame: Buffer, oldest: bigint) => {
    const asker = { number: NUMBER, session: SESSION, flags: 0, keepsNames: true }
    const wants = { postAttributes: true, fileMap: false }
    const body = encodeAccessCall({ op, ...asker, ...wants, oldest, frame })
    const handler = handlers.get(ACCESS_SERVICE.control) as Handler
    return await handler({ peer: PEER, role: 'member', body, sealed: null, signal })
  }
  await call('state', Buffer.from('{"life":null,"opens":[]}'), 0n)
  const make = (unique: bigint, oldest: bigint) =>
    call(
      'request',
      kernel.mkdir(kernel.nodeId(NUMBER, 1), `d${unique}`, 0o755, 0, { unique }),
      oldest,
    )
  return { server, executed, make, volume, ended, clock, waits }
}

test('a change that comes again is answered and not executed, also when one that came later came first', async () => {
  const { server, executed, make } = await owner()
  const first = await make(100n, 100n)
  await make(108n, 100n)
  // The next daemon of that node: the kernel asks again in no order, and what it asks first is the oldest known there.
  await make(108n, 108n)
  assert.equal(await make(100n, 100n), first)
  assert.equal(executed, [100n, 108n])
  server.close()
})

test('answers that have arrived do not pile up', async () => {
  const { server, executed, make } = await owner()
  const count = 3000n
  for (let unique = 1n; unique <= count; unique++) await make(unique, unique)
  assert.is(BigInt(executed.length), count)
  await make(1n, count)
  assert.is(BigInt(executed.length), count + 1n, 'the first one is not known any more')
  server.close()
})

test('a session that is not heard of for a term is over, but not one that went with the volume to another owner', async () => {
  for (const [isBack, over] of [
    [false, [SESSION]],
    [true, []],
  ] as const) {
    const { server, volume, ended, clock } = await owner()
    // Another node owned it meanwhile, and its sessions are stated to this one only now.
    if (isBack) volume.shared.epoch += 2
    for (let second = 0; second < 12; second++) clock.advance(1000)
    assert.equal(ended, over)
    server.close()
  }
})

test('a request that waits longer than its session lives is not executed, and its node is told so', async () => {
  for (const where of ['share', 'request'] as const) {
    const { server, executed, make, ended, clock, waits } = await owner()
    let goOn: () => void = () => {}
    const waiting = new Promise<null>((resolve) => {
      goOn = () => resolve(null)
    })
    if (where === 'share') waits.share = waiting.then(() => {})
    else waits.request = waiting
    const made = make(100n, 100n).then(() => 'executed', codeOf)
    for (let second = 0; second < 12; second++) {
      await new Promise((resolve) => setImmediate(resolve))
      clock.advance(1000)
    }
    assert.equal(ended, [SESSION])
    goOn()
    assert.is(await made, 'ESTALE')
    assert.equal(executed, [])
    server.close()
  }
})

test.run()
