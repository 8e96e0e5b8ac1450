import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type ChunkId, codeOf, FsError } from '../../src/base/index.ts'
import { makeWorld } from './world.ts'

/** Needs root: a tmpfs of 8 MiB is the drive. */
async function withSmallDrive(work: (root: string) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'weft-small-'))
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'weft-test', root])
  if (mount.status !== 0) throw new Error(`mount tmpfs: ${mount.stderr}`)
  try {
    await work(root)
  } finally {
    const unmount = spawnSync('umount', [root])
    if (unmount.status !== 0) spawnSync('umount', ['-l', root])
    rmSync(root, { recursive: true })
  }
}

const none = Buffer.alloc(0)
const plain = Buffer.alloc(700_000, 1)

test('a full drive says ENOSPC early, keeps its headroom, and takes deletes and urgent puts', async () => {
  await withSmallDrive(async (root) => {
    const world = makeWorld({ root })
    try {
      const { store, drive } = world
      const put: ChunkId[] = []
      // Smaller than the headroom of 512 KiB, so that only the headroom can stop them there.
      const small = plain.subarray(0, 100_000)
      let code = ''
      while (code === '' && put.length < 200) {
        const id = world.newId()
        try {
          await store.put(id, world.seal, small, small.length, none)
          put.push(id)
        } catch (error) {
          code = codeOf(error)
        }
      }
      assert.is(code, 'ENOSPC')
      assert.ok(put.length >= 40, `only ${put.length} chunks found room`)
      assert.equal([...store.list(drive.id)].sort(), put.sort(), 'no part of a chunk is left')
      assert.ok(drive.freeBytes() >= drive.headroomBytes(), 'the headroom is whole')
      for (const id of put) assert.ok((await store.scrub(id, drive.id, world.reader)).ok)
      const urgent = { ...world.seal, urgent: true }
      await store.put(world.newId(), urgent, small, small.length, none)
      assert.is(drive.state, 'ok', 'a full drive is no failing drive')
      // One for what the urgent put took from the headroom, one for the next put.
      for (const id of put.slice(0, 2)) assert.is(await store.delete(id, drive.id), true)
      await store.put(world.newId(), world.seal, small, small.length, none)
    } finally {
      world.close()
    }
  })
})

test('ENOSPC in the middle of a write leaves no file, whichever way it is put', async () => {
  await withSmallDrive(async (root) => {
    const world = makeWorld({ root })
    try {
      const { store, drive } = world
      store.putSync(world.newId(), world.seal, plain, plain.length, none)
      const before = [...store.list(drive.id)]
      // Another program fills the drive behind our back, within the 250 ms that free space is believed.
      const free = () => statfsSync(root).bavail * statfsSync(root).bsize
      writeFileSync(join(root, 'ballast'), Buffer.alloc(free() - 300_000))
      const blind = Object.create(drive, {
        freeBytes: { value: () => 100_000_000 },
        headroomBytes: { value: () => 0 },
        reserve: { value: () => {} },
        release: { value: () => {} },
        state: { value: 'ok' },
        present: { value: () => true },
      })
      const other = world.anotherStore()
      other.removeDrive(drive.id)
      other.addDrive(blind)
      for (const way of ['put', 'putSync'] as const) {
        let error: unknown
        try {
          await other[way](world.newId(), world.seal, plain, plain.length, none)
        } catch (thrown) {
          error = thrown
        }
        assert.instance(error, FsError)
        assert.is(codeOf(error), 'ENOSPC')
        assert.equal([...store.list(drive.id)], before)
        assert.ok(free() >= 250_000, `${free()} bytes free after ${way}`)
      }
    } finally {
      world.close()
    }
  })
})

test('deleting gives the space back, also of chunks that were read', async () => {
  await withSmallDrive(async (root) => {
    const world = makeWorld({ root })
    try {
      const { store, drive } = world
      store.deleteSync(world.newId(), drive.id)
      const ids = Array.from({ length: 8 }, () => world.newId())
      const out = Buffer.alloc(plain.length)
      const used = () => (statfsSync(root).blocks - statfsSync(root).bfree) * statfsSync(root).bsize
      store.putSync(ids[0]!, world.seal, plain, plain.length, none)
      await store.delete(ids[0]!, drive.id)
      const empty = used()
      for (const id of ids) {
        await store.put(id, world.seal, plain, plain.length, none)
        store.readSync(id, drive.id, world.reader, 0, plain.length, out, 0)
      }
      assert.ok(used() > 8 * plain.length)
      for (const id of ids) assert.is(await store.delete(id, drive.id), true)
      assert.ok(used() <= empty, `${used()} bytes used, ${empty} when empty`)
    } finally {
      world.close()
    }
  })
})

test.run()
