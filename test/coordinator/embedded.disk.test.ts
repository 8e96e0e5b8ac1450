import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { open } from 'lmdb'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CorruptError, FsError } from '../../src/base/index.ts'
import { type Coordinator, openEmbeddedCoordinator } from '../../src/coordinator/index.ts'
import { checkLmdbFile } from '../../src/coordinator/lmdb-check.ts'
import { coordinatorCases } from '../conformance/coordinator.ts'

interface World {
  readonly dir: string
  readonly coordinator: Coordinator
  close(): Promise<void>
}

async function openWorld(): Promise<World> {
  const base = mkdtempSync(join(tmpdir(), 'weft-coordinator-'))
  const dir = join(base, 'coordinator')
  const coordinator = await openEmbeddedCoordinator(dir)
  return {
    dir,
    coordinator,
    async close() {
      await coordinator.close()
      rmSync(base, { recursive: true, force: true })
    },
  }
}

if (process.argv[2] === 'open') {
  try {
    const coordinator = await openEmbeddedCoordinator(process.argv[3] ?? '')
    console.log(`read ${(await coordinator.list('')).length} entries`)
    await coordinator.close()
  } catch (error) {
    console.log(error instanceof Error ? error.name : error)
  }
  process.exit(0)
}

for (const { name, run } of coordinatorCases) {
  test(name, async () => {
    const world = await openWorld()
    try {
      await run(world.coordinator)
    } finally {
      await world.close()
    }
  })
}

test('what was set is there after closing and opening again, and versions go on from there', async () => {
  const world = await openWorld()
  try {
    const set = await world.coordinator.compareAndSet('volume/a', 0, Buffer.from('one'))
    const gone = await world.coordinator.compareAndSet('volume/a', set.version, null)
    await world.coordinator.compareAndSet('name/a', 0, Buffer.from('kept'))
    await world.coordinator.close()
    const again = await openEmbeddedCoordinator(world.dir)
    try {
      assert.equal((await again.get('name/a'))?.value, Buffer.from('kept'))
      const anew = await again.compareAndSet('volume/a', 0, Buffer.from('two'))
      assert.ok(anew.ok && anew.version > gone.version + 1)
    } finally {
      await again.close()
    }
  } finally {
    await world.close()
  }
})

/** Opens in a child process: LMDB on a damaged file can end its process, which must be seen as that. */
function openInChild(dir: string): string {
  const run = spawnSync(process.execPath, [fileURLToPath(import.meta.url), 'open', dir], {
    encoding: 'utf8',
    timeout: 10_000,
  })
  return run.signal ?? run.stdout.trim()
}

test('a damaged file is CorruptError, never a crash, and stays as it was', async () => {
  const world = await openWorld()
  try {
    for (let i = 0; i < 60; i++)
      await world.coordinator.compareAndSet(`volume/${i}`, 0, Buffer.alloc(200, i))
    await world.coordinator.compareAndSet('large', 0, Buffer.alloc(20_000, 1))
    await world.coordinator.close()
    const path = join(world.dir, 'data.mdb')
    const whole = readFileSync(path)
    const damages: Record<string, Buffer> = {
      garbage: Buffer.alloc(whole.length, 0x5a),
      zeros: Buffer.alloc(whole.length),
      'heads alone': whole.subarray(0, 8192),
      'half of it': whole.subarray(0, whole.length / 2),
      'a few bytes': whole.subarray(0, 100),
      'pages zeroed': Buffer.concat([whole.subarray(0, 8192), Buffer.alloc(whole.length - 8192)]),
      'pages shifted': Buffer.concat([
        whole.subarray(0, 8192),
        Buffer.alloc(4096),
        whole.subarray(8192),
      ]),
    }
    for (const [name, bytes] of Object.entries(damages)) {
      writeFileSync(path, bytes)
      assert.is(openInChild(world.dir), 'CorruptError', name)
      assert.ok(readFileSync(path).equals(bytes), name)
    }
    writeFileSync(path, whole)
    assert.is(openInChild(world.dir), 'read 61 entries')
  } finally {
    await world.close()
  }
})

test('a flipped byte anywhere is found or harmless: what is read is right, or the error is CorruptError', async () => {
  const world = await openWorld()
  try {
    for (let i = 0; i < 40; i++)
      await world.coordinator.compareAndSet(`volume/${i}`, 0, Buffer.from(`value of ${i}`))
    await world.coordinator.close()
    const path = join(world.dir, 'data.mdb')
    const whole = readFileSync(path)
    let found = 0
    for (let round = 0; round < 400; round++) {
      const dir = join(world.dir, '..', `flipped-${round}`)
      mkdirSync(dir)
      const flipped = Buffer.from(whole)
      const at = (round * 7919 + 13) % whole.length
      flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << (round % 8)), at)
      writeFileSync(join(dir, 'data.mdb'), flipped)
      try {
        const coordinator = await openEmbeddedCoordinator(dir)
        try {
          for (const { key, value } of await coordinator.list(''))
            assert.is(value.toString(), `value of ${key.slice(7)}`)
        } finally {
          await coordinator.close()
        }
      } catch (error) {
        assert.ok(
          error instanceof CorruptError || (error instanceof FsError && error.code === 'ENOTSUP'),
          `byte ${at}: ${error}`,
        )
        found++
      }
      rmSync(dir, { recursive: true })
    }
    assert.ok(found > 5, `only ${found} of 400 flips were found`)
  } finally {
    await world.close()
  }
})

test('the check accepts what LMDB writes: deep trees, large values, pages freed and used again', async () => {
  const world = await openWorld()
  try {
    const open = new Map<string, number>()
    for (let round = 0; round < 60; round++) {
      const steps = Array.from({ length: 60 }, (_, i) => {
        const key = `key/${(round * 37 + i * 11) % 700}`
        const last = open.get(key) ?? 0
        const bytes = ((round * 31 + i * 17) % 50) * ((i % 13) + 1) ** 2
        return {
          key,
          expected: last,
          value: last > 0 && (round + i) % 3 === 0 ? null : Buffer.alloc(bytes, i),
        }
      })
      const { ok, versions } = await world.coordinator.transaction(steps)
      assert.ok(ok)
      steps.forEach(({ key, value }, i) => {
        open.set(key, value === null ? 0 : (versions[i] ?? 0))
      })
      if (round % 4 === 0) checkLmdbFile(readFileSync(join(world.dir, 'data.mdb')))
    }
  } finally {
    await world.close()
  }
})

test('a directory that cannot be made says so with the code of the system', async () => {
  const world = await openWorld()
  try {
    const blocked = join(world.dir, 'data.mdb', 'below-a-file')
    const error = await openEmbeddedCoordinator(blocked).then(
      () => null,
      (thrown: unknown) => thrown,
    )
    assert.instance(error, FsError)
    assert.is((error as FsError).code, 'ENOTDIR')
    assert.ok((error as FsError).message.includes(blocked))
  } finally {
    await world.close()
  }
})

test('a coordinator written by a newer build is refused by name of its format', async () => {
  const world = await openWorld()
  try {
    await world.coordinator.close()
    const raw = open<number, string>({
      path: world.dir,
      overlappingSync: false,
      encoding: 'binary',
    })
    await raw.openDB<number, string>('about', { encoding: 'json' }).put('format', 2)
    await raw.close()
    const error = await openEmbeddedCoordinator(world.dir).then(
      () => null,
      (thrown: unknown) => thrown,
    )
    assert.instance(error, FsError)
    assert.is((error as FsError).code, 'ENOTSUP')
    assert.is(
      (error as FsError).message,
      `${world.dir}: written by a newer weft (coordinator format 2, this build reads 1): run that build`,
    )
  } finally {
    await world.close()
  }
})

test.run()
