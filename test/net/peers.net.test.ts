import { type ChildProcess, spawn } from 'node:child_process'
import { createServer, type Socket } from 'node:net'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PeerKey } from '../../src/base/index.ts'
import { newIdentity } from '../../src/crypto/index.ts'
import type { PeerChange } from '../../src/net/index.ts'
import { outranks } from '../../src/net/peer-lane.ts'
import { connected, echo, inWorld, keyOf, rejects, sleep, until } from './net-world.ts'

const NODE = new URL('./node-process.js', import.meta.url).pathname

test('of two connections both sides keep the same one', () => {
  const [small, large] = ['00' as PeerKey, 'ff' as PeerKey]
  const standings = (['tcp', 'udx'] as const).flatMap((path) =>
    [small, large].flatMap((dialledBy) => [1, 2].map((dial) => ({ path, dialledBy, dial }))),
  )
  for (const a of standings)
    for (const b of standings) if (a !== b) assert.is(outranks(a, b), !outranks(b, a))
  assert.ok(
    outranks(
      { path: 'tcp', dialledBy: large, dial: 1 },
      { path: 'udx', dialledBy: small, dial: 2 },
    ),
  )
})

test('both dial at once, again and again: one connection per lane is left and no call is lost', () =>
  inWorld(async (world) => {
    for (let round = 0; round < 10; round++) {
      const [a, b] = [await world.open(), await world.open()]
      echo(a)
      echo(b)
      const options = { deadlineMs: 10_000 }
      a.net.addresses(b.key, [b.address])
      b.net.addresses(a.key, [a.address])
      const calls = Array.from({ length: 20 }, async (_, i) => {
        await sleep(i)
        await a.net.call(b.key, 'echo', Buffer.from('x'), options)
        await b.net.call(a.key, 'echo', Buffer.from('x'), options)
      })
      await Promise.all(calls)
      await until('two lanes at both', () =>
        [a, b].every(({ net }) => net.peers()[0]?.connections === 2),
      )
      await Promise.all([a.net.close(), b.net.close()])
    }
  }))

test('a peer that was killed in mid-call breaks the call, and is called again when it is back', () =>
  inWorld(async (world) => {
    const a = await world.open()
    const identity = newIdentity()
    const key = keyOf(identity)
    world.member(key)
    let child = await startNode(identity.seed, a.key, 0)
    try {
      a.net.addresses(key, [`127.0.0.1:${child.port}`])
      const changes: PeerChange[] = []
      a.net.onPeer((change) => changes.push(change))
      const call = a.net.call(key, 'hang', Buffer.alloc(0), { deadlineMs: 20_000 })
      const broken = rejects(call, 'ECONNRESET')
      await until('up', () => changes.some(({ up }) => up))
      await sleep(100)
      child.process.kill('SIGKILL')
      await broken
      await until('down', () => changes.some(({ up, why }) => !up && why !== ''))
      const { port } = child
      const later = a.net.call(key, 'echo', Buffer.from('back'), { deadlineMs: 20_000 })
      child = await startNode(identity.seed, a.key, port)
      assert.is((await later).toString(), 'back')
      assert.is(changes.at(-1)?.up, true)
    } finally {
      child.process.kill('SIGKILL')
    }
  }))

test('a peer that was started anew takes the place of its former life at once', () =>
  inWorld(async (world) => {
    const [a, b] = [await world.open(), await world.open()]
    b.net.addresses(a.key, [a.address])
    await until('the first is connected', () => connected(a, b) && connected(b, a))
    // It does not come back, but its connection stays as it is, as after a cut of power.
    b.net.addresses(a.key, [])
    const again = await world.open({ identity: b.identity })
    echo(again)
    const changes: PeerChange[] = []
    again.net.onPeer((change) => changes.push(change))
    again.net.addresses(a.key, [a.address])
    await until('the first is replaced', () => !connected(b, a))
    const answer = await a.net.call(b.key, 'echo', Buffer.from('new'), { deadlineMs: 5000 })
    assert.is(answer.toString(), 'new')
    assert.equal(
      changes.map(({ up }) => up),
      [true],
    )
  }))

test('a peer that is stopped and silent is down within seconds, and up when it goes on', () =>
  inWorld(async (world) => {
    const a = await world.open()
    const identity = newIdentity()
    const key = keyOf(identity)
    world.member(key)
    const child = await startNode(identity.seed, a.key, 0)
    try {
      a.net.addresses(key, [`127.0.0.1:${child.port}`])
      await a.net.call(key, 'echo', Buffer.alloc(0), { deadlineMs: 5000 })
      child.process.kill('SIGSTOP')
      const stoppedMs = performance.now()
      await until('down', () => a.net.peers()[0]?.connected === false)
      const seconds = (performance.now() - stoppedMs) / 1000
      assert.ok(seconds > 3 && seconds < 8, `down after ${seconds} s`)
      assert.match(a.net.peers()[0]?.lastError ?? '', /silent/)
      child.process.kill('SIGCONT')
      await a.net.call(key, 'echo', Buffer.alloc(0), { deadlineMs: 20_000 })
    } finally {
      child.process.kill('SIGKILL')
    }
  }))

test('a call with no way to the peer says why', () =>
  inWorld(async (world) => {
    const [a, gone] = [await world.open(), await world.open()]
    const call = (deadlineMs: number) =>
      rejects(a.net.call(gone.key, 'echo', Buffer.alloc(0), { deadlineMs }), 'EHOSTUNREACH')
    assert.match((await call(200)).message, /no address/)
    await gone.net.close()
    a.net.addresses(gone.key, [gone.address])
    assert.match((await call(1000)).message, /127\.0\.0\.1:\d+ refused the connection/)
    a.roles.set(gone.key, null)
    assert.match((await call(1000)).message, /not a member/)
    const self = a.net.call(a.key, 'echo', Buffer.alloc(0), { deadlineMs: 1000 })
    assert.match((await rejects(self, 'EHOSTUNREACH')).message, /itself/)
  }))

test('a call may wait for a connection for less long than for its answer', () =>
  inWorld(async (world) => {
    const [a, b, gone] = [await world.open(), await world.open(), await world.open()]
    await gone.net.close()
    a.net.addresses(gone.key, [gone.address])
    const options = { deadlineMs: 60_000, connectMs: 100 }
    await rejects(a.net.call(gone.key, 'slow', Buffer.alloc(0), options), 'EHOSTUNREACH')
    const answer = async () => {
      await sleep(300)
      return Buffer.from('late')
    }
    b.net.serve('slow', answer, { lane: 'control' })
    a.net.addresses(b.key, [b.address])
    await until('connected', () => a.net.peers().some(({ connected }) => connected))
    assert.is((await a.net.call(b.key, 'slow', Buffer.alloc(0), options)).toString(), 'late')
  }))

test('an address where nobody answers is given up after its time, and the next one is tried meanwhile', () =>
  inWorld(async (world) => {
    const silent: Socket[] = []
    const trap = createServer((socket) => silent.push(socket))
    await new Promise<void>((done) => trap.listen(0, '127.0.0.1', done))
    try {
      const { port } = trap.address() as { port: number }
      const [a, b, lost] = [await world.open(), await world.open(), await world.open()]
      echo(b)
      a.net.addresses(b.key, [`127.0.0.1:${port}`, b.address])
      await a.net.call(b.key, 'echo', Buffer.alloc(0), { deadlineMs: 2000 })
      a.net.addresses(lost.key, [`127.0.0.1:${port}`])
      const call = a.net.call(lost.key, 'echo', Buffer.alloc(0), { deadlineMs: 7000 })
      assert.match((await rejects(call, 'EHOSTUNREACH')).message, /did not answer within 5000 ms/)
    } finally {
      for (const socket of silent) socket.destroy()
      trap.close()
    }
  }))

test('another key at a known address is refused by who dials', () =>
  inWorld(async (world) => {
    const [a, b, impostor] = [await world.open(), await world.open(), await world.open()]
    echo(impostor)
    await b.net.close()
    a.net.addresses(b.key, [impostor.address])
    const call = a.net.call(b.key, 'echo', Buffer.alloc(0), { deadlineMs: 1500 })
    assert.match((await rejects(call, 'EHOSTUNREACH')).message, /another key than expected/)
    assert.is(connected(a, b), false)
    assert.is(impostor.net.peers().length, 0)
  }))

test('a peer that is dropped is gone at once, its calls fail, and it does not come back', () =>
  inWorld(async (world) => {
    const [a, b] = await world.pair()
    echo(a)
    b.net.serve('hang', () => new Promise(() => {}), { lane: 'control' })
    const call = a.net.call(b.key, 'hang', Buffer.alloc(0), { deadlineMs: 20_000 })
    const broken = rejects(call, 'EHOSTUNREACH')
    await until('connected', () => connected(a, b) && connected(b, a))
    b.net.addresses(a.key, [a.address])
    a.roles.set(b.key, null)
    a.net.drop(b.key)
    await broken
    await until('down at the other side too', () => !connected(b, a))
    const again = b.net.call(a.key, 'echo', Buffer.alloc(0), { deadlineMs: 1500 })
    assert.match((await rejects(again, 'EHOSTUNREACH')).message, /not a member there/)
    assert.equal(a.net.peers(), [])
  }))

test('who is no longer a member is refused at its next call, even when nobody dropped it', () =>
  inWorld(async (world) => {
    const [a, b] = await world.pair()
    echo(b)
    await a.net.call(b.key, 'echo', Buffer.alloc(0), { deadlineMs: 5000 })
    b.roles.set(a.key, null)
    const call = a.net.call(b.key, 'echo', Buffer.alloc(0), { deadlineMs: 1500 })
    await call.then(
      () => assert.unreachable('answered'),
      () => {},
    )
    await until('dropped', () => b.net.peers().length === 0)
  }))

test('a peer that nobody told of is forgotten when it goes', () =>
  inWorld(async (world) => {
    const [a, b] = await world.pair()
    await until('connected', () => connected(b, a))
    await a.net.close()
    await until('forgotten', () => b.net.peers().length === 0)
  }))

interface NodeProcess {
  readonly process: ChildProcess
  readonly port: number
}

async function startNode(seed: Buffer, member: PeerKey, port: number): Promise<NodeProcess> {
  const child = spawn(process.execPath, [NODE, seed.toString('hex'), member, String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part
  })
  await until('the child listens', () => text.includes('\n'))
  return { process: child, port: Number(text) }
}

test.run()
