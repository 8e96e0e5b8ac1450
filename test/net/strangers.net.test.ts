import { connect, type Socket } from 'node:net'
import type NoiseSecretStream from '@hyperswarm/secret-stream'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { limits } from '../../src/base/index.ts'
import { newIdentity } from '../../src/crypto/index.ts'
import { seeded } from '../support/seeded.ts'
import { echo, inWorld, keyOf, type Node, rejects, sleep, until } from './net-world.ts'
import { type RawPeer, rawPeer, rawStream } from './raw-peer.ts'

const EMPTY = Buffer.alloc(0)

/** It still answers a member that comes now. */
async function stillServes(node: Node, member: Node): Promise<void> {
  member.net.addresses(node.key, [node.address])
  const answer = await member.net.call(node.key, 'echo', Buffer.from('still'), {
    deadlineMs: 10_000,
  })
  assert.is(answer.toString(), 'still')
}

/** Long before it would be closed for its silence. */
async function closesAtOnce(peer: RawPeer, what: string): Promise<void> {
  const late = sleep(3000).then(() => assert.unreachable(`${what} was tolerated`))
  await Promise.race([peer.closed, late])
}

test('a stranger is refused in the handshake and logged, and is told so in words', () =>
  inWorld(async (world) => {
    const [a, stranger] = [await world.open(), await world.open()]
    echo(a)
    a.roles.set(stranger.key, null)
    stranger.net.addresses(a.key, [a.address])
    const call = stranger.net.call(a.key, 'echo', EMPTY, { deadlineMs: 1500 })
    assert.match((await rejects(call, 'EHOSTUNREACH')).message, /not a member there/)
    const line = a.lines.find(({ message }) => message.includes('refused'))
    assert.is(line?.level, 'warn')
    assert.is(line?.fields.peer, stranger.key)
    assert.match(String(line?.fields.from), /^127\.0\.0\.1:\d+$/)
    assert.equal(a.net.peers(), [])
  }))

test('refusals are counted and not each logged', () =>
  inWorld(async (world) => {
    const a = await world.open()
    for (let i = 0; i < 50; i++) {
      const stream = await rawStream(a, newIdentity())
      stream.destroy()
    }
    const lines = () => a.lines.filter(({ message }) => message.includes('refused'))
    await until('one is logged', () => lines().length > 0)
    assert.ok(lines().length < 10, `${lines().length} lines`)
  }))

test('a guest may call what is open to guests and nothing else, until it is a member', () =>
  inWorld(async (world) => {
    const [a, guest] = [await world.open(), await world.open()]
    echo(a)
    a.net.serve('join', async ({ role }) => Buffer.from(role), { lane: 'control', guests: true })
    a.roles.set(guest.key, 'guest')
    guest.net.addresses(a.key, [a.address])
    const options = { deadlineMs: 5000 }
    assert.is((await guest.net.call(a.key, 'join', EMPTY, options)).toString(), 'guest')
    await rejects(guest.net.call(a.key, 'echo', EMPTY, options), 'EACCES')
    a.roles.set(guest.key, 'member')
    await guest.net.call(a.key, 'echo', EMPTY, options)
  }))

test('guests are bounded in number', () =>
  inWorld(async (world) => {
    const a = await world.open({ admit: () => 'guest' })
    const streams: NoiseSecretStream[] = []
    for (let i = 0; i < limits.netGuestsMax + 30; i++)
      await rawPeer(a, newIdentity()).then(
        ({ stream }) => streams.push(stream),
        () => {},
      )
    const open = () => streams.filter(({ destroying }) => !destroying).length
    await until('those too many are closed', () => open() === limits.netGuestsMax)
    assert.is(a.net.peers().length, limits.netGuestsMax)
    for (const stream of streams) stream.destroy()
  }))

test('a first message of another length than a dialler sends ends the connection at once', () =>
  inWorld(async (world) => {
    const a = await world.open()
    const socket = connect({ host: '127.0.0.1', port: a.net.port })
    const closed = new Promise<void>((done) => socket.once('close', () => done()))
    socket.on('error', () => {})
    // It announces 16 MiB, which nobody sets aside.
    socket.write(Buffer.alloc(99, 255))
    const late = sleep(2000).then(() => assert.unreachable('waited for the rest'))
    await Promise.race([closed, late])
  }))

test('2000 connections that send garbage or nothing are survived, and most are closed', () =>
  inWorld(async (world) => {
    const [a, b] = [await world.open(), await world.open()]
    echo(a)
    const random = seeded(1)
    const before = process.memoryUsage().rss
    const sockets: Socket[] = []
    try {
      for (let i = 0; i < 2000; i++) {
        const socket = connect({ host: '127.0.0.1', port: a.net.port })
        sockets.push(socket)
        socket.on('error', () => {})
        const garbage = i % 4
        if (garbage === 1) socket.write(random.bytes(1 + random.below(200)))
        // The length of an honest first message, and of the largest.
        if (garbage === 2) socket.write(Buffer.concat([Buffer.from([96, 0, 0]), random.bytes(96)]))
        if (garbage === 3)
          socket.write(Buffer.concat([Buffer.from([255, 255, 255]), random.bytes(64)]))
        // Not faster than they are accepted: beyond the backlog the kernel keeps them to itself.
        if (i % 100 === 99) await until('connected', () => !socket.connecting)
      }
      await stillServes(a, b)
      const left = () => sockets.filter(({ readyState }) => readyState === 'open').length
      // Before their deadline.
      await until('all but the bound are closed', () => left() <= limits.netHandshakesMax, 2500)
      const grownMiB = (process.memoryUsage().rss - before) / 1024 / 1024
      assert.ok(grownMiB < 200, `grew by ${grownMiB} MiB`)
      await until('the silent ones too, at their deadline', () => left() === 0)
    } finally {
      for (const socket of sockets) socket.destroy()
    }
  }))

test('garbage from a member ends its connection and nothing else', () =>
  inWorld(async (world) => {
    const [a, b] = [await world.open(), await world.open()]
    echo(a)
    const member = newIdentity()
    world.member(keyOf(member))
    const random = seeded(Number(process.env.WEFT_SEED ?? 1))
    for (let round = 0; round < 300; round++) {
      const stream = await rawStream(a, member)
      const closed = new Promise<void>((done) => stream.once('close', () => done()))
      // Read, or the end never comes.
      stream.on('data', () => {})
      for (let i = 0; i < 20; i++) {
        const bytes = random.bytes(1 + random.below(40))
        // protomux: 0 is its control session; 0 batch, 1 open, 2 reject, 3 close.
        if (i % 2 === 0) bytes[0] = 0
        if (i % 2 === 0 && bytes.length > 1) bytes[1] = random.below(5)
        stream.write(bytes)
      }
      stream.end()
      await closed
    }
    await stillServes(a, b)
  }))

test('garbage behind a proper greeting ends the connection and nothing else', () =>
  inWorld(async (world) => {
    const [a, b] = [await world.open(), await world.open()]
    echo(a)
    const member = newIdentity()
    world.member(keyOf(member))
    const bad: [Buffer, string][] = [
      [Buffer.from([9]), 'a kind that does not exist'],
      [Buffer.from([2, 1, 0, 0, 0, 0, 0, 0, 0]), 'an answer that was not asked for'],
      [Buffer.from([6, 1, 0, 0, 0]), 'a pong that was not asked for'],
      [Buffer.from([4, 1]), 'a cancel cut short'],
      [Buffer.alloc(0), 'nothing'],
    ]
    for (const [head, what] of bad) {
      const peer = await rawPeer(a, member)
      peer.send({ head, body: EMPTY })
      await closesAtOnce(peer, what)
    }
    await stillServes(a, b)
  }))

test('a peer that has more calls under way than allowed is dropped', () =>
  inWorld(async (world) => {
    const a = await world.open()
    a.net.serve('hang', () => new Promise(() => {}), { lane: 'bulk' })
    const member = newIdentity()
    world.member(keyOf(member))
    const many = await rawPeer(a, member)
    for (let id = 1; id <= limits.netCallsMax + 1; id++)
      many.send({ kind: 'request', id, service: 'hang', body: EMPTY })
    await closesAtOnce(many, 'one call too many')
    const large = await rawPeer(a, member)
    const body = Buffer.alloc(limits.netBodyBytesMax)
    for (let id = 1; id <= 3; id++) large.send({ kind: 'request', id, service: 'hang', body })
    await closesAtOnce(large, 'a body too many')
  }))

test('a peer that asks much and reads nothing is worked for within bounds', () =>
  inWorld(async (world) => {
    const a = await world.open()
    let begun = 0
    a.net.serve(
      'chunk',
      async () => {
        begun++
        return Buffer.alloc(limits.chunkBytesMax)
      },
      { lane: 'bulk' },
    )
    const member = newIdentity()
    world.member(keyOf(member))
    const peer = await rawPeer(a, member)
    for (let id = 1; id <= 200; id++)
      peer.send({ kind: 'request', id, service: 'chunk', body: EMPTY })
    peer.stream.pause()
    await until('it begins', () => begun > 0)
    await sleep(1500)
    const most = limits.netWindowBytes / limits.chunkBytesMax + 2 * limits.netBulkHandlersMax
    assert.ok(begun <= most, `${begun} answers of 4 MiB were made, at most ${most} expected`)
    peer.stream.resume()
    await until('all are answered once it reads', () => begun === 200, 20_000)
    peer.stream.destroy()
  }))

test.run()
