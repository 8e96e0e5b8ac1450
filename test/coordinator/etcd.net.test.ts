// deadline: 300 s
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Etcd3 } from 'etcd3'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError, systemClock } from '../../src/base/index.ts'
import {
  beginGeneration,
  type Change,
  type Coordinator,
  type EtcdOptions,
  generationGuarded,
  migrate,
  openEmbeddedCoordinator,
  openEtcdCoordinator,
} from '../../src/coordinator/index.ts'
import { coordinatorCases } from '../conformance/coordinator.ts'
import { sleep, until } from '../support/node-world.ts'
import { seeded } from '../support/seeded.ts'
import { thrownBy } from '../support/thrown.ts'
import { Cable, EtcdCluster } from './etcd-cluster.ts'

const clock = systemClock()
const random = seeded(9)
const bytes = (text: string) => Buffer.from(text)

function open(endpoints: readonly string[], prefix: string, more: Partial<EtcdOptions> = {}) {
  return openEtcdCoordinator({ endpoints, prefix, clock, ...more })
}

async function withCluster(
  count: number,
  work: (cluster: EtcdCluster) => Promise<void>,
): Promise<void> {
  const cluster = new EtcdCluster()
  try {
    await cluster.start(count)
    await work(cluster)
  } catch (error) {
    console.log(cluster.logs())
    throw error
  } finally {
    await cluster.close()
  }
}

/** Counts a key up, for as long as `stop` is not raised. Keeps what was acknowledged and what was refused. */
async function counting(coordinator: Coordinator, key: string, stop: AbortSignal) {
  const acknowledged: number[] = []
  const errors: FsError[] = []
  while (!stop.aborted) {
    try {
      const now = await coordinator.get(key)
      const count = Number(now?.value.toString() ?? 0) + 1
      const { ok, version } = await coordinator.compareAndSet(
        key,
        now?.version ?? 0,
        bytes(`${count}`),
      )
      assert.ok(ok, 'nobody else counts')
      acknowledged.push(version)
    } catch (error) {
      assert.instance(error, FsError)
      errors.push(error as FsError)
    }
  }
  return { acknowledged, errors }
}

test('a real cluster of three does what every engine must', async () => {
  await withCluster(3, async (cluster) => {
    for (const [i, { name, run }] of coordinatorCases.entries()) {
      const coordinator = await open(cluster.endpoints, `case-${i}/`)
      try {
        await run(coordinator)
      } catch (error) {
        throw new Error(`${name}: ${error}`, { cause: error })
      } finally {
        await coordinator.close()
      }
    }
  })
})

test('with one member killed calls go on, with the leader killed too, and a watcher misses nothing', async () => {
  await withCluster(3, async (cluster) => {
    const [writer, watcher] = [
      await open(cluster.endpoints, 'weft/'),
      await open(cluster.endpoints, 'weft/'),
    ]
    try {
      const seen: Change[] = []
      await watcher.watch('count/', (change) => seen.push(change))
      for (const whom of ['leader', 'follower', 'leader'] as const) {
        const leader = await cluster.leader()
        const victim = whom === 'leader' ? leader : (leader + 1) % 3
        const stop = new AbortController()
        const counted = counting(writer, `count/${seen.length}`, stop.signal)
        await sleep(500)
        await cluster.kill9(victim)
        const killed = performance.now()
        const version = (await writer.list('')).reduce(
          (max, entry) => Math.max(max, entry.version),
          0,
        )
        await until(
          `changes go on without the ${whom}`,
          async () => (await writer.list('')).some((entry) => entry.version > version + 20),
          10_000,
        )
        assert.ok(performance.now() - killed < 10_000)
        stop.abort()
        const { acknowledged, errors } = await counted
        assert.ok(acknowledged.length > 20)
        assert.ok(errors.length <= 3, `${errors.length} calls failed: ${errors.map(String)}`)
        for (const error of errors) assert.is(error.retry, 'later')
        await until(
          `the watcher was told of all that was acknowledged, ${whom} killed`,
          () => acknowledged.every((each) => seen.some(({ version: told }) => told === each)),
          10_000,
        )
        cluster.run(victim)
        await until('a leader', async () => (await cluster.leader()) >= 0, 20_000)
      }
      const versions = seen.map(({ version }) => version)
      assert.equal(
        versions,
        [...new Set(versions)].sort((a, b) => a - b),
        'once, in order',
      )
      const values = seen.map(({ key, value }) => `${key} ${value}`)
      assert.is(new Set(values).size, values.length)
    } finally {
      await writer.close()
      await watcher.close()
    }
  })
})

test('what one member acknowledged every other one reads at once', async () => {
  await withCluster(3, async (cluster) => {
    const each = await Promise.all(cluster.endpoints.map((endpoint) => open([endpoint], 'weft/')))
    try {
      let version = 0
      for (let i = 0; i < 200; i++) {
        const [one, other] = [each[i % 3], each[(i + 1 + (i % 2)) % 3]]
        const set = await one?.compareAndSet('k', version, bytes(`${i}`))
        version = set?.version ?? 0
        assert.is((await other?.get('k'))?.version, version, `round ${i}`)
      }
    } finally {
      for (const coordinator of each) await coordinator.close()
    }
  })
})

test('a member that falls silent is left for the others, and a watch moves away from it', async () => {
  await withCluster(3, async (cluster) => {
    const silent = ((await cluster.leader()) + 1) % 3
    const endpoints = [...cluster.endpoints.slice(silent), ...cluster.endpoints.slice(0, silent)]
    const coordinator = await open(endpoints, 'weft/', { deadlineMs: 1500 })
    try {
      const seen: Change[] = []
      await coordinator.watch('', (change) => seen.push(change))
      const { version } = await coordinator.compareAndSet('k', 0, bytes('1'))
      await until('the watch is there', () => seen.length === 1, 5000)
      cluster.signal(silent, 'SIGSTOP')
      // Nobody knows whether this one was made, and the next call goes elsewhere.
      const error = await thrownBy(coordinator.compareAndSet('k', version, bytes('2')))
      assert.is(error.code, 'ETIMEDOUT')
      assert.match(error.message, /whether the change was made is not known/)
      const started = performance.now()
      const { ok } = await coordinator.compareAndSet('k', version, bytes('3'))
      assert.ok(ok)
      assert.is((await coordinator.get('k'))?.value.toString(), '3')
      assert.ok(performance.now() - started < 1000, 'the silent one is not waited for again')
      await until('the watch found another member', () => seen.length === 2, 30_000)
      assert.is(seen[1]?.value?.toString(), '3')
    } finally {
      cluster.signal(silent, 'SIGCONT')
      await coordinator.close()
    }
  })
})

test('with two of three killed calls end at their deadline and say whom they asked; with one back they work', async () => {
  await withCluster(3, async (cluster) => {
    const coordinator = await open(cluster.endpoints, 'weft/', { deadlineMs: 1500 })
    try {
      const seen: Change[] = []
      await coordinator.watch('', (change) => seen.push(change))
      const { version } = await coordinator.compareAndSet('k', 0, bytes('1'))
      await cluster.kill9(0)
      await cluster.kill9(1)
      for (const call of [
        () => coordinator.get('k'),
        () => coordinator.list(''),
        () => coordinator.compareAndSet('k', version, bytes('2')),
      ]) {
        const started = performance.now()
        const error = await thrownBy(call())
        const took = performance.now() - started
        assert.ok(took < 2000, `ended after ${took} ms`)
        assert.match(error.code, /^(ETIMEDOUT|EIO)$/)
        assert.is(error.retry, 'later')
        for (const endpoint of cluster.endpoints) assert.match(error.message, endpoint)
      }
      cluster.run(1)
      await until(
        'it answers again',
        () =>
          coordinator.get('k').then(
            (entry) => entry !== null,
            () => false,
          ),
        20_000,
      )
      const now = await coordinator.get('k')
      const { ok } = await coordinator.compareAndSet('k', now?.version ?? 0, bytes('3'))
      assert.ok(ok)
      await until('the watcher goes on', () => seen.at(-1)?.value?.toString() === '3', 10_000)
    } finally {
      await coordinator.close()
    }
  })
})

test('a watch whose connection breaks again and again is told each change once, in order', async () => {
  await withCluster(1, async (cluster) => {
    const cable = await Cable.to(cluster.port(0))
    const writer = await open(cluster.endpoints, 'weft/')
    const watcher = await open([cable.endpoint], 'weft/')
    try {
      const seen: Change[] = []
      await watcher.watch('k', (change) => seen.push(change))
      const made: number[] = []
      for (let i = 0; i < 400; i++) {
        const key = `k${i % 5}`
        const version = (await writer.get(key))?.version ?? 0
        const value = version > 0 && i % 3 === 0 ? null : bytes(`${i}`)
        made.push((await writer.compareAndSet(key, version, value)).version)
        if (i % 40 === 20) cable.cut()
        if (i % 40 === 23) cable.heal()
        // Cut again as soon as it has begun to catch up.
        if (i % 80 === 30) cable.cut()
        if (i % 80 === 31) cable.heal()
      }
      cable.heal()
      await until('all changes are told', () => seen.length >= made.length, 10_000)
      assert.equal(
        seen.map(({ version }) => version),
        made,
      )
    } finally {
      await writer.close()
      await watcher.close()
      await cable.close()
    }
  })
})

test('a transaction whose answer was lost is not sent again: it is open whether it was made, and a read tells', async () => {
  await withCluster(1, async (cluster) => {
    const cable = await Cable.to(cluster.port(0))
    const coordinator = await open([cable.endpoint], 'weft/')
    try {
      assert.is(await coordinator.get('k'), null)
      cable.loseAnswers()
      const error = await thrownBy(coordinator.compareAndSet('k', 0, bytes('once')))
      assert.is(error.code, 'EIO')
      assert.match(
        error.message,
        /the answer was lost; asked .*whether the change was made is not known/,
      )
      const made = await coordinator.get('k')
      assert.is(made?.value.toString(), 'once')
      assert.ok((await coordinator.compareAndSet('k', made?.version ?? 0, null)).ok)
    } finally {
      await coordinator.close()
      await cable.close()
    }
  })
})

test('what etcd has compacted away while a watcher was cut off is found by comparing', async () => {
  await withCluster(1, async (cluster) => {
    const cable = await Cable.to(cluster.port(0))
    const writer = await open(cluster.endpoints, 'weft/')
    const watcher = await open([cable.endpoint], 'weft/')
    const raw = new Etcd3({ hosts: cluster.endpoints })
    try {
      const gone = await writer.compareAndSet('gone', 0, bytes('x'))
      const gone2 = await writer.compareAndSet('gone2', 0, bytes('x'))
      await writer.compareAndSet('same', 0, bytes('x'))
      const kv = Reflect.get(raw, 'kv') as { compact(request: object): Promise<unknown> }
      const seen: Change[] = []
      await watcher.watch('', (change) => seen.push(change))
      cable.cut()
      const deleted = await writer.compareAndSet('gone', gone.version, null)
      let version = 0
      for (let i = 0; i < 10; i++)
        ({ version } = await writer.compareAndSet('busy', version, bytes(`${i}`)))
      await kv.compact({ revision: version, physical: true })
      cable.heal()
      await until('both are told of', () => seen.length >= 2, 10_000)
      const later = await writer.compareAndSet('later', 0, bytes('l'))
      await until('what comes after too', () => seen.length >= 3, 10_000)
      cable.cut()
      const last = await writer.compareAndSet('gone2', gone2.version, null)
      // Just to the one revision that the watcher has not been told of (etcd#18089).
      await kv.compact({ revision: last.version, physical: true })
      cable.heal()
      await until('the deletion at the compacted revision', () => seen.length >= 4, 10_000)
      assert.equal(
        seen.map(({ key, value }) => `${key} ${value}`),
        ['busy 9', 'gone null', 'later l', 'gone2 null'],
      )
      assert.is(seen[0]?.version, version)
      assert.ok((seen[1]?.version ?? 0) >= deleted.version)
      assert.is(seen[2]?.version, later.version)
    } finally {
      raw.close()
      await writer.close()
      await watcher.close()
      await cable.close()
    }
  })
})

test('over TLS with a certificate and a password; without them the refusal says what to check', async () => {
  const cluster = new EtcdCluster()
  const dir = mkdtempSync(join(tmpdir(), 'weft-etcd-tls-'))
  const opened: Coordinator[] = []
  try {
    const [ca, key] = [join(dir, 'ca.pem'), join(dir, 'key.pem')]
    execFileSync(
      'openssl',
      `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=weft-test
       -addext subjectAltName=IP:127.0.0.1 -keyout ${key} -out ${ca}`.split(/\s+/),
      { stdio: 'ignore', timeout: 20_000 },
    )
    await cluster.start(1, [
      '--cert-file',
      ca,
      '--key-file',
      key,
      '--client-cert-auth',
      '--trusted-ca-file',
      ca,
    ])
    const tls = { ca: readFileSync(ca), key: readFileSync(key), cert: readFileSync(ca) }
    const login = { user: 'root', password: 'right' }
    const using = async (more: Partial<EtcdOptions>, prefix = 'weft/') => {
      const coordinator = await open(cluster.endpoints, prefix, { deadlineMs: 3000, ...more })
      opened.push(coordinator)
      return coordinator
    }
    const plain = await using({ tls })
    await until(
      'it is up',
      () =>
        plain.get('k').then(
          () => true,
          () => false,
        ),
      20_000,
    )
    const { version } = await plain.compareAndSet('k', 0, bytes('v'))

    const admin = new Etcd3({
      hosts: cluster.endpoints,
      credentials: { rootCertificate: tls.ca, privateKey: tls.key, certChain: tls.cert },
    })
    await admin.user('root').create('right')
    await admin.role('root').create()
    await admin.user('root').addRole('root')
    await admin.auth.authEnable()
    admin.close()

    const user = await using({ tls, login })
    assert.is((await user.get('k'))?.version, version)
    assert.ok((await user.compareAndSet('k', version, bytes('v2'))).ok)
    const seen: Change[] = []
    await user.watch('', (change) => seen.push(change))
    await user.compareAndSet('other', 0, bytes('o'))
    await until('a watch under a login', () => seen.length === 1)
    // A change of etcd's users makes every token of before useless.
    const changing = new Etcd3({
      hosts: cluster.endpoints,
      credentials: { rootCertificate: tls.ca, privateKey: tls.key, certChain: tls.cert },
      auth: { username: 'root', password: 'right' },
    })
    await changing.user('small').create('pw')
    changing.close()
    assert.is((await user.get('k'))?.value.toString(), 'v2')

    for (const [i, { name, run }] of coordinatorCases.entries()) {
      try {
        await run(await using({ tls, login, deadlineMs: 5000 }, `case-${i}/`))
      } catch (error) {
        throw new Error(`over TLS: ${name}: ${error}`, { cause: error })
      }
    }

    const wrong = await thrownBy(
      (await using({ tls, login: { user: 'root', password: 'wrong' } })).get('k'),
    )
    assert.is(wrong.code, 'EACCES')
    assert.match(wrong.message, /check user and password/)
    const small = await thrownBy(
      (await using({ tls, login: { user: 'small', password: 'pw' } })).get('k'),
    )
    assert.is(small.code, 'EACCES')
    assert.match(small.message, /grant the user read and write/)
    const none = await thrownBy((await using({ tls })).compareAndSet('k', 0, bytes('v')))
    assert.is(none.code, 'EACCES')
    const noCertificate = await thrownBy((await using({ tls: { ca: tls.ca }, login })).get('k'))
    assert.match(noCertificate.code, /^(ETIMEDOUT|EACCES)$/)
  } catch (error) {
    console.log(cluster.logs())
    throw error
  } finally {
    for (const coordinator of opened) await coordinator.close()
    await cluster.close()
    rmSync(dir, { recursive: true, force: true })
  }
})

test('a live cluster moves from the embedded coordinator to etcd and back, and no acknowledged change is lost', async () => {
  await withCluster(3, async (cluster) => {
    const dir = mkdtempSync(join(tmpdir(), 'weft-etcd-move-'))
    const engines = [
      await openEmbeddedCoordinator(join(dir, 'first')),
      await open(cluster.endpoints, 'weft/'),
      await openEmbeddedCoordinator(join(dir, 'last')),
    ] as const
    try {
      await beginGeneration(engines[0], 1)
      const acknowledged = new Map<string, string>()
      let stop = false
      const writers = Array.from({ length: 4 }, async (_, writer) => {
        let at = 0
        let guarded = await generationGuarded(engines[0], { generationMin: 0 })
        for (let i = 0; !stop; i++) {
          const key = `w${writer}/${i % 5}`
          try {
            const now = await guarded.get(key)
            const { ok } = await guarded.compareAndSet(key, now?.version ?? 0, bytes(`${i}`))
            assert.ok(ok)
            acknowledged.set(key, `${i}`)
            await sleep(1)
          } catch (error) {
            const { code, subject } = error as FsError
            if (code === 'ESTALE') {
              assert.is(subject.generation, guarded.generation + 1)
              guarded = await generationGuarded(engines[++at] as Coordinator, {
                generationMin: guarded.generation + 1,
              })
            } else assert.is(code, 'EAGAIN', String(error))
            await sleep(5)
          }
        }
      })
      await sleep(200)
      await migrate(engines[0], engines[1], { to: 'etcd', random })
      await sleep(300)
      await migrate(engines[1], engines[2], { to: 'last', random })
      await sleep(200)
      stop = true
      await Promise.all(writers)
      const last = await generationGuarded(engines[2], { generationMin: 3 })
      const there = (await last.list('')).map(({ key, value }) => [key, value.toString()] as const)
      assert.equal(new Map(there), acknowledged)
      assert.is(acknowledged.size, 20)
    } finally {
      for (const engine of engines) await engine.close()
      rmSync(dir, { recursive: true, force: true })
    }
  })
})

test('endpoints and prefixes that cannot be are refused before anything is asked', async () => {
  for (const endpoints of [[], ['h1:2379'], ['http://h1:2379', 'https://h2:2379'], ['http://h1']])
    assert.is((await thrownBy(open(endpoints, 'weft/'))).code, 'EINVAL')
  for (const prefix of ['', 'a b', 'x'.repeat(256)])
    assert.is((await thrownBy(open(['http://h1:2379'], prefix))).code, 'EINVAL')
})

test.run()
