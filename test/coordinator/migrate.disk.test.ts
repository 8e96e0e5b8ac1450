// deadline: 300 s
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { limits } from '../../src/base/index.ts'
import {
  beginGeneration,
  type Coordinator,
  type GuardedCoordinator,
  generationGuarded,
  migrate,
  openEmbeddedCoordinator,
  takeBackMigration,
} from '../../src/coordinator/index.ts'
import { sleep } from '../support/node-world.ts'
import { seeded } from '../support/seeded.ts'
import { thrownBy } from '../support/thrown.ts'
import { stopsAt } from './stopping.ts'

const random = seeded(3)
const TO = 'etcd://h1:2379'
const bytes = (text: string) => Buffer.from(text)

async function openWorld() {
  const base = mkdtempSync(join(tmpdir(), 'weft-migrate-'))
  const old = await openEmbeddedCoordinator(join(base, 'old'))
  const made = await openEmbeddedCoordinator(join(base, 'new'))
  await beginGeneration(old, 1)
  return {
    old,
    made,
    another: () => openEmbeddedCoordinator(join(base, 'another')),
    async close() {
      await old.close()
      await made.close()
      rmSync(base, { recursive: true, force: true })
    },
  }
}

const guard = (coordinator: Coordinator, generationMin = 0): Promise<GuardedCoordinator> =>
  generationGuarded(coordinator, { generationMin })

async function contents(coordinator: Coordinator): Promise<[string, string][]> {
  const entries = await coordinator.list('')
  return entries.map(({ key, value }) => [key, value.toString()])
}

/** Whether a user of this coordinator can have a change acknowledged, and read. */
async function accepts(coordinator: Coordinator): Promise<boolean> {
  try {
    const guarded = await guard(coordinator)
    const now = await guarded.get('probe')
    return (await guarded.compareAndSet('probe', now?.version ?? 0, bytes('p'))).ok
  } catch (error) {
    assert.match((error as { code?: string }).code ?? String(error), /^(EAGAIN|ESTALE|ENOENT)$/)
    return false
  }
}

test('after a move the new one has everything and accepts changes; the old one says where to', async () => {
  const world = await openWorld()
  try {
    const before = await guard(world.old)
    for (let i = 0; i < 150; i++) await before.compareAndSet(`volume/${i}`, 0, bytes(`v${i}`))
    await before.compareAndSet('large', 0, Buffer.alloc(limits.coordinatorValueBytesMax, 7))
    await before.compareAndSet('large2', 0, Buffer.alloc(limits.coordinatorValueBytesMax - 1, 8))
    const all = await contents(before)
    assert.is(await migrate(world.old, world.made, { to: TO, random }), 2)
    const after = await guard(world.made, 2)
    assert.is(after.generation, 2)
    assert.equal(await contents(after), all)
    const error = await thrownBy(before.get('volume/1'))
    assert.equal([error.code, error.subject], ['ESTALE', { to: TO, generation: 2 }])
    assert.is(
      await migrate(world.old, world.made, { to: TO, random }),
      2,
      'doing it again is no change',
    )
    assert.is((await thrownBy(takeBackMigration(world.old, world.made))).code, 'EEXIST')
  } finally {
    await world.close()
  }
})

test('versions grow over the move, so one held from before never hits a younger value', async () => {
  const world = await openWorld()
  try {
    const before = await guard(world.old)
    const held = await before.compareAndSet('k', 0, bytes('old'))
    let newest = held.version
    for (let i = 0; i < 20; i++)
      ({ version: newest } = await before.compareAndSet('k', newest, bytes(`old ${i}`)))
    await migrate(world.old, world.made, { to: TO, random })
    const after = await guard(world.made)
    const stands = (await after.get('k'))?.version ?? 0
    assert.ok(stands > newest)
    for (let old = 0; old <= newest; old++)
      assert.not.ok((await after.compareAndSet('k', old, bytes('late'))).ok)
    // And once more, back again into a place where it never was.
    const third = await world.another()
    try {
      await migrate(world.made, third, { to: 'node-c', random })
      const last = await guard(third)
      assert.is(last.generation, 3)
      assert.ok(((await last.get('k'))?.version ?? 0) > stands)
    } finally {
      await third.close()
    }
  } finally {
    await world.close()
  }
})

test('stopped at any step, a move can be resumed or taken back, and one coordinator accepts changes, never two', async () => {
  let steps = 0
  let takenBack = 0
  for (const end of ['resume', 'take back', 'take back without the new one'] as const) {
    for (const lost of ['request', 'answer'] as const) {
      for (let stop = 1; ; stop++) {
        const world = await openWorld()
        try {
          const users = await guard(world.old)
          for (let i = 0; i < 100; i++) await users.compareAndSet(`k${i}`, 0, bytes(`v${i}`))
          const stopping = stopsAt(stop, lost)
          const error = await migrate(stopping.wrap(world.old), stopping.wrap(world.made), {
            to: TO,
            random,
          }).then(
            () => null,
            (thrown: unknown) => thrown,
          )
          if (error === null) {
            steps = Math.max(steps, stop - 1)
            break
          }
          assert.is(error, stopping.error, 'only our own stop ends it')
          const where = `${end}, ${lost} of step ${stop} lost`
          const both = [await accepts(world.old), await accepts(world.made)]
          assert.ok(both.filter(Boolean).length <= 1, `${where}: two accept changes`)
          if (end === 'resume') {
            await migrate(world.old, world.made, { to: TO, random }).catch(
              async (again: unknown) => {
                // What the old one accepted above, before it was frozen, is no reason.
                assert.unreachable(`${where}: ${again}`)
              },
            )
            assert.equal(
              [await accepts(world.old), await accepts(world.made)],
              [false, true],
              where,
            )
          } else {
            const to = end === 'take back' ? world.made : null
            const refused = await takeBackMigration(world.old, to).then(
              () => null,
              (thrown: { code?: string }) => thrown.code,
            )
            const now = [await accepts(world.old), await accepts(world.made)]
            if (refused === null) {
              takenBack++
              assert.equal(now, [true, false], where)
              // A move begun anew finds the leftovers of the first.
              const users2 = await guard(world.old)
              await users2.compareAndSet('later', 0, bytes('l'))
              await users2.compareAndSet('k5', (await users2.get('k5'))?.version ?? 0, null)
              const all = await contents(users2)
              await migrate(world.old, world.made, { to: TO, random })
              assert.equal(await contents(await guard(world.made)), all, where)
            } else {
              assert.match(refused ?? '', /^(EEXIST|EAGAIN)$/, where)
              assert.not.ok(now[0], `${where}: ${now}`)
              await migrate(world.old, world.made, { to: TO, random })
              assert.ok(await accepts(world.made), where)
            }
          }
          const final = await guard(world.made)
          assert.is((await final.get('k7'))?.value.toString(), 'v7', where)
        } finally {
          await world.close()
        }
      }
    }
  }
  assert.ok(steps >= 12, `a move has only ${steps} steps?`)
  assert.ok(takenBack >= 20, `taken back only ${takenBack} times`)
})

test('a migrator that sleeps through the taking back cannot finish what it began', async () => {
  for (let stop = 1; ; stop++) {
    const world = await openWorld()
    try {
      await (await guard(world.old)).compareAndSet('k', 0, bytes('v'))
      let takenBack = false
      const stopping = stopsAt(stop, 'request', async () => {
        takenBack = await takeBackMigration(world.old, world.made).then(
          () => true,
          () => false,
        )
      })
      const outcome = await migrate(stopping.wrap(world.old), stopping.wrap(world.made), {
        to: TO,
        random,
      }).then(
        () => 'moved',
        (error: { code?: string; message?: string }) => `${error.code} ${error.message}`,
      )
      const now = [await accepts(world.old), await accepts(world.made)]
      assert.is(now.filter(Boolean).length, 1, `step ${stop}: ${outcome}, ${now}`)
      assert.is(now[1], outcome === 'moved', `step ${stop}: ${outcome}`)
      if (!stopping.reached) break
      if (takenBack && now[0]) assert.match(outcome, /^(ECANCELED|EIO|EBUSY)/, `step ${stop}`)
    } finally {
      await world.close()
    }
  }
})

test('two who move at once do one move', async () => {
  const world = await openWorld()
  try {
    const users = await guard(world.old)
    for (let i = 0; i < 300; i++) await users.compareAndSet(`k${i}`, 0, bytes(`v${i}`))
    const all = await contents(users)
    const options = { to: TO, random }
    const ends = await Promise.allSettled([
      migrate(world.old, world.made, options),
      migrate(world.old, world.made, options),
    ])
    assert.ok(ends.some(({ status }) => status === 'fulfilled'))
    assert.is(await migrate(world.old, world.made, options), 2)
    assert.equal(await contents(await guard(world.made)), all)
  } finally {
    await world.close()
  }
})

test('every change that was acknowledged while it moved is in the new one', async () => {
  for (let round = 0; round < 10; round++) {
    const world = await openWorld()
    try {
      const acknowledged = new Map<string, string>()
      let refusedAfter = 0
      const writers = Array.from({ length: 6 }, async (_, writer) => {
        const guarded = await guard(world.old)
        for (let i = 0; ; i++) {
          const key = `w${writer}/${i % 7}`
          try {
            const now = await guarded.get(key)
            const { ok } = await guarded.compareAndSet(key, now?.version ?? 0, bytes(`${i}`))
            assert.ok(ok)
            acknowledged.set(key, `${i}`)
          } catch (error) {
            const { code } = error as { code?: string }
            if (code === 'ESTALE') return
            assert.is(code, 'EAGAIN')
            refusedAfter++
          }
          await sleep(i % 3)
        }
      })
      await sleep(10 + round)
      await migrate(world.old, world.made, { to: TO, random })
      await Promise.all(writers)
      assert.ok(acknowledged.size > 0)
      const there = new Map(await contents(await guard(world.made)))
      assert.equal(there, acknowledged, `round ${round}, ${refusedAfter} refused`)
    } finally {
      await world.close()
    }
  }
})

test('a place with something else in it is refused before anything is frozen', async () => {
  const world = await openWorld()
  try {
    await world.made.compareAndSet('mine', 0, bytes('x'))
    const options = { to: TO, random }
    assert.is((await thrownBy(migrate(world.old, world.made, options))).code, 'ENOTEMPTY')
    assert.ok(await accepts(world.old))
    await beginGeneration(world.made, 1)
    assert.is((await thrownBy(migrate(world.old, world.made, options))).code, 'EEXIST')
    assert.ok(await accepts(world.old))
  } finally {
    await world.close()
  }
})

test('frozen for one place, it does not move to another until it was taken back', async () => {
  const world = await openWorld()
  const third = await world.another()
  try {
    const stopping = stopsAt(8, 'request')
    await migrate(world.old, stopping.wrap(world.made), { to: TO, random }).catch(() => {})
    const error = await thrownBy(migrate(world.old, third, { to: 'node-c', random }))
    assert.is(error.code, 'EBUSY')
    assert.match(error.message, /moves to etcd:\/\/h1:2379 already, not to node-c/)
    await takeBackMigration(world.old, world.made)
    assert.is(await migrate(world.old, third, { to: 'node-c', random }), 2)
    assert.equal([await accepts(world.made), await accepts(third)], [false, true])
  } finally {
    await third.close()
    await world.close()
  }
})

test.run()
