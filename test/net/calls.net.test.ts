import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError, limits } from '../../src/base/index.ts'
import { connected, echo, inWorld, rejects, sleep, until } from './net-world.ts'

test('a call is answered, both ways, over one connection', () =>
  inWorld(async (world) => {
    const [a, b] = await world.pair()
    echo(a)
    echo(b)
    const options = { deadlineMs: 5000 }
    assert.equal(await a.net.call(b.key, 'echo', Buffer.from('to b'), options), Buffer.from('to b'))
    assert.equal(await b.net.call(a.key, 'echo', Buffer.from('to a'), options), Buffer.from('to a'))
    const empty = await a.net.call(b.key, 'echo', Buffer.alloc(0), options)
    assert.is(empty.length, 0)
    const [status] = a.net.peers()
    assert.is(status?.path, 'tcp')
    await until('a round trip is measured', () => (a.net.peers()[0]?.rttMs ?? 0) > 0)
  }))

test('calls begin at the other side in the order in which they were made', () =>
  inWorld(async (world) => {
    const [a, b] = await world.pair()
    const seen: number[] = []
    b.net.serve(
      'note',
      async ({ body }) => {
        seen.push(body.readUInt32LE())
        return Buffer.alloc(0)
      },
      { lane: 'control' },
    )
    const calls = Array.from({ length: 2 * limits.netCallsMax }, (_, i) => {
      // Sizes differ, so that small ones could overtake large ones.
      const body = Buffer.alloc(i % 7 === 0 ? 1024 * 1024 : 4)
      body.writeUInt32LE(i)
      return a.net.call(b.key, 'note', body, { deadlineMs: 20_000 })
    })
    await Promise.all(calls)
    assert.equal(
      seen,
      calls.map((_, i) => i),
    )
  }))

test('an error comes out with the code, the words and the advice of the peer', () =>
  inWorld(async (world) => {
    const [a, b] = await world.pair()
    b.net.serve(
      'fail',
      () => Promise.reject(new FsError('ESTALE', 'x', { retry: 'later', message: 'too old' })),
      { lane: 'control' },
    )
    const error = await rejects(
      a.net.call(b.key, 'fail', Buffer.alloc(0), { deadlineMs: 5000 }),
      'ESTALE',
    )
    assert.ok(error instanceof FsError)
    assert.is(error.message, 'too old')
    assert.is(error.retry, 'later')
  }))

test('what is no FsError is told as EIO without its words, and logged where it happened', () =>
  inWorld(async (world) => {
    const [a, b] = await world.pair()
    b.net.serve('fail', () => Promise.reject(new Error('secret inside')), { lane: 'control' })
    const call = a.net.call(b.key, 'fail', Buffer.alloc(0), { deadlineMs: 5000 })
    assert.not.match((await rejects(call, 'EIO')).message, /secret/)
    await until('it is logged', () =>
      b.lines.some(({ fields }) => fields.error === 'secret inside'),
    )
  }))

test('a service that is not there, or is served on the other lane, is refused', () =>
  inWorld(async (world) => {
    const [a, b] = await world.pair()
    echo(b, 'bulk')
    const options = { deadlineMs: 5000 }
    await rejects(a.net.call(b.key, 'nothing', Buffer.alloc(0), options), 'EOPNOTSUPP')
    await rejects(a.net.call(b.key, 'echo', Buffer.alloc(0), options), 'EINVAL')
    const answer = await a.net.call(b.key, 'echo', Buffer.from('x'), { ...options, lane: 'bulk' })
    assert.is(answer.toString(), 'x')
  }))

test('the deadline ends a call, and the handler is told', () =>
  inWorld(async (world) => {
    const [a, b] = await world.pair()
    let stopped = false
    b.net.serve(
      'hang',
      ({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            stopped = true
            reject(signal.reason)
          })
        }),
      { lane: 'control' },
    )
    const startedMs = performance.now()
    await rejects(a.net.call(b.key, 'hang', Buffer.alloc(0), { deadlineMs: 300 }), 'ETIMEDOUT')
    assert.ok(performance.now() - startedMs < 2000)
    await until('the handler was told', () => stopped)
  }))

test('an abort ends a call at once and reaches the handler', () =>
  inWorld(async (world) => {
    const [a, b] = await world.pair()
    let begun = false
    let reason: unknown
    b.net.serve(
      'hang',
      ({ signal }) => {
        begun = true
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            reason = signal.reason
            reject(signal.reason)
          })
        })
      },
      { lane: 'control' },
    )
    const stop = new AbortController()
    const call = a.net.call(b.key, 'hang', Buffer.alloc(0), {
      deadlineMs: 60_000,
      signal: stop.signal,
    })
    await until('it began', () => begun)
    stop.abort()
    await rejects(call, 'ECANCELED')
    await until(
      'the handler was told',
      () => reason instanceof FsError && reason.code === 'ECANCELED',
    )
    // Its place is free again, and the connection is as before.
    echo(b)
    await a.net.call(b.key, 'echo', Buffer.alloc(0), { deadlineMs: 5000 })
  }))

test('places of calls that were given up are free again once answered', () =>
  inWorld(async (world) => {
    const [a, b] = await world.pair()
    echo(b)
    b.net.serve(
      'hang',
      ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      { lane: 'control' },
    )
    for (let round = 0; round < 3; round++) {
      const calls = Array.from({ length: limits.netCallsMax + 50 }, () =>
        rejects(a.net.call(b.key, 'hang', Buffer.alloc(0), { deadlineMs: 300 }), 'ETIMEDOUT'),
      )
      await Promise.all(calls)
    }
    await a.net.call(b.key, 'echo', Buffer.alloc(0), { deadlineMs: 5000 })
  }))

test('a body too large is refused here, an answer too large there', () =>
  inWorld(async (world) => {
    const [a, b] = await world.pair()
    echo(b)
    b.net.serve('big', async () => Buffer.alloc(limits.netBodyBytesMax + 1), { lane: 'control' })
    const options = { deadlineMs: 10_000 }
    const large = Buffer.alloc(limits.netBodyBytesMax + 1)
    await rejects(a.net.call(b.key, 'echo', large, options), 'EMSGSIZE')
    await rejects(a.net.call(b.key, 'big', Buffer.alloc(0), options), 'EMSGSIZE')
    const most = await a.net.call(b.key, 'echo', large.subarray(1), options)
    assert.is(most.length, limits.netBodyBytesMax)
  }))

test('64 MiB of bulk beside it do not hold control back', () =>
  inWorld(async (world) => {
    const [a, b] = await world.pair()
    echo(b)
    b.net.serve('chunk', async ({ body }) => body.subarray(0, 8), { lane: 'bulk' })
    await until('connected', () => connected(a, b))
    const chunk = Buffer.alloc(limits.chunkBytesMax, 7)
    let left = 16
    const bulk = Array.from({ length: left }, async () => {
      await a.net.call(b.key, 'chunk', chunk, { lane: 'bulk', deadlineMs: 30_000 })
      left--
    })
    let slowestMs = 0
    let calls = 0
    while (left > 0) {
      const startedMs = performance.now()
      await a.net.call(b.key, 'echo', Buffer.from('beat'), { deadlineMs: 5000 })
      slowestMs = Math.max(slowestMs, performance.now() - startedMs)
      calls++
    }
    await Promise.all(bulk)
    assert.ok(calls > 3, `${calls} control calls beside the bulk`)
    assert.ok(slowestMs < 500, `the slowest took ${slowestMs} ms`)
  }))

test('calls under way to a node that closes fail, and so do later ones of its own', () =>
  inWorld(async (world) => {
    const [a, b] = await world.pair()
    b.net.serve('hang', () => new Promise(() => {}), { lane: 'control' })
    const call = rejects(
      a.net.call(b.key, 'hang', Buffer.alloc(0), { deadlineMs: 20_000 }),
      'ECONNRESET',
    )
    await until('connected', () => connected(a, b))
    await sleep(50)
    await b.net.close()
    await call
    await rejects(b.net.call(a.key, 'echo', Buffer.alloc(0), { deadlineMs: 1000 }), 'ECANCELED')
  }))

test.run()
