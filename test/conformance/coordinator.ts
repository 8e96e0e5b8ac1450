import * as assert from 'uvu/assert'
import { limits } from '../../src/base/index.ts'
import type { Change, Coordinator } from '../../src/coordinator/index.ts'

export interface CoordinatorCase {
  readonly name: string
  readonly run: (coordinator: Coordinator) => Promise<void>
}

const bytes = (text: string) => Buffer.from(text)

async function refused(code: string, work: Promise<unknown>): Promise<void> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof Error, `expected ${code}, nothing was thrown`)
  assert.is((error as { code?: string }).code, code, error.message)
}

/** Lets watch callbacks of finished changes run; polls with a deadline, because a remote engine takes its time. */
async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = process.hrtime.bigint() + 5_000_000_000n
  while (!condition()) {
    if (process.hrtime.bigint() > deadline) assert.unreachable(`not within 5 s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** What every engine must do. Each case gets a coordinator of its own with nothing in it. */
export const coordinatorCases: readonly CoordinatorCase[] = [
  {
    name: 'a key that was never set is null',
    async run(c) {
      assert.is(await c.get('volume/a'), null)
      assert.equal(await c.list(''), [])
    },
  },
  {
    name: 'a key is created once: the second creator is told the version that stands',
    async run(c) {
      const first = await c.compareAndSet('name/x', 0, bytes('one'))
      assert.ok(first.ok && first.version > 0)
      const second = await c.compareAndSet('name/x', 0, bytes('two'))
      assert.equal(second, { ok: false, version: first.version })
      assert.equal(await c.get('name/x'), {
        key: 'name/x',
        value: bytes('one'),
        version: first.version,
      })
    },
  },
  {
    name: 'a change needs the version that stands',
    async run(c) {
      const { version } = await c.compareAndSet('k', 0, bytes('1'))
      const { version: next, ok } = await c.compareAndSet('k', version, bytes('2'))
      assert.ok(ok && next > version)
      assert.equal(await c.compareAndSet('k', version, bytes('3')), { ok: false, version: next })
      assert.equal(await c.compareAndSet('k', next + 1, bytes('3')), { ok: false, version: next })
      assert.equal((await c.get('k'))?.value, bytes('2'))
    },
  },
  {
    name: 'versions grow over delete and create, so an old version never matches again',
    async run(c) {
      const seen = new Set<number>()
      let last = 0
      for (let round = 0; round < 5; round++) {
        const made = await c.compareAndSet('k', 0, bytes(String(round)))
        assert.ok(made.ok && made.version > last && !seen.has(made.version))
        seen.add(made.version)
        const gone = await c.compareAndSet('k', made.version, null)
        assert.ok(gone.ok && gone.version > made.version)
        last = gone.version
        assert.equal(await c.compareAndSet('k', made.version, bytes('late')), {
          ok: false,
          version: 0,
        })
        assert.is(await c.get('k'), null)
      }
    },
  },
  {
    name: 'deleting what is absent with the version 0 is allowed and leaves it absent',
    async run(c) {
      assert.ok((await c.compareAndSet('k', 0, null)).ok)
      assert.is(await c.get('k'), null)
    },
  },
  {
    name: 'a transaction makes all its changes with one version',
    async run(c) {
      const counter = await c.compareAndSet('number/next', 0, bytes('1'))
      const done = await c.transaction([
        { key: 'number/next', expected: counter.version, value: bytes('2') },
        { key: 'name/a', expected: 0, value: bytes('id') },
      ])
      assert.ok(done.ok)
      assert.is(done.versions[0], done.versions[1])
      assert.equal((await c.get('number/next'))?.value, bytes('2'))
      assert.equal((await c.get('name/a'))?.version, done.versions[0])
    },
  },
  {
    name: 'a transaction with one condition that fails changes nothing',
    async run(c) {
      const taken = await c.compareAndSet('name/a', 0, bytes('first'))
      const done = await c.transaction([
        { key: 'number/next', expected: 0, value: bytes('2') },
        { key: 'name/a', expected: 0, value: bytes('second') },
      ])
      assert.equal(done, { ok: false, versions: [0, taken.version] })
      assert.is(await c.get('number/next'), null)
      assert.equal((await c.get('name/a'))?.value, bytes('first'))
    },
  },
  {
    name: 'a transaction may have as many steps as the limit says',
    async run(c) {
      const steps = Array.from({ length: limits.coordinatorStepsMax }, (_, i) => ({
        key: `${'k'.repeat(limits.coordinatorKeyBytesMax - 2)}${String(i).padStart(2, '0')}`,
        expected: 0,
        value: Buffer.alloc(limits.coordinatorValueBytesMax / limits.coordinatorStepsMax, i),
      }))
      assert.ok((await c.transaction(steps)).ok)
      assert.is((await c.list('k')).length, limits.coordinatorStepsMax)
    },
  },
  {
    name: "a condition alone guards a change and keeps its own key's version",
    async run(c) {
      const guard = await c.compareAndSet('guard', 0, bytes('g'))
      const done = await c.transaction([
        { key: 'guard', expected: guard.version, value: 'unchanged' },
        { key: 'k', expected: 0, value: bytes('v') },
      ])
      assert.ok(done.ok)
      assert.is(done.versions[0], guard.version)
      assert.is((await c.get('guard'))?.version, guard.version)
      const late = await c.transaction([
        { key: 'guard', expected: guard.version + 1000, value: 'unchanged' },
        { key: 'k2', expected: 0, value: bytes('v') },
      ])
      assert.not.ok(late.ok)
      assert.is(await c.get('k2'), null)
    },
  },
  {
    name: 'list gives the keys below a prefix, in order, and no others',
    async run(c) {
      for (const key of [
        'volume/b',
        'volume/a',
        'volume0',
        'name/z',
        'volume/',
        'volume/a/1',
        'volum',
      ]) {
        await c.compareAndSet(key, 0, bytes(key))
      }
      const keys = (await c.list('volume/')).map((entry) => entry.key)
      assert.equal(keys, ['volume/', 'volume/a', 'volume/a/1', 'volume/b'])
      assert.is((await c.list('')).length, 7)
      assert.equal(await c.list('zzz'), [])
      assert.ok(
        (await c.list('volume/')).every(
          (entry) => entry.value.toString() === entry.key && entry.version > 0,
        ),
      )
    },
  },
  {
    name: 'a thousand keys are listed whole',
    async run(c) {
      for (let from = 0; from < 1000; from += 50) {
        const steps = Array.from({ length: 50 }, (_, i) => ({
          key: `volume/${String(from + i).padStart(4, '0')}`,
          expected: 0,
          value: bytes(`v${from + i}`),
        }))
        assert.ok((await c.transaction(steps)).ok)
      }
      const all = await c.list('volume/')
      assert.is(all.length, 1000)
      all.forEach((entry, i) => {
        assert.is(entry.value.toString(), `v${i}`)
      })
    },
  },
  {
    name: 'of many who race for one key, one wins each round and no increment is lost',
    async run(c) {
      const racers = 8
      const each = 10
      let wins = 0
      const race = async () => {
        for (let done = 0; done < each; ) {
          const now = await c.get('count')
          const value = bytes(String(Number(now?.value.toString() ?? 0) + 1))
          const { ok } = await c.compareAndSet('count', now?.version ?? 0, value)
          if (ok) {
            done++
            wins++
          }
        }
      }
      await Promise.all(Array.from({ length: racers }, race))
      assert.is(wins, racers * each)
      assert.is((await c.get('count'))?.value.toString(), String(racers * each))
    },
  },
  {
    name: 'bytes come back as they were: empty, binary, and the largest allowed',
    async run(c) {
      const values = [
        Buffer.alloc(0),
        Buffer.from([0, 255, 0, 1]),
        Buffer.alloc(limits.coordinatorValueBytesMax, 7),
      ]
      for (const [i, value] of values.entries()) {
        assert.ok((await c.compareAndSet(`k${i}`, 0, value)).ok)
        const back = (await c.get(`k${i}`))?.value
        assert.ok(back?.equals(value), `value ${i}`)
      }
    },
  },
  {
    name: 'buffers are the holder’s own: changing one changes nothing that is stored or was read',
    async run(c) {
      const mine = bytes('abc')
      const pending = c.compareAndSet('k', 0, mine)
      mine.fill(0)
      await pending
      const read = (await c.get('k'))?.value
      assert.equal(read, bytes('abc'))
      const listed = (await c.list('k'))[0]?.value
      for (let i = 0; i < 50; i++) await c.compareAndSet(`other/${i}`, 0, Buffer.alloc(3, 120))
      assert.equal(read, bytes('abc'))
      assert.equal(listed, bytes('abc'))
      read?.fill(0)
      assert.equal((await c.get('k'))?.value, bytes('abc'))
    },
  },
  {
    name: 'a watch tells each later change below its prefix once, in order, deletes too',
    async run(c) {
      const before = await c.compareAndSet('volume/before', 0, bytes('x'))
      const seen: Change[] = []
      await c.watch('volume/', (change) => seen.push(change))
      const made = await c.compareAndSet('volume/a', 0, bytes('1'))
      await c.compareAndSet('name/a', 0, bytes('not below'))
      await c.compareAndSet('volume/a', 0, bytes('loses'))
      await c.compareAndSet('volume/absent', 0, null)
      const both = await c.transaction([
        { key: 'volume/a', expected: made.version, value: null },
        { key: 'volume/b', expected: 0, value: bytes('2') },
        { key: 'volume/before', expected: before.version, value: 'unchanged' },
      ])
      assert.ok(both.ok)
      await until(() => seen.length >= 3, 'three changes')
      assert.equal(seen[0], { key: 'volume/a', value: bytes('1'), version: made.version })
      assert.is(seen[1]?.version, both.versions[0])
      assert.equal(
        seen.slice(1).map(({ key, value }) => [key, value?.toString() ?? null]),
        [
          ['volume/a', null],
          ['volume/b', '2'],
        ],
      )
    },
  },
  {
    name: 'a cancelled watch hears nothing more, and another one still does',
    async run(c) {
      const heard = { first: 0, second: 0 }
      const cancel = await c.watch('', () => heard.first++)
      await c.watch('', () => heard.second++)
      await c.compareAndSet('a', 0, bytes('1'))
      await until(() => heard.first === 1 && heard.second === 1, 'both heard the first change')
      cancel()
      cancel()
      await c.compareAndSet('b', 0, bytes('1'))
      await until(() => heard.second === 2, 'the second watch heard the second change')
      assert.is(heard.first, 1)
    },
  },
  {
    name: 'watch first, then list: no change is missed between them',
    async run(c) {
      const seen = new Map<string, number>()
      const writer = (async () => {
        for (let i = 0; i < 30; i++) await c.compareAndSet(`volume/${i}`, 0, bytes(String(i)))
      })()
      await c.watch('volume/', ({ key, version }) => seen.set(key, version))
      for (const { key, version } of await c.list('volume/')) seen.set(key, version)
      await writer
      await until(() => seen.size === 30, 'all 30 keys')
    },
  },
  {
    name: 'bad keys, prefixes, versions, values and transactions are EINVAL and change nothing',
    async run(c) {
      const value = bytes('v')
      for (const key of [
        '',
        'a b',
        'a\n',
        'ä',
        '\0',
        'x'.repeat(limits.coordinatorKeyBytesMax + 1),
      ]) {
        await refused('EINVAL', c.get(key))
        await refused('EINVAL', c.compareAndSet(key, 0, value))
      }
      await refused('EINVAL', c.list('a b'))
      await refused(
        'EINVAL',
        c.watch('ä', () => {}),
      )
      for (const version of [-1, 0.5, Number.NaN, 2 ** 53])
        await refused('EINVAL', c.compareAndSet('k', version, value))
      await refused(
        'EINVAL',
        c.compareAndSet('k', 0, Buffer.alloc(limits.coordinatorValueBytesMax + 1)),
      )
      const half = Buffer.alloc(limits.coordinatorValueBytesMax / 2 + 1)
      await refused(
        'EINVAL',
        c.transaction([
          { key: 'k', expected: 0, value: half },
          { key: 'k2', expected: 0, value: half },
        ]),
      )
      await refused('EINVAL', c.transaction([]))
      const step = { key: 'k', expected: 0, value }
      await refused('EINVAL', c.transaction([step, step]))
      const many = Array.from({ length: limits.coordinatorStepsMax + 1 }, (_, i) => ({
        ...step,
        key: `k${i}`,
      }))
      await refused('EINVAL', c.transaction(many))
      assert.equal(await c.list(''), [])
      assert.ok((await c.compareAndSet('x'.repeat(limits.coordinatorKeyBytesMax), 0, value)).ok)
    },
  },
  {
    name: 'after close every call says ECANCELED and no watch is told anything',
    async run(c) {
      let heard = 0
      await c.watch('', () => heard++)
      await c.close()
      await c.close()
      await refused('ECANCELED', c.get('k'))
      await refused('ECANCELED', c.list(''))
      await refused('ECANCELED', c.compareAndSet('k', 0, bytes('v')))
      await refused(
        'ECANCELED',
        c.watch('', () => {}),
      )
      assert.is(heard, 0)
    },
  },
]
