import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type ChunkId, CorruptError, FsError, limits } from '../../src/base/index.ts'
import type { ChunkStore, ScrubReport } from '../../src/chunks/index.ts'
import { seeded } from '../support/seeded.ts'
import { type ChunkWorld, makeWorld } from './world.ts'

const PAGE = limits.chunkPageBytes
const BLOCK = 4096
const PAGES = 5
const LAST_BYTES = 7001
const SIZE = (PAGES - 1) * PAGE + LAST_BYTES
const DATA_AT = 2 * BLOCK
const pointer = Buffer.from('where all this belongs')

interface Target {
  readonly world: ChunkWorld
  readonly id: ChunkId
  readonly path: string
  readonly plain: Buffer
  readonly whole: Buffer
}

function makeTarget(): Target {
  const world = makeWorld({ seed: 51 })
  const id = world.newId()
  const plain = seeded(52).bytes(SIZE)
  world.store.putSync(id, world.seal, plain, SIZE, pointer)
  const path = join(world.drive.dir, 'chunks', id.slice(0, 2), id)
  return { world, id, path, plain, whole: readFileSync(path) }
}

function flip({ path, whole }: Target, at: number, bit = 0): void {
  const bytes = Buffer.from(whole)
  bytes[at]! ^= 1 << bit
  writeFileSync(path, bytes)
}

function errorOf(work: () => unknown): CorruptError | null {
  try {
    work()
    return null
  } catch (error) {
    if (error instanceof CorruptError) return error
    throw error
  }
}

/** Which pages a fresh thread cannot read, each asked for by a part and as a whole. */
function unreadablePages(target: Target, store: ChunkStore): number[] {
  const { world, id, plain } = target
  const out = Buffer.alloc(SIZE)
  const bad: number[] = []
  for (let page = 0; page < PAGES; page++) {
    const at = page * PAGE
    const length = Math.min(PAGE, SIZE - at)
    const read = (from: number, count: number) => {
      const error = errorOf(() =>
        store.readSync(id, world.drive.id, world.reader, from, count, out, 0),
      )
      if (error === null)
        assert.ok(out.subarray(0, count).equals(plain.subarray(from, from + count)))
      else assert.is(error.subject.page, page)
      return error !== null
    }
    const part = read(at + 100, 50)
    const full = read(at, length)
    assert.is(part, full)
    if (full) bad.push(page)
  }
  return bad
}

async function scrubs(target: Target): Promise<{ blind: ScrubReport; keyed: ScrubReport }> {
  const { world, id } = target
  return {
    blind: await world.store.scrub(id, world.drive.id, null),
    keyed: await world.store.scrub(id, world.drive.id, world.reader),
  }
}

test('a flipped bit in a page fails the ranges of that page alone', async () => {
  const target = makeTarget()
  try {
    for (let page = 0; page < PAGES; page++) {
      const bytes = Math.min(PAGE, SIZE - page * PAGE)
      for (const within of [0, 1234, bytes - 1]) {
        flip(target, DATA_AT + page * PAGE + within, within % 8)
        const store = target.world.anotherStore()
        assert.equal(unreadablePages(target, store), [page])
        const { world, id } = target
        const across = () =>
          store.readSync(id, world.drive.id, world.reader, 0, SIZE, Buffer.alloc(SIZE), 0)
        assert.is(errorOf(across)?.subject.page, page)
        assert.ok(store.backPointerSync(id, world.drive.id, world.reader).equals(pointer))
      }
      const { blind, keyed } = await scrubs(target)
      assert.equal(blind.damage, ['checksum'])
      assert.equal(keyed.damage, ['checksum', 'pages'])
      assert.equal(keyed.badPages, [page])
    }
  } finally {
    target.world.close()
  }
})

test('a flipped bit in the tag table fails the page of that tag, behind the last tag none', async () => {
  const target = makeTarget()
  try {
    for (let page = 0; page <= PAGES; page++) {
      const expected = page < PAGES ? [page] : []
      flip(target, BLOCK + page * 16 + 7, 3)
      assert.equal(unreadablePages(target, target.world.anotherStore()), expected)
      const { blind, keyed } = await scrubs(target)
      assert.is(blind.ok, false)
      assert.equal(keyed.badPages, expected)
      assert.ok(keyed.damage.includes('checksum'))
    }
  } finally {
    target.world.close()
  }
})

test('a flipped bit in the back-pointers leaves all data readable', async () => {
  const target = makeTarget()
  try {
    const { world, id, whole } = target
    const end = DATA_AT + SIZE + pointer.length + 40 // nonce and tag
    assert.ok(end <= whole.length)
    for (let at = DATA_AT + SIZE; at < end; at++) {
      flip(target, at, at % 8)
      const store = world.anotherStore()
      const error = errorOf(() => store.backPointerSync(id, world.drive.id, world.reader))
      assert.equal(error?.subject.part, 'back-pointer', `byte ${at}`)
    }
    assert.equal(unreadablePages(target, world.anotherStore()), [])
    const { blind, keyed } = await scrubs(target)
    assert.equal(blind.damage, ['checksum'])
    assert.equal(keyed.damage, ['checksum', 'back-pointer'])
  } finally {
    target.world.close()
  }
})

const HEADER_BYTES = [0, 8, 12, 16, 40, 48, 56, 64, 72, 76, 80, 84, 2000, 4091, 4092, 4095]

test('a flipped bit in the header costs no page; scrub names it', async () => {
  const target = makeTarget()
  try {
    const { world, id } = target
    for (const at of HEADER_BYTES) {
      flip(target, at, 2)
      const store = world.anotherStore()
      assert.equal(unreadablePages(target, store), [], `byte ${at}`)
      assert.is(store.statSync(id, world.drive.id).plainBytes, SIZE)
      assert.equal(store.backPointerSync(id, world.drive.id, world.reader), pointer)
      const { blind, keyed } = await scrubs(target)
      assert.equal(blind.damage, ['header'])
      assert.equal(keyed.damage, ['header'])
      assert.equal(keyed.badPages, [])
    }
  } finally {
    target.world.close()
  }
})

test('more than one flipped bit in the header fails the chunk', async () => {
  const target = makeTarget()
  try {
    const { world, id, path } = target
    for (const at of HEADER_BYTES) {
      flip(target, at, 2)
      const bytes = readFileSync(path)
      bytes[at === 17 ? 18 : 17]! ^= 1
      writeFileSync(path, bytes)
      const store = world.anotherStore()
      const read = () => store.readSync(id, world.drive.id, world.reader, 0, 1, Buffer.alloc(1), 0)
      assert.is(errorOf(read)?.subject.part, 'header', `byte ${at}`)
      assert.is(errorOf(() => store.statSync(id, world.drive.id))?.subject.part, 'header')
      const { blind, keyed } = await scrubs(target)
      assert.equal(blind.damage, ['header'])
      assert.equal(keyed.damage, ['header'])
    }
  } finally {
    target.world.close()
  }
})

test('a file cut short keeps the pages it still has', async () => {
  const target = makeTarget()
  try {
    const { world, id, path } = target
    for (const [length, bad] of [
      [DATA_AT + 2 * PAGE, [2, 3, 4]],
      [DATA_AT + 2 * PAGE + 100, [2, 3, 4]],
      [DATA_AT + SIZE - 1, [4]],
      [DATA_AT + SIZE, []],
      [DATA_AT, [0, 1, 2, 3, 4]],
    ] as const) {
      writeFileSync(path, target.whole)
      truncateSync(path, length)
      const store = world.anotherStore()
      assert.equal(unreadablePages(target, store), bad, `${length} bytes`)
      const pointers = errorOf(() => store.backPointerSync(id, world.drive.id, world.reader))
      assert.is(pointers?.subject.part, 'back-pointer')
      const { blind, keyed } = await scrubs(target)
      assert.equal(blind.badPages, bad)
      assert.equal(keyed.badPages, bad)
      assert.ok(blind.damage.includes('length') && keyed.damage.includes('back-pointer'))
    }
    for (const length of [0, 1, BLOCK - 1]) {
      truncateSync(path, length)
      const stat = () => world.anotherStore().statSync(id, world.drive.id)
      assert.is(errorOf(stat)?.subject.part, 'header')
      assert.equal((await scrubs(target)).blind.damage, ['header'])
    }
  } finally {
    target.world.close()
  }
})

test('a whole chunk scrubs clean, one with bytes behind it and a missing one do not', async () => {
  const target = makeTarget()
  try {
    const { world, id, path, whole } = target
    for (const report of Object.values(await scrubs(target))) {
      assert.is(report.ok, true)
      assert.equal(report.damage, [])
      assert.is(report.header?.plainBytes, SIZE)
    }
    writeFileSync(path, Buffer.concat([whole, Buffer.alloc(10)]))
    assert.equal((await scrubs(target)).keyed.damage, ['length'])
    rmSync(path)
    const { blind, keyed } = await scrubs(target)
    assert.equal(blind.damage, ['file'])
    assert.is(keyed.missing, true)
    assert.is(world.drive.state, 'ok')
    assert.is(world.store.quarantine(id, world.drive.id), null)
  } finally {
    target.world.close()
  }
})

test('pages of one chunk cannot stand in for pages of another', () => {
  const target = makeTarget()
  try {
    const { world, path, whole, plain } = target
    const twin = world.newId()
    world.store.putSync(twin, world.seal, plain, SIZE, pointer)
    const twinBytes = readFileSync(join(world.drive.dir, 'chunks', twin.slice(0, 2), twin))
    // Page 1 and its tag come from the twin; pages 2 and 3 change places with their tags.
    const bytes = Buffer.from(whole)
    const movePage = (from: Buffer, fromPage: number, toPage: number) => {
      from.copy(
        bytes,
        DATA_AT + toPage * PAGE,
        DATA_AT + fromPage * PAGE,
        DATA_AT + (fromPage + 1) * PAGE,
      )
      from.copy(bytes, BLOCK + toPage * 16, BLOCK + fromPage * 16, BLOCK + (fromPage + 1) * 16)
    }
    movePage(twinBytes, 1, 1)
    movePage(whole, 2, 3)
    movePage(whole, 3, 2)
    writeFileSync(path, bytes)
    assert.equal(unreadablePages(target, world.anotherStore()), [1, 2, 3])
  } finally {
    target.world.close()
  }
})

test('files of random damage give only CorruptError, and right bytes where they give any', async () => {
  const target = makeTarget()
  try {
    const { world, id, path, whole, plain } = target
    const random = seeded(20260102)
    const out = Buffer.alloc(SIZE)
    let served = 0
    for (let round = 0; round < 400; round++) {
      const bytes = Buffer.from(whole)
      for (let count = random.below(6); count > 0; count--) {
        const around = [BLOCK, DATA_AT, whole.length][random.below(3)]!
        const at = random.below(around)
        bytes.fill(random.word() & 0xff, at, Math.min(bytes.length, at + 1 + random.below(300)))
      }
      const length = random.below(4) === 0 ? random.below(whole.length + 1) : whole.length
      writeFileSync(path, bytes.subarray(0, length))
      const store = world.anotherStore()
      for (let reads = 0; reads < 4; reads++) {
        const at = random.below(SIZE)
        const count = Math.min(SIZE - at, random.below(2 * PAGE))
        const error = errorOf(() =>
          store.readSync(id, world.drive.id, world.reader, at, count, out, 0),
        )
        if (error !== null) continue
        served++
        assert.ok(out.subarray(0, count).equals(plain.subarray(at, at + count)), `round ${round}`)
      }
      await store.scrub(id, world.drive.id, world.reader)
      store.close()
    }
    assert.ok(served > 100, `only ${served} reads were served`)
    assert.is(world.drive.state, 'ok')
  } finally {
    target.world.close()
  }
})

test('a lost drive is not taken for a lost chunk', () => {
  const target = makeTarget()
  try {
    const { world, id } = target
    rmSync(world.drive.dir, { recursive: true })
    const store = world.anotherStore()
    let code = ''
    try {
      store.readSync(id, world.drive.id, world.reader, 0, 1, Buffer.alloc(1), 0)
    } catch (error) {
      if (error instanceof FsError) code = error.code
    }
    assert.is(code, 'EIO')
    assert.is(world.drive.state, 'gone')
  } finally {
    target.world.close()
  }
})

test.run()
