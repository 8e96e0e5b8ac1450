import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CorruptError, limits } from '../../src/base/index.ts'
import { encodeStanding, readStanding } from '../../src/coordinator/generation.ts'
import {
  beginGeneration,
  type Coordinator,
  generationGuarded,
  openEmbeddedCoordinator,
  type Standing,
} from '../../src/coordinator/index.ts'
import { coordinatorCases } from '../conformance/coordinator.ts'
import { until } from '../support/node-world.ts'
import { thrownBy } from '../support/thrown.ts'

const KEY = 'coordinator/generation'
const standing: Standing = { state: 'active', generation: 3, base: 0, migration: null, to: null }
const bytes = (text: string) => Buffer.from(text)

async function openWorld() {
  const base = mkdtempSync(join(tmpdir(), 'weft-guarded-'))
  const raw = await openEmbeddedCoordinator(join(base, 'coordinator'))
  return {
    raw,
    async close() {
      await raw.close()
      rmSync(base, { recursive: true, force: true })
    },
  }
}

/** As a move would do it, whatever stands. */
async function setStanding(raw: Coordinator, next: Standing): Promise<void> {
  const version = (await readStanding(raw))?.version ?? 0
  assert.ok((await raw.compareAndSet(KEY, version, encodeStanding(next))).ok)
}

for (const base of [0, 1000]) {
  for (const { name, run } of coordinatorCases) {
    test(`guarded, its versions from ${base}: ${name}`, async () => {
      const world = await openWorld()
      try {
        await setStanding(world.raw, { ...standing, base })
        await run(await generationGuarded(world.raw, { generationMin: 3 }))
      } finally {
        await world.close()
      }
    })
  }
}

test('while it is frozen it answers reads and refuses changes; taken back it goes on', async () => {
  const world = await openWorld()
  try {
    await setStanding(world.raw, standing)
    const told: Standing[] = []
    const guarded = await generationGuarded(world.raw, {
      generationMin: 0,
      onStanding: (next) => told.push(next),
    })
    const { version } = await guarded.compareAndSet('k', 0, bytes('1'))
    await setStanding(world.raw, {
      ...standing,
      state: 'frozen',
      migration: 'm',
      to: 'etcd://h1:2379',
    })
    assert.is((await guarded.get('k'))?.version, version)
    assert.is((await guarded.list('')).length, 1)
    const error = await thrownBy(guarded.compareAndSet('k', version, bytes('2')))
    assert.is(error.code, 'EAGAIN')
    assert.is(error.retry, 'later')
    assert.match(
      error.message,
      /frozen for generation 4, it moves to etcd:\/\/h1:2379; nothing was changed/,
    )
    await setStanding(world.raw, standing)
    assert.ok((await guarded.compareAndSet('k', version, bytes('2'))).ok)
    await until('the holder was told', () => told.length >= 2)
    assert.is(told.at(-1)?.state, 'active')
  } finally {
    await world.close()
  }
})

test('a change that was on its way when the coordinator was frozen is not made', async () => {
  const world = await openWorld()
  try {
    await setStanding(world.raw, standing)
    let freeze = false
    const slow: Coordinator = {
      get: (key) => world.raw.get(key),
      list: (prefix) => world.raw.list(prefix),
      compareAndSet: (key, expected, value) => world.raw.compareAndSet(key, expected, value),
      watch: (prefix, onChange) => world.raw.watch(prefix, onChange),
      close: () => world.raw.close(),
      async transaction(steps) {
        if (freeze) await setStanding(world.raw, { ...standing, state: 'frozen' })
        freeze = false
        return world.raw.transaction(steps)
      },
    }
    const guarded = await generationGuarded(slow, { generationMin: 0 })
    freeze = true
    assert.is((await thrownBy(guarded.compareAndSet('k', 0, bytes('v')))).code, 'EAGAIN')
    assert.is(await world.raw.get('k'), null)
  } finally {
    await world.close()
  }
})

test('from the moment the new one may be in use nothing is read here, and once it moved it says where to', async () => {
  const world = await openWorld()
  try {
    await setStanding(world.raw, standing)
    const guarded = await generationGuarded(world.raw, { generationMin: 0 })
    const next = { ...standing, migration: 'm', to: 'etcd://h1:2379' }
    await setStanding(world.raw, { ...next, state: 'committing' })
    assert.is((await thrownBy(guarded.get('k'))).code, 'EAGAIN')
    assert.is((await thrownBy(guarded.list(''))).code, 'EAGAIN')
    assert.is((await thrownBy(guarded.compareAndSet('k', 0, null))).code, 'EAGAIN')
    await setStanding(world.raw, { ...next, state: 'moved' })
    for (const call of [
      guarded.get('k'),
      guarded.compareAndSet('k', 0, null),
      generationGuarded(world.raw, { generationMin: 0 }),
    ]) {
      const error = await thrownBy(call)
      assert.is(error.code, 'ESTALE')
      assert.equal(error.subject, { to: 'etcd://h1:2379', generation: 4 })
      assert.match(error.message, /moved to etcd:\/\/h1:2379, generation 4: open that one/)
    }
  } finally {
    await world.close()
  }
})

test('a coordinator of a lower generation than was seen is not obeyed, nor one that was never begun', async () => {
  const world = await openWorld()
  try {
    assert.is((await thrownBy(generationGuarded(world.raw, { generationMin: 0 }))).code, 'ENOENT')
    await beginGeneration(world.raw, 3)
    await beginGeneration(world.raw, 3)
    assert.is((await thrownBy(beginGeneration(world.raw, 4))).code, 'EEXIST')
    assert.is((await generationGuarded(world.raw, { generationMin: 3 })).generation, 3)
    const error = await thrownBy(generationGuarded(world.raw, { generationMin: 4 }))
    assert.is(error.code, 'ESTALE')
    assert.match(error.message, /of generation 3, and this node has seen 4/)
  } finally {
    await world.close()
  }
})

test('a coordinator that becomes another under a guard is not obeyed by it any more', async () => {
  const world = await openWorld()
  try {
    await setStanding(world.raw, standing)
    const guarded = await generationGuarded(world.raw, { generationMin: 0 })
    await setStanding(world.raw, { ...standing, generation: 5 })
    assert.is((await thrownBy(guarded.get('k'))).code, 'ESTALE')
    assert.is((await thrownBy(guarded.compareAndSet('k', 0, null))).code, 'ESTALE')
    assert.is(await world.raw.get('k'), null)
  } finally {
    await world.close()
  }
})

test("the coordinator's own keys are out of its users' reach and sight", async () => {
  const world = await openWorld()
  try {
    await setStanding(world.raw, standing)
    const guarded = await generationGuarded(world.raw, { generationMin: 0 })
    assert.is((await thrownBy(guarded.get(KEY))).code, 'EINVAL')
    assert.is((await thrownBy(guarded.compareAndSet(KEY, 1, null))).code, 'EINVAL')
    assert.equal(await guarded.list('coordinator'), [])
    const seen: string[] = []
    await guarded.watch('', ({ key }) => seen.push(key))
    await setStanding(world.raw, { ...standing, state: 'frozen' })
    await setStanding(world.raw, standing)
    await guarded.compareAndSet('k', 0, bytes('v'))
    await until('the change of k', () => seen.length > 0)
    assert.equal(seen, ['k'])
  } finally {
    await world.close()
  }
})

test('a version of the generation before matches nothing', async () => {
  const world = await openWorld()
  try {
    await setStanding(world.raw, { ...standing, base: 500 })
    const guarded = await generationGuarded(world.raw, { generationMin: 0 })
    const { version } = await guarded.compareAndSet('k', 0, bytes('v'))
    assert.ok(version > 500)
    for (const old of [1, version - 500, 500])
      assert.equal(await guarded.compareAndSet('k', old, null), { ok: false, version })
  } finally {
    await world.close()
  }
})

test('a standing that is damaged, or of a newer weft, is not guessed at', async () => {
  const world = await openWorld()
  try {
    let version = 0
    for (const damaged of [
      '',
      '{}',
      '{"version":1,"state":"thawed"}',
      `{"version":1,"state":"active","generation":0,"base":0,"migration":null,"to":null}`,
    ]) {
      ;({ version } = await world.raw.compareAndSet(KEY, version, bytes(damaged)))
      const error = await generationGuarded(world.raw, { generationMin: 0 }).catch(
        (e: unknown) => e,
      )
      assert.instance(error, CorruptError, damaged)
    }
    await world.raw.compareAndSet(KEY, version, bytes('{"version":2}'))
    assert.is((await thrownBy(generationGuarded(world.raw, { generationMin: 0 }))).code, 'ENOTSUP')
  } finally {
    await world.close()
  }
})

test('the guard takes none of the steps that a transaction may have', async () => {
  const world = await openWorld()
  try {
    await setStanding(world.raw, standing)
    const guarded = await generationGuarded(world.raw, { generationMin: 0 })
    const steps = Array.from({ length: limits.coordinatorStepsMax }, (_, i) => ({
      key: `k${i}`,
      expected: 0,
      value: bytes('v'),
    }))
    const { ok, versions } = await guarded.transaction(steps)
    assert.ok(ok)
    assert.is(versions.length, steps.length)
  } finally {
    await world.close()
  }
})

test.run()
