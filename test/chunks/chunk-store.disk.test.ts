import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type ChunkId, CorruptError, FsError, limits, type VolumeId } from '../../src/base/index.ts'
import { seeded } from '../support/seeded.ts'
import { makeWorld } from './world.ts'

const PAGE = limits.chunkPageBytes
const noPointer = Buffer.alloc(0)

function pathOf(dir: string, id: ChunkId): string {
  return join(dir, 'chunks', id.slice(0, 2), id)
}

test('what was put is read back at every size and offset', async () => {
  const world = makeWorld({ seed: 11 })
  try {
    const random = seeded(12)
    const sizes = [1, 2, 4095, 4096, 4097, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 100_000]
    sizes.push(20 * PAGE + 17, limits.chunkBytesMax - 1, limits.chunkBytesMax)
    const out = Buffer.alloc(limits.chunkBytesMax + 64)
    for (const size of sizes) {
      const id = world.newId()
      const plain = random.bytes(size)
      const { drive, storedBytes } = await world.store.put(id, world.seal, plain, size, noPointer)
      assert.is(storedBytes % 4096, 0)
      assert.is(storedBytes, Math.ceil(statSync(pathOf(world.drive.dir, id)).size / 4096) * 4096)
      for (let round = 0; round < 60; round++) {
        const at = round === 0 ? 0 : random.below(size)
        const most = round % 3 === 0 ? size - at : Math.min(size - at, 1 + random.below(3 * PAGE))
        const length = round === 0 ? size : most
        const outAt = random.below(64)
        out.fill(0xee)
        world.store.readSync(id, drive, world.reader, at, length, out, outAt)
        const got = out.subarray(outAt, outAt + length)
        assert.ok(got.equals(plain.subarray(at, at + length)), `${size}: ${length} at ${at}`)
        const untouched = outAt === 0 || out[outAt - 1] === 0xee
        assert.ok(untouched && out[outAt + length] === 0xee, 'nothing outside the range is touched')
      }
    }
  } finally {
    world.close()
  }
})

test('many chunks read in random order agree with their plain bytes, with few descriptors and pages', () => {
  const world = makeWorld({ seed: 21, drives: 3, openMost: 4, pagesKept: 3 })
  try {
    const random = seeded(22)
    const chunks = Array.from({ length: 12 }, () => {
      const id = world.newId()
      const plain = random.bytes(1 + random.below(6 * PAGE))
      const put = world.store.putSync(id, world.seal, plain, plain.length, noPointer)
      return { id, plain, drive: put.drive }
    })
    assert.is(new Set(chunks.map((chunk) => chunk.drive)).size, 3, 'they spread over the drives')
    const out = Buffer.alloc(6 * PAGE)
    for (let round = 0; round < 3000; round++) {
      const { id, plain, drive } = chunks[random.below(chunks.length)]!
      const at = random.below(plain.length)
      const length = Math.min(plain.length - at, random.below(round % 5 === 0 ? 3 * PAGE : 4096))
      world.store.readSync(id, drive, world.reader, at, length, out, 0)
      assert.ok(out.subarray(0, length).equals(plain.subarray(at, at + length)))
      assert.ok(world.store.openCount <= 4)
    }
  } finally {
    world.close()
  }
})

test('the plain buffer is the caller’s again as soon as put returns, with several puts in flight', async () => {
  const world = makeWorld({ seed: 31 })
  try {
    const plain = Buffer.alloc(3 * PAGE)
    const ids = Array.from({ length: 8 }, () => world.newId())
    const puts = ids.map((id, index) => {
      plain.fill(index + 1)
      const pointer = Buffer.from(`pointer ${index}`)
      const put = world.store.put(id, world.seal, plain, plain.length, pointer)
      plain.fill(0)
      pointer.fill(0)
      return put
    })
    const results = await Promise.all(puts)
    const out = Buffer.alloc(plain.length)
    ids.forEach((id, index) => {
      const { drive } = results[index]!
      world.store.readSync(id, drive, world.reader, 0, out.length, out, 0)
      assert.ok(out.every((byte) => byte === index + 1))
      const pointer = world.store.backPointerSync(id, drive, world.reader)
      assert.is(pointer.toString(), `pointer ${index}`)
    })
  } finally {
    world.close()
  }
})

test('an id is put once: the second is refused and the first stays whole', async () => {
  const world = makeWorld()
  try {
    const id = world.newId()
    const first = Buffer.alloc(PAGE, 1)
    await world.store.put(id, world.seal, first, PAGE, noPointer)
    const before = readFileSync(pathOf(world.drive.dir, id))
    const second = Buffer.alloc(PAGE, 2)
    const again = world.store.put(id, world.seal, second, PAGE, noPointer)
    assert.is((await failure(again)).code, 'EEXIST')
    assert.throws(
      () => world.store.putSync(id, world.seal, second, PAGE, noPointer),
      hasCode('EEXIST'),
    )
    assert.ok(readFileSync(pathOf(world.drive.dir, id)).equals(before))
    assert.is(world.drive.state, 'ok')
  } finally {
    world.close()
  }
})

test('a put over a limit is refused before anything is written', async () => {
  const world = makeWorld()
  try {
    const big = Buffer.alloc(limits.chunkBytesMax + 1)
    const put = (bytes: number, pointer: Buffer) =>
      failure(world.store.put(world.newId(), world.seal, big, bytes, pointer))
    const wide = Buffer.alloc(limits.chunkBackPointerBytesMax + 1)
    assert.is((await put(big.length, noPointer)).code, 'EFBIG')
    assert.is((await put(0, noPointer)).code, 'EINVAL')
    assert.is((await put(1, wide)).code, 'E2BIG')
    assert.equal([...world.store.list(world.drive.id)], [])
    const most = wide.subarray(1)
    const id = world.newId()
    await world.store.put(id, world.seal, big, limits.chunkBytesMax, most)
    assert.ok(world.store.backPointerSync(id, world.drive.id, world.reader).equals(most))
    assert.ok((await world.store.scrub(id, world.drive.id, world.reader)).ok)
  } finally {
    world.close()
  }
})

test('has, stat, list and delete tell what is there', async () => {
  const world = makeWorld({ seed: 41 })
  try {
    const { store, drive } = world
    const ids = Array.from({ length: 40 }, () => world.newId())
    for (const id of ids) store.putSync(id, world.seal, Buffer.alloc(5000, 1), 5000, noPointer)
    assert.equal([...store.list(drive.id)].sort(), [...ids].sort())
    const id = ids[0]!
    const info = store.statSync(id, drive.id)
    assert.is(info.id, id)
    assert.is(info.volume, world.seal.volume)
    assert.is(info.keyEpoch, world.seal.keyEpoch)
    assert.is(info.epoch, world.seal.epoch)
    assert.is(info.plainBytes, 5000)
    assert.is(info.pageCount, 1)
    assert.is(info.storedBytes, 4 * 4096)
    assert.is(store.has(id, drive.id), true)
    const out = Buffer.alloc(5000)
    store.readSync(id, drive.id, world.reader, 0, 5000, out, 0)
    assert.is(await store.delete(id, drive.id), true)
    assert.is(await store.delete(id, drive.id), false)
    assert.is(store.has(id, drive.id), false)
    const read = () => store.readSync(id, drive.id, world.reader, 0, 1, out, 0)
    assert.throws(read, isCorrupt({ chunk: id, missing: true }))
    assert.throws(() => store.statSync(id, drive.id), isCorrupt({ chunk: id, missing: true }))
    assert.is(store.deleteSync(ids[1]!, drive.id), true)
    assert.is(store.deleteSync(ids[1]!, drive.id), false)
    assert.equal([...store.list(drive.id)].sort(), ids.slice(2).sort())
    assert.is(drive.state, 'ok', 'a missing chunk says nothing about the drive')
  } finally {
    world.close()
  }
})

test('another thread reads a deleted chunk from its descriptor until it is told', () => {
  const world = makeWorld()
  try {
    const other = world.anotherStore()
    const id = world.newId()
    const plain = Buffer.alloc(4 * PAGE, 9)
    const { drive } = world.store.putSync(id, world.seal, plain, plain.length, noPointer)
    const out = Buffer.alloc(plain.length)
    other.readSync(id, drive, world.reader, 0, 1, out, 0)
    world.store.deleteSync(id, drive)
    other.readSync(id, drive, world.reader, 0, plain.length, out, 0)
    assert.ok(out.equals(plain))
    other.forget(id)
    const read = () => other.readSync(id, drive, world.reader, 0, 1, out, 0)
    assert.throws(read, isCorrupt({ chunk: id, missing: true }))
  } finally {
    world.close()
  }
})

test('descriptors are given back when chunks are forgotten and the store is closed', () => {
  const world = makeWorld({ openMost: 8 })
  try {
    const count = () =>
      readdirSync('/proc/self/fd').filter((fd) => {
        const link = `/proc/self/fd/${fd}`
        return existsSync(link) && statSync(link).isFile()
      }).length
    const before = count()
    const out = Buffer.alloc(1)
    for (let i = 0; i < 20; i++) {
      const id = world.newId()
      const { drive } = world.store.putSync(id, world.seal, Buffer.alloc(10), 10, noPointer)
      world.store.readSync(id, drive, world.reader, 0, 1, out, 0)
      world.store.statSync(id, drive)
      world.store.backPointerSync(id, drive, world.reader)
    }
    assert.is(count() - before, 8)
    world.store.close()
    assert.is(count(), before)
  } finally {
    world.close()
  }
})

test('a locked volume answers at once, also for pages that were kept unsealed', () => {
  const world = makeWorld()
  try {
    const id = world.newId()
    const plain = Buffer.alloc(PAGE, 5)
    const { drive } = world.store.putSync(id, world.seal, plain, PAGE, noPointer)
    const out = Buffer.alloc(16)
    world.store.readSync(id, drive, world.reader, 0, 16, out, 0)
    const locked = {
      volume: world.reader.volume,
      keyOf(): Buffer {
        throw new FsError('ENOKEY', 'keys.get')
      },
    }
    assert.throws(() => world.store.readSync(id, drive, locked, 0, 16, out, 0), hasCode('ENOKEY'))
    world.store.wipe()
    out.fill(0)
    world.store.readSync(id, drive, world.reader, 3, 16, out, 0)
    assert.ok(out.every((byte) => byte === 5))
  } finally {
    world.close()
  }
})

test('a chunk of another volume, and a range outside the chunk, are damage and not data', () => {
  const world = makeWorld()
  try {
    const id = world.newId()
    const { drive } = world.store.putSync(id, world.seal, Buffer.alloc(100), 100, noPointer)
    const out = Buffer.alloc(200)
    const stranger = { ...world.reader, volume: '77'.repeat(16) as VolumeId }
    const read = (at: number, length: number) => () =>
      world.store.readSync(id, drive, world.reader, at, length, out, 0)
    assert.throws(
      () => world.store.readSync(id, drive, stranger, 0, 1, out, 0),
      isCorrupt({ chunk: id, part: 'header' }),
    )
    assert.throws(read(0, 101), isCorrupt({ chunk: id, plainBytes: 100 }))
    assert.throws(read(100, 1), isCorrupt({ chunk: id, plainBytes: 100 }))
    read(100, 0)()
    read(99, 1)()
  } finally {
    world.close()
  }
})

test('quarantine moves a chunk aside and never overwrites one that is there', async () => {
  const world = makeWorld()
  try {
    const { store, drive } = world
    const id = world.newId()
    const kept: Buffer[] = []
    const plain = Buffer.alloc(100, 1)
    for (let round = 0; round < 3; round++) {
      // Same id, same bytes: a repair puts back what was lost. The back-pointers' nonce tells them apart.
      await store.put(id, world.seal, plain, 100, noPointer)
      kept.push(readFileSync(pathOf(drive.dir, id)))
      const to = store.quarantine(id, drive.id)
      assert.is(to, join(drive.dir, 'quarantine', round === 0 ? id : `${id}.${round}`))
      assert.is(store.has(id, drive.id), false)
    }
    assert.equal(store.quarantined(drive.id).sort(), [id, `${id}.1`, `${id}.2`])
    kept.forEach((bytes, round) => {
      const name = round === 0 ? id : `${id}.${round}`
      assert.ok(readFileSync(join(drive.dir, 'quarantine', name)).equals(bytes))
    })
    assert.is(store.quarantine(id, drive.id), null)
  } finally {
    world.close()
  }
})

test('plain words are nowhere on the drive', async () => {
  const world = makeWorld()
  try {
    const words = 'the-quick-canary-sings-7391'
    const plain = Buffer.from(words.repeat(2000))
    const pointer = Buffer.from(`inode ${words}`)
    for (let i = 0; i < 3; i++) {
      await world.store.put(world.newId(), world.seal, plain, plain.length, pointer)
    }
    // A short chunk from the image of a long one must not carry its leftovers.
    await world.store.put(world.newId(), world.seal, plain, 10, noPointer)
    let files = 0
    for (const name of readdirSync(world.root, { recursive: true, encoding: 'utf8' })) {
      const path = join(world.root, name)
      if (!statSync(path).isFile()) continue
      files++
      const bytes = readFileSync(path)
      for (const part of ['canary', 'sings-7391', 'the-quick', 'inode ']) {
        assert.is(bytes.indexOf(part), -1, `${part} in ${name}`)
      }
    }
    assert.is(files, 5)
  } finally {
    world.close()
  }
})

async function failure(work: Promise<unknown>): Promise<FsError> {
  try {
    await work
  } catch (error) {
    if (error instanceof FsError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

function hasCode(code: string) {
  return (error: unknown) => error instanceof FsError && error.code === code
}

function isCorrupt(subject: Record<string, unknown>) {
  return (error: unknown) =>
    error instanceof CorruptError &&
    Object.entries(subject).every(([name, value]) => error.subject[name] === value)
}

test.run()
