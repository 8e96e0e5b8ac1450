import { mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type ChunkId, CorruptError, codeOf } from '../../src/base/index.ts'
import { ChunkStore } from '../../src/chunks/index.ts'
import { systemChunkFiles } from '../../src/disk/index.ts'
import type { Drive } from '../../src/drives/index.ts'
import { seeded } from '../support/seeded.ts'
import { type ChunkWorld, makeWorld } from './world.ts'

/** A thread that has not heard of every drive yet on which another one stores chunks. */

const plain = seeded(5).bytes(30_000)
const noPointer = Buffer.alloc(0)

function pathOf({ dir }: Drive, id: ChunkId): string {
  return join(dir, 'chunks', id.slice(0, 2), id)
}

/** On this drive alone, whatever drive another is. */
function putOn(world: ChunkWorld, drive: Drive): ChunkId {
  const id = world.newId()
  new ChunkStore([drive]).putSync(id, world.seal, plain, plain.length, noPointer)
  return id
}

function move(id: ChunkId, from: Drive, to: Drive): void {
  mkdirSync(join(pathOf(to, id), '..'), { recursive: true })
  renameSync(pathOf(from, id), pathOf(to, id))
}

function mustRead(store: ChunkStore, world: ChunkWorld, id: ChunkId, named: Drive): void {
  const out = Buffer.alloc(plain.length)
  store.readSync(id, named.id, world.reader, 0, out.length, out, 0)
  assert.ok(out.equals(plain))
}

/** Knows the first `known` drives, and hears of all when it looks. */
function storeOf(drives: readonly Drive[], known: number): ChunkStore {
  let isTold = false
  return new ChunkStore(drives.slice(0, known), {
    look: () => {
      if (isTold) return null
      isTold = true
      return drives
    },
  })
}

test('a chunk on a drive that has come is read, scrubbed and deleted by who had not heard of the drive', async () => {
  const world = makeWorld({ drives: 3 })
  try {
    const [first, second, third] = world.drives as [Drive, Drive, Drive]
    for (const known of [1, 2]) {
      mustRead(storeOf(world.drives, known), world, putOn(world, third), third)
      // The record names where it was put; it has been moved since.
      const moved = putOn(world, first)
      move(moved, first, third)
      mustRead(storeOf(world.drives, known), world, moved, first)
      const report = await storeOf(world.drives, known).scrub(moved, first.id, world.reader)
      assert.is(report.ok, true)
      assert.is(storeOf(world.drives, known).has(putOn(world, third), third.id), true)
      assert.is(await storeOf(world.drives, known).delete(moved, first.id), true)
      const last = putOn(world, third)
      assert.is(storeOf(world.drives, known).deleteSync(last, second.id), true)
      assert.is(systemChunkFiles.exists(pathOf(third, last)), false)
    }
  } finally {
    world.close()
  }
})

test('a chunk that is nowhere is missing, also where drives have come, and each look is one', () => {
  const world = makeWorld({ drives: 2 })
  try {
    let looks = 0
    const store = new ChunkStore(world.drives.slice(0, 1), {
      look: () => (looks++ === 0 ? world.drives : null),
    })
    const missing = () => {
      try {
        mustRead(store, world, world.newId(), world.drive)
        return null
      } catch (error) {
        return error
      }
    }
    const error = missing()
    assert.instance(error, CorruptError)
    assert.is((error as CorruptError).subject.missing, true)
    assert.is([...store.drives()].length, 2)
    assert.instance(missing(), CorruptError)
  } finally {
    world.close()
  }
})

test('a drive that is taken out is let go of, and what was moved off it is read from where it is now', () => {
  const world = makeWorld({ drives: 2 })
  try {
    const [first, second] = world.drives as [Drive, Drive]
    let now: readonly Drive[] | null = null
    const store = new ChunkStore(world.drives, {
      look: () => {
        const found = now
        now = null
        return found
      },
    })
    const id = putOn(world, first)
    mustRead(store, world, id, first)
    assert.is(store.openCount, 1)
    move(id, first, second)
    now = [second]
    assert.is(store.lookAtDrives(), true)
    assert.is(store.openCount, 0, 'no descriptor keeps its disk from being unmounted')
    mustRead(store, world, id, first)
    assert.is(store.lookAtDrives(), false)
    let code = ''
    try {
      mustRead(store, world, world.newId(), first)
    } catch (error) {
      code = codeOf(error)
    }
    assert.is(code, 'EIO', 'a chunk on a drive that is no drive of this node is not called damaged')
  } finally {
    world.close()
  }
})

test('a scrub beside the emptying of a drive does not call a chunk missing that was moved in between', async () => {
  const world = makeWorld({ drives: 2 })
  try {
    const [first, second] = world.drives as [Drive, Drive]
    const id = putOn(world, first)
    const store = new ChunkStore(world.drives, {
      files: {
        ...systemChunkFiles,
        open(path) {
          if (path === pathOf(first, id) && systemChunkFiles.exists(path)) move(id, first, second)
          return systemChunkFiles.open(path)
        },
      },
    })
    const report = await store.scrub(id, first.id, world.reader)
    assert.equal([report.ok, report.missing, report.drive], [true, false, second.id])
  } finally {
    world.close()
  }
})

test.run()
