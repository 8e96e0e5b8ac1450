import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type ChunkId,
  codeOf,
  FsError,
  type NodeId,
  silentLog,
  systemClock,
} from '../../src/base/index.ts'
import { RawChunks } from '../../src/chunks/index.ts'
import { DriveDrains } from '../../src/daemon/drain-drives.ts'
import { systemChunkFiles } from '../../src/disk/index.ts'
import type { Drive } from '../../src/drives/index.ts'
import { makeWorld } from '../chunks/world.ts'
import { until } from '../support/node-world.ts'
import { seeded } from '../support/seeded.ts'

const pathOf = (drive: Drive, id: ChunkId) => join(drive.dir, 'chunks', id.slice(0, 2), id)

/** A drive that fails and lets go of nothing, with two to go to; and drains that run. */
async function withDrains(
  work: (
    drains: DriveDrains,
    drives: [Drive, Drive, Drive],
    ids: ChunkId[],
    restarts: () => number,
  ) => Promise<void>,
) {
  let restarts = 0
  const world = makeWorld({ drives: 3 })
  const drives = [...world.drives] as [Drive, Drive, Drive]
  const owner = makeWorld({ seed: 2 })
  const ids: ChunkId[] = []
  for (let n = 0; n < 6; n++) {
    const id = owner.newId()
    const plain = seeded(n + 1).bytes(20_000)
    await owner.store.put(id, owner.seal, plain, plain.length, Buffer.alloc(0))
    mkdirSync(join(pathOf(drives[0], id), '..'), { recursive: true })
    writeFileSync(pathOf(drives[0], id), readFileSync(pathOf(owner.drive, id)))
    ids.push(id)
  }
  const chunks = new RawChunks(() => drives, {
    ...systemChunkFiles,
    removeSync(path) {
      if (path.startsWith(drives[0].dir)) throw new FsError('EROFS', 'unlink', { path })
      return systemChunkFiles.removeSync(path)
    },
  })
  await chunks.settle()
  drives[0].fail(new FsError('EROFS', 'test', {}))
  const drains = new DriveDrains(
    {
      node: 'a1'.repeat(16) as NodeId,
      drives,
      chunks,
      registry: { list: async () => ({ volumes: [], unreadable: [] }) } as never,
      written: () => 0,
      heard: async () => {},
      restart: async () => {
        restarts++
      },
      clock: systemClock(),
      log: silentLog,
    },
    [],
  )
  const running = drains.run()
  try {
    await until('it is empty', () => drains.state(drives[0])?.isEmpty === true)
    await work(drains, drives, ids, () => restarts)
  } finally {
    drains.close()
    await running
    world.close()
    owner.close()
  }
}

test('what was copied off a failing drive is copied once more when the drive that has it fails too', () =>
  withDrains(async (drains, [failing, second, third], ids) => {
    drains.mustBeEmpty(failing)
    assert.ok(ids.some((id) => existsSync(pathOf(second, id))))
    second.fail(new FsError('EIO', 'test', {}))
    let refusal: unknown = null
    try {
      drains.mustBeEmpty(failing)
    } catch (error) {
      refusal = error
    }
    assert.is(codeOf(refusal), 'EBUSY')
    await until('all is on the third', () => ids.every((id) => existsSync(pathOf(third, id))))
    await until('both are empty', () =>
      [failing, second].every((drive) => drains.state(drive)?.isEmpty === true),
    )
    drains.mustBeEmpty(failing)
  }))

test('a drive that is not empty because of a journal says so', () =>
  withDrains(async (drains, [, second]) => {
    mkdirSync(join(second.dir, 'volumes', '5e'.repeat(16)), { recursive: true })
    second.fail(new FsError('EIO', 'test', {}))
    await until('why is said', () => (drains.state(second)?.why ?? '') !== '')
    assert.match(drains.state(second)?.why ?? '', /^1 journals on it: weft drive drain /)
  }))

test('a drive whose emptying begins in this life is left by a restart when a journal is on it, and only then', () =>
  withDrains(async (drains, [failing, second], _ids, restarts) => {
    second.draining = true
    drains.begin(second)
    await until('it is empty', () => drains.state(second)?.isEmpty)
    assert.is(restarts(), 0)
    second.draining = false
    drains.begin(second)
    assert.is(drains.state(second), null)
    mkdirSync(join(second.dir, 'volumes', '5e'.repeat(16)), { recursive: true })
    second.draining = true
    drains.begin(second)
    assert.is(drains.state(second)?.isEmpty, false, 'what was found before is of before')
    await until('it restarts', () => restarts() > 0)
    mkdirSync(join(failing.dir, 'volumes', '5f'.repeat(16)), { recursive: true })
    assert.is(drains.state(failing)?.isEmpty, true, 'one that fails is as it was')
  }))

test('a drive that takes data again in between is gone over anew', () =>
  withDrains(async (drains, [failing, second, third], ids) => {
    second.draining = true
    drains.begin(second)
    await until('it is empty', () => drains.state(second)?.isEmpty)
    second.draining = false
    drains.begin(second)
    const [id] = ids as [ChunkId]
    mkdirSync(join(pathOf(second, id), '..'), { recursive: true })
    writeFileSync(pathOf(second, id), readFileSync(pathOf(failing, id)))
    second.draining = true
    drains.begin(second)
    await until('it is empty', () => drains.state(second)?.isEmpty)
    assert.not(existsSync(pathOf(second, id)))
    assert.ok(existsSync(pathOf(third, id)))
  }))

test.run()
