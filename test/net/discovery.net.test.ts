import { createSocket } from 'node:dgram'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Clock, systemClock } from '../../src/base/index.ts'
import { newIdentity } from '../../src/crypto/index.ts'
import { tcpMsBeforeUdx } from '../../src/net/net.ts'
import { connected, echo, inWorld, type NetWorld, type Node, rejects, until } from './net-world.ts'

const TOPIC = Buffer.alloc(32, 7)

/** A node of a machine of its own, as far as addresses go. */
function openAt(
  world: NetWorld,
  host: string,
  bootstrap: string[],
  clock: Clock = systemClock(),
): Promise<Node> {
  return world.open({
    clock,
    listen: { host, port: 0 },
    advertise: [`${host}:0`],
    topic: TOPIC,
    bootstrap,
  })
}

test('three nodes that know one bootstrap node find each other by topic', () =>
  inWorld(async (world) => {
    const a = await openAt(world, '127.0.0.2', [])
    const b = await openAt(world, '127.0.0.3', [a.address])
    const c = await openAt(world, '127.0.0.4', [a.address])
    const nodes = [a, b, c]
    for (const node of nodes) echo(node)
    await until(
      'each is connected to the other two',
      () => nodes.every((node) => nodes.every((peer) => peer === node || connected(node, peer))),
      30_000,
    )
    const answer = await b.net.call(c.key, 'echo', Buffer.from('hello'), { deadlineMs: 5000 })
    assert.is(answer.toString(), 'hello')
  }))

test('two nodes are enough', () =>
  inWorld(async (world) => {
    const a = await openAt(world, '127.0.0.2', [])
    const b = await openAt(world, '127.0.0.3', [a.address])
    await until('connected', () => connected(a, b) && connected(b, a), 30_000)
  }))

test('without TCP the calls go over UDX, and bulk moves to TCP once that is there', () =>
  inWorld(async (world) => {
    const real = systemClock()
    const { after } = real
    let tcpReaches = false
    let aheadMs = 0
    const clock: Clock = {
      ...real,
      monotonicMs: () => real.monotonicMs() + aheadMs,
      // TCP is given up as soon as it is begun.
      after: (ms, call) => {
        if (tcpReaches || ms !== tcpMsBeforeUdx) return after(ms, call)
        call()
        return () => {}
      },
    }
    const open = (host: string, bootstrap: string[]) => openAt(world, host, bootstrap, clock)
    const a = await open('127.0.0.2', [])
    const b = await open('127.0.0.3', [a.address])
    echo(b)
    b.net.serve('chunk', async ({ body }) => Buffer.from(body), { lane: 'bulk' })
    b.net.serve(
      'both',
      async ({ body, sealed }) => Buffer.concat([body, sealed ?? Buffer.alloc(0)]),
      { lane: 'bulk' },
    )
    await until('connected', () => connected(a, b), 30_000)
    const options = { deadlineMs: 30_000 }
    const chunk = Buffer.alloc(4 * 1024 * 1024, 3)
    const paths = async () => {
      assert.is((await a.net.call(b.key, 'echo', Buffer.from('x'), options)).toString(), 'x')
      const answer = await a.net.call(b.key, 'chunk', chunk, { ...options, lane: 'bulk' })
      assert.ok(answer.equals(chunk))
      // Beside the body over TCP, as its end over UDX.
      const asked = { ...options, lane: 'bulk', sealed: chunk } as const
      const both = await a.net.call(b.key, 'both', Buffer.from('x'), asked)
      assert.ok(both.equals(Buffer.concat([Buffer.from('x'), chunk])))
      const [status] = a.net.peers()
      return [status?.path, status?.bulkPath]
    }
    assert.equal(await paths(), ['udx', 'udx'])
    tcpReaches = true
    aheadMs = 61_000
    await until('bulk goes over TCP', () => a.net.peers()[0]?.bulkPath === 'tcp')
    assert.equal(await paths(), ['udx', 'tcp'])
  }))

test('a stranger that knows the topic is not let in', () =>
  inWorld(async (world) => {
    const a = await openAt(world, '127.0.0.2', [])
    const stranger = await openAt(world, '127.0.0.3', [a.address])
    a.roles.set(stranger.key, null)
    const call = stranger.net.call(a.key, 'echo', Buffer.alloc(0), { deadlineMs: 6000 })
    await rejects(call, 'EHOSTUNREACH')
    await until('it is logged', () => a.lines.some(({ message }) => message.includes('refused')))
    assert.equal(a.net.peers(), [])
  }))

test('the first node, and one whose bootstrap nodes are gone, start and stop at once', () =>
  inWorld(async (world) => {
    const startedMs = performance.now()
    const a = await openAt(world, '127.0.0.2', [])
    const b = await openAt(world, '127.0.0.3', ['127.0.0.9:49999', '127.0.0.8:49999'])
    const openedMs = performance.now()
    assert.ok(openedMs - startedMs < 2000, `opened after ${openedMs - startedMs} ms`)
    await Promise.all([a.net.close(), b.net.close()])
    const closeMs = performance.now() - openedMs
    assert.ok(closeMs < 3000, `closed after ${closeMs} ms`)
  }))

test('a node comes back after its bootstrap node was gone and is there again', () =>
  inWorld(async (world) => {
    const identity = newIdentity()
    const first = await world.open({
      identity,
      listen: { host: '127.0.0.2', port: 0 },
      advertise: ['127.0.0.2:0'],
      topic: TOPIC,
    })
    const { port } = first.net
    const b = await openAt(world, '127.0.0.3', [first.address])
    await until('connected', () => connected(b, first), 30_000)
    await first.net.close()
    await until('down', () => !connected(b, first))
    const again = await world.open({
      identity,
      listen: { host: '127.0.0.2', port },
      advertise: ['127.0.0.2:0'],
      topic: TOPIC,
    })
    await until('connected again', () => connected(b, again) && connected(again, b), 30_000)
  }))

test('a UDP port that is taken is an error that names it', () =>
  inWorld(async (world) => {
    const taken = createSocket('udp4')
    await new Promise<void>((done) => taken.bind(0, '127.0.0.2', done))
    try {
      const { port } = taken.address()
      const open = world.open({
        listen: { host: '127.0.0.2', port },
        advertise: ['127.0.0.2:0'],
        topic: TOPIC,
      })
      assert.match((await rejects(open, 'EADDRINUSE')).message, new RegExp(`UDP port ${port}`))
    } finally {
      taken.close()
    }
  }))

test.run()
