// deadline: 300 s
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError, ProtocolError, systemClock } from '../../src/base/index.ts'
import {
  type Change,
  type Coordinator,
  openEmbeddedCoordinator,
  RemoteCoordinator,
  serveCoordinator,
} from '../../src/coordinator/index.ts'
import { type Cursor, decodeAnswer, encodeRequest } from '../../src/coordinator/wire.ts'
import { coordinatorCases } from '../conformance/coordinator.ts'
import { sleep, until } from '../support/node-world.ts'
import { seeded } from '../support/seeded.ts'
import { thrownBy } from '../support/thrown.ts'
import { LossyLink, type Weather } from './lossy-link.ts'

const clock = systemClock()
const fair: Weather = { delayMsMax: 0, loseReads: 0, loseTransactions: 0 }
const foul: Weather = { delayMsMax: 4, loseReads: 15, loseTransactions: 0 }

interface World {
  readonly embedded: Coordinator
  readonly link: LossyLink
  close(): Promise<void>
}

async function openWorld(weather: Weather, seed = 1): Promise<World> {
  const base = mkdtempSync(join(tmpdir(), 'weft-served-'))
  const embedded = await openEmbeddedCoordinator(join(base, 'coordinator'))
  const link = new LossyLink(embedded, seeded(seed), clock, weather)
  await link.start()
  return {
    embedded,
    link,
    async close() {
      link.stop()
      await embedded.close()
      rmSync(base, { recursive: true, force: true })
    },
  }
}

for (const { name, run } of coordinatorCases) {
  test(`served: ${name}`, async () => {
    const world = await openWorld(fair)
    const client = world.link.client()
    try {
      await run(client)
    } finally {
      await client.close()
      await world.close()
    }
  })
}

let lostInAll = 0
for (const [i, { name, run }] of coordinatorCases.entries()) {
  test(`served over a link that delays and loses: ${name}`, async () => {
    const world = await openWorld(foul, i)
    const client = world.link.client(4000)
    try {
      await run(client)
      lostInAll += world.link.lost
    } finally {
      await client.close()
      await world.close()
    }
  })
}

test('the link did lose something', () => {
  assert.ok(lostInAll > 20, `only ${lostInAll} calls were lost`)
})

test('what one peer is answered, the next one reads: nothing is cached', async () => {
  const world = await openWorld(fair)
  const [one, other] = [world.link.client(), world.link.client()]
  try {
    for (let i = 0; i < 50; i++) {
      const now = await other.get('k')
      const { ok } = await one.compareAndSet('k', now?.version ?? 0, Buffer.from(String(i)))
      assert.ok(ok)
      assert.is((await other.get('k'))?.value.toString(), String(i))
    }
  } finally {
    await one.close()
    await other.close()
    await world.close()
  }
})

test('a list of many megabytes comes in pages and is one state, while others write', async () => {
  const world = await openWorld(fair)
  const client = world.link.client()
  try {
    const value = (round: number) => Buffer.alloc(300_000, round)
    const keys = Array.from({ length: 12 }, (_, i) => `k${String(i).padStart(2, '0')}`)
    const versions = new Map<string, number>()
    let stop = false
    const writer = (async () => {
      // All twelve by turns, three in one transaction: any state has each three alike.
      for (let round = 0; !stop; round++) {
        const three = keys.slice((round % 4) * 3, (round % 4) * 3 + 3)
        const done = await world.embedded.transaction(
          three.map((key) => ({
            key,
            expected: versions.get(key) ?? 0,
            value: value(round % 200),
          })),
        )
        assert.ok(done.ok)
        three.forEach((key, i) => {
          versions.set(key, done.versions[i] ?? 0)
        })
        await sleep(1)
      }
    })()
    await until('all keys are there', () => versions.size === keys.length)
    for (let round = 0; round < 5; round++) {
      const entries = await client.list('')
      assert.equal(
        entries.map(({ key }) => key),
        keys,
      )
      for (let i = 0; i < 12; i += 3) {
        const three = entries.slice(i, i + 3).map(({ version }) => version)
        assert.is(new Set(three).size, 1, `one state: ${three}`)
      }
      const spread = entries.map(({ version }) => version).sort((a, b) => a - b)
      assert.ok(
        (spread.at(-1) ?? 0) - (spread[0] ?? 0) <= 3,
        'the last four transactions and no others',
      )
    }
    stop = true
    await writer
  } finally {
    await client.close()
    await world.close()
  }
})

test('a transaction is sent once: without an answer it is open whether it was made, and a read tells', async () => {
  const world = await openWorld({ delayMsMax: 2, loseReads: 0, loseTransactions: 40 }, 7)
  const client = world.link.client(300)
  try {
    let made = 0
    let notMade = 0
    for (let i = 0; i < 60; i++) {
      const before = await client.get('count')
      const count = Number(before?.value.toString() ?? 0)
      const outcome = await client
        .compareAndSet('count', before?.version ?? 0, Buffer.from(String(count + 1)))
        .catch((error: unknown) => error)
      const after = Number((await client.get('count'))?.value.toString() ?? 0)
      if (outcome instanceof Error) {
        assert.instance(outcome, FsError)
        assert.is((outcome as FsError).retry, 'later')
        assert.match(outcome.message, /whether the change was made is not known/)
        assert.ok(after === count || after === count + 1)
        if (after === count) notMade++
        else made++
      } else {
        assert.ok((outcome as { ok: boolean }).ok)
        assert.is(after, count + 1, 'acknowledged, so made, once')
      }
    }
    assert.ok(made > 3 && notMade > 3, `both came: ${made} made, ${notMade} not`)
  } finally {
    await client.close()
    await world.close()
  }
})

test('a watcher loses nothing over broken connections and restarts of the server', async () => {
  const world = await openWorld({ delayMsMax: 3, loseReads: 10, loseTransactions: 0 }, 11)
  const client = world.link.client(400)
  const random = seeded(5)
  try {
    const stands = new Map<string, string>()
    const seen = new Map<string, string>()
    let last = 0
    await client.watch('k/', ({ key, value, version }: Change) => {
      assert.ok(version >= last, `${key}: ${version} after ${last}`)
      last = version
      if (value === null) assert.ok(seen.delete(key), `${key}: deleted twice`)
      else seen.set(key, value.toString())
    })
    for (let round = 0; round < 12; round++) {
      for (let i = 0; i < 25; i++) {
        const key = `k/${random.below(8)}`
        const version = (await world.embedded.get(key))?.version ?? 0
        const value = version > 0 && random.below(3) === 0 ? null : `${round}.${i}`
        await world.embedded.compareAndSet(key, version, value === null ? null : Buffer.from(value))
        if (value === null) stands.delete(key)
        else stands.set(key, value)
        if (random.below(10) === 0) await sleep(5)
        // In the middle of the writes: what follows finds nobody who keeps it.
        if (i === 12 && round % 2 === 0) world.link.stop()
      }
      if (round % 2 === 0) await world.link.start()
      await until(
        `round ${round}: the watcher knows what stands`,
        () =>
          stands.size === seen.size && [...stands].every(([key, value]) => seen.get(key) === value),
        15_000,
      )
    }
  } finally {
    await client.close()
    await world.close()
  }
})

test('a watcher that could not list after a restart compares as soon as it can', async () => {
  const world = await openWorld(fair)
  let lists = true
  const client = new RemoteCoordinator({
    clock,
    name: 'node-a',
    deadlineMs: 150,
    call: async (body, { signal }) => {
      if (body[1] === 2 && !lists) throw new Error('lost')
      return world.link.call(body, signal)
    },
  })
  try {
    const seen: string[] = []
    await client.watch('', ({ key }) => seen.push(key))
    world.link.stop()
    await world.embedded.compareAndSet('k', 0, Buffer.from('v'))
    lists = false
    await world.link.start()
    await sleep(500)
    lists = true
    await until('the change is told', () => seen.length > 0, 5000)
    assert.equal(seen, ['k'])
  } finally {
    await client.close()
    await world.close()
  }
})

test('a watcher whose cursor fell out of what the server keeps compares lists', async () => {
  const world = await openWorld(fair)
  const client = world.link.client()
  try {
    await world.embedded.compareAndSet('gone', 0, Buffer.from('x'))
    const seen: Change[] = []
    await client.watch('', (change) => seen.push(change))
    // Cut off without a restart, for more changes than are kept.
    world.link.weather = { ...fair, loseReads: 100 }
    let version = 0
    await world.embedded.compareAndSet('gone', 1, null)
    for (let i = 0; i < 5000; i++)
      ({ version } = await world.embedded.compareAndSet('busy', version, Buffer.from(String(i))))
    world.link.weather = fair
    await until('both keys are told of', () => seen.length >= 2, 15_000)
    assert.ok(seen.length < 100, `told one by one: ${seen.length}`)
    assert.equal(seen.at(-1)?.key === 'gone' ? seen.at(-1)?.value : seen.at(0)?.value, null)
    assert.ok(seen.some(({ key, value }) => key === 'busy' && value?.toString() === '4999'))
  } finally {
    await client.close()
    await world.close()
  }
})

test('with nobody there, reads and changes end at their deadline and say where they asked', async () => {
  const world = await openWorld(fair)
  const client = world.link.client(200)
  try {
    world.link.stop()
    const read = await thrownBy(client.get('k'))
    assert.is(read.code, 'ETIMEDOUT')
    assert.match(read.message, /coordinator on node-a: get: not answered within 200 ms/)
    assert.is((await thrownBy(client.list(''))).code, 'ETIMEDOUT')
    const change = await thrownBy(client.compareAndSet('k', 0, Buffer.from('v')))
    assert.match(change.message, /nobody serves there; whether the change was made is not known/)
    await world.link.start()
    assert.is(await client.get('k'), null)
  } finally {
    await client.close()
    await world.close()
  }
})

test('silence at one try leaves time for the next', async () => {
  let tries = 0
  const client = new RemoteCoordinator({
    clock,
    name: 'node-a',
    deadlineMs: 600,
    call: async () => (tries++ === 0 ? new Promise<Buffer>(() => {}) : Buffer.from([1, 2, 0])),
  })
  try {
    assert.is(await client.get('k'), null)
    assert.is(tries, 2)
  } finally {
    await client.close()
  }
})

test('closing ends the calls that wait, at once', async () => {
  const never = new RemoteCoordinator({
    clock,
    name: 'node-a',
    call: () => new Promise<Buffer>(() => {}),
  })
  const waiting = [never.get('k'), never.list(''), never.compareAndSet('k', 0, null)]
  const codes = Promise.all(waiting.map(async (call) => (await thrownBy(call)).code))
  await never.close()
  assert.equal(await codes, ['ECANCELED', 'ECANCELED', 'ECANCELED'])
})

test('garbage is ProtocolError at the server and EPROTO at the client', async () => {
  const world = await openWorld(fair)
  const served = await serveCoordinator(world.embedded, { clock, random: seeded(3) })
  try {
    const { signal } = new AbortController()
    const error = await served.answer('p', Buffer.from('nonsense'), signal).catch((e: unknown) => e)
    assert.instance(error, ProtocolError)
    const client = new RemoteCoordinator({
      clock,
      name: 'node-a',
      call: async () => Buffer.from('nonsense'),
    })
    assert.is((await thrownBy(client.get('k'))).code, 'EPROTO')
    await client.close()
  } finally {
    served.close()
    await world.close()
  }
})

test('polls of one peer wait up to a bound; what is refused comes later, and misses nothing', async () => {
  const world = await openWorld(fair)
  const served = await serveCoordinator(world.embedded, { clock, random: seeded(3) })
  const clients = Array.from({ length: 40 }, () => world.link.client())
  try {
    const { signal } = new AbortController()
    const ask = async (cursor: Cursor | null, peer = 'node-b') =>
      decodeAnswer(
        await served.answer(
          peer,
          encodeRequest({ op: 'poll', prefix: '', waitMs: 9999, cursor }),
          signal,
        ),
      )
    const now = await ask(null)
    assert.ok(now.kind === 'changes')
    const waiting = Array.from({ length: 32 }, () => ask(now.cursor))
    const refused = await ask(now.cursor)
    assert.ok(refused.kind === 'refused' && refused.code === 'EBUSY' && refused.retry === 'later')
    waiting.push(ask(now.cursor, 'node-c'))

    let heard = 0
    await Promise.all(clients.map((client) => client.watch('', () => heard++)))
    await sleep(100)
    await world.embedded.compareAndSet('k', 0, Buffer.from('v'))
    for (const answer of await Promise.all(waiting))
      assert.ok(answer.kind === 'changes' && answer.changes.length === 1)
    await until('all are told in the end', () => heard === clients.length, 5000)
  } finally {
    for (const client of clients) await client.close()
    served.close()
    await world.close()
  }
})

test.run()
