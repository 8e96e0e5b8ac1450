// deadline: 240 s
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type ChunkId,
  type Clock,
  type Ino,
  limits,
  newId,
  ROOT_INO,
  systemRandom,
} from '../../src/base/index.ts'
import { type Extent, keys } from '../../src/meta/index.ts'
import { putPieces } from '../../src/store/chunk-pieces.ts'
import { ExtentEditor } from '../../src/store/index.ts'
import type { Commit } from '../../src/store/move-extents.ts'
import { Reclaim } from '../../src/store/reclaim.ts'
import { sleep, until } from '../support/node-world.ts'
import { onSmallDrive } from '../support/small-drive.ts'
import { VolumeWorld } from './volume-world.ts'

const KIB = 1024
const MIB = 1024 * KIB
const PAGE = 4 * KIB
/** Pieces that one batch of staged writes becomes a chunk of. */
const BATCH = 1024

/** Numbers below `below` that follow from the seed. */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return Math.floor((state / 2 ** 31) * below)
  }
}

function pattern(bytes: number, seed: number): Buffer {
  const next = numbers(seed)
  const data = Buffer.alloc(bytes)
  for (let at = 0; at + 4 <= bytes; at += 4) data.writeUInt32LE(next(2 ** 31), at)
  return data
}

/** One batch of the engine's: pieces of a file as one chunk, or inline, and one record. */
async function write(
  world: VolumeWorld,
  ino: Ino,
  pieces: readonly { offset: number; data: Buffer }[],
  inline = false,
): Promise<void> {
  const sorted = [...pieces].sort((a, b) => a.offset - b.offset)
  const plain = Buffer.concat(sorted.map(({ data }) => data))
  let at = 0
  const placed = sorted.map(({ offset, data }) => {
    at += data.length
    return { ino, offset, length: data.length, at: at - data.length, data }
  })
  const id = newId<ChunkId>(systemRandom)
  const chunk = inline ? null : await putPieces(world.volume, id, plain, plain.length, placed)
  world.change((draft) => {
    if (chunk) draft.addChunk(id, chunk)
    const editor = new ExtentEditor(draft, ino)
    for (const { offset, length, at, data } of placed) {
      editor.carve(offset, offset + length)
      if (chunk) editor.put(offset, { kind: 'chunk', length, chunk: id, at })
      else editor.put(offset, { kind: 'inline', length, data })
    }
    const inode = draft.inode(ino)
    if (!inode) throw new Error('no inode')
    const size = Math.max(inode.size, ...placed.map(({ offset, length }) => offset + length))
    draft.putInode(ino, { ...inode, size, bytes: inode.bytes + editor.bytesDelta })
  })
}

/** A file of `mib` MiB, then written over in pages in random order. @returns its bytes */
async function scatter(
  world: VolumeWorld,
  name: string,
  mib: number,
  pages: number,
): Promise<{ ino: Ino; bytes: Buffer }> {
  const next = numbers(mib + pages)
  const bytes = pattern(mib * MIB, 1)
  const { ino } = await world.file(ROOT_INO, name, bytes.subarray(0, 4 * MIB))
  for (let at = 4 * MIB; at < bytes.length; at += 4 * MIB) {
    await write(world, ino, [{ offset: at, data: bytes.subarray(at, at + 4 * MIB) }])
  }
  for (let done = 0; done < pages; done += BATCH) {
    await overwrite(world, ino, bytes, Math.min(BATCH, pages - done), next)
  }
  return { ino, bytes }
}

/** Pages of a file in one batch, at random places. */
async function overwrite(
  world: VolumeWorld,
  ino: Ino,
  bytes: Buffer,
  pages: number,
  next: (below: number) => number,
): Promise<void> {
  const offsets = new Set<number>()
  while (offsets.size < pages) offsets.add(next(bytes.length / PAGE) * PAGE)
  const pieces = [...offsets].map((offset) => {
    pattern(PAGE, next(2 ** 30)).copy(bytes, offset)
    return { offset, data: bytes.subarray(offset, offset + PAGE) }
  })
  await write(world, ino, pieces)
}

/** A clock that is always a minute further: every file has rested. */
function hurriedClock(): Clock {
  let now = 0
  return {
    now: () => ({ sec: 0, nsec: 0 }),
    monotonicMs: () => (now += 60_000),
    after: () => () => {},
  }
}

/** A reclaim of the test's own; that of the engine is not woken. */
function reclaimOf(world: VolumeWorld): Reclaim {
  const reclaim = new Reclaim(world.volume, { clock: hurriedClock(), random: systemRandom })
  reclaim.survey()
  world.volume.measureSpace()
  return reclaim
}

const always = { quiet: true, goOn: async () => true }

/** Passes until nothing is left. @returns how many did something */
async function passes(world: VolumeWorld, reclaim: Reclaim, commit?: Commit): Promise<number> {
  const plain: Commit = (make) => {
    let changes = 0
    const done = world.engine.commit((draft) => {
      const more = make(draft)
      changes++
      return more
    })
    assert.is(changes, 1)
    return done
  }
  // The engine tells its own reclaim what it applies; this one is told by a survey of the chunks.
  let count = 0
  for (; await reclaim.pass(commit ?? plain, always); count++) {
    assert.ok(count < 2000, 'reclaim comes to an end')
    reclaim.survey()
  }
  return count
}

const chunkExtents = (extents: { extent: Extent }[]) =>
  extents.filter(({ extent }) => extent.kind === 'chunk').length

test('a file written in pages in random order becomes an extent for each 4 MiB, byte for byte the same', async () => {
  const world = await VolumeWorld.open()
  try {
    const { ino, bytes } = await scatter(world, 'f', 16, 8 * BATCH)
    const before = world.extents(ino).length
    assert.ok(before > 3000, `${before} extents`)
    const { bytes: quota } = world.volume.totals()
    await passes(world, reclaimOf(world))
    assert.is(world.extents(ino).length, 4)
    assert.is(chunkExtents(world.extents(ino)), 4)
    assert.ok(world.read(ino, 0, bytes.length).equals(bytes), 'every byte is what it was')
    assert.is(world.volume.totals().bytes, quota)
    assert.equal((await world.fsck()).findings, [])
    await world.close()
    world.reopen()
    assert.ok(world.read(ino, 0, bytes.length).equals(bytes), 'also after a start')
    assert.is(world.engine.figures().chunks, 4)
  } finally {
    await world.end()
  }
})

test('inline extents and holes: the data is taken into the chunk, a hole stays one', async () => {
  const world = await VolumeWorld.open()
  try {
    const { ino } = await world.file(ROOT_INO, 'f', pattern(PAGE, 9))
    const bytes = Buffer.alloc(8 * MIB)
    pattern(PAGE, 9).copy(bytes)
    for (const inline of [false, true]) {
      const pieces = Array.from({ length: 200 }, (_, i) => {
        const offset = (i * 10 + (inline ? 5 : 2)) * PAGE
        const data = pattern(PAGE, offset)
        data.copy(bytes, offset)
        return { offset, data }
      })
      for (let i = 0; i < 10; i++)
        await write(world, ino, pieces.slice(i * 20, i * 20 + 20), inline)
    }
    // Neighbours, so that there is something to join.
    const next = Array.from({ length: 200 }, (_, i) => (i * 10 + 3) * PAGE)
    for (let i = 0; i < 200; i += 20) {
      const pieces = next
        .slice(i, i + 20)
        .map((offset) => ({ offset, data: pattern(PAGE, offset) }))
      for (const { offset, data } of pieces) data.copy(bytes, offset)
      await write(world, ino, pieces)
    }
    const inode = world.volume.view.get(keys.inodeKey(ino))
    await passes(world, reclaimOf(world))
    const extents = world.extents(ino)
    assert.is(extents.length, 1 + 200 + 200)
    assert.is(chunkExtents(extents), extents.length)
    assert.is(world.volume.shared.inlineBytes, 0)
    assert.ok(world.read(ino, 0, bytes.length).equals(bytes))
    assert.equal(world.volume.view.get(keys.inodeKey(ino)), inode)
    assert.equal((await world.fsck()).findings, [])
  } finally {
    await world.end()
  }
})

test('pages written one behind the other become one extent without being written again', async () => {
  const world = await VolumeWorld.open()
  try {
    const bytes = pattern(8 * MIB, 4)
    const { ino } = await world.file(ROOT_INO, 'f', bytes.subarray(0, PAGE))
    for (let start = PAGE; start < bytes.length; start += BATCH * PAGE) {
      const pieces: { offset: number; data: Buffer }[] = []
      const end = Math.min(bytes.length, start + BATCH * PAGE)
      for (let at = start; at < end; at += PAGE) {
        pieces.push({ offset: at, data: bytes.subarray(at, at + PAGE) })
      }
      await write(world, ino, pieces)
    }
    assert.is(world.extents(ino).length, 2 * BATCH)
    const chunks = world.engine.figures().chunks
    await passes(world, reclaimOf(world))
    const left = world.extents(ino).length
    assert.ok(left <= 6, `${left} extents`)
    assert.is(world.engine.figures().chunks, chunks, 'no chunk was written')
    assert.ok(world.read(ino, 0, bytes.length).equals(bytes))
    assert.equal((await world.fsck()).findings, [])
  } finally {
    await world.end()
  }
})

test('what is written between the reading and the record is never lost', async () => {
  const world = await VolumeWorld.open()
  try {
    const { ino, bytes } = await scatter(world, 'f', 12, 6 * BATCH)
    const next = numbers(77)
    let records = 0
    const interleaved: Commit = (make) => {
      records++
      // An overwrite of whole and of parts of extents, a cut in the middle, as a writer makes them at this very moment.
      const regionAt = next(3) * 4 * MIB
      world.change((draft) => {
        const editor = new ExtentEditor(draft, ino)
        for (let n = 0; n < 5; n++) {
          const offset = regionAt + n * 700 * KIB + next(100) * 1000
          const data = pattern(1000 + next(9000), records * 10 + n)
          editor.carve(offset, offset + data.length)
          if (n < 4) editor.put(offset, { kind: 'inline', length: data.length, data })
          else data.fill(0)
          data.copy(bytes, offset)
        }
        const inode = draft.inode(ino)
        if (!inode) throw new Error('no inode')
        draft.putInode(ino, { ...inode, bytes: inode.bytes + editor.bytesDelta })
      })
      return world.engine.commit(make)
    }
    for (let round = 0; round < 6; round++) {
      await overwrite(world, ino, bytes, BATCH, next)
      const reclaim = reclaimOf(world)
      for (let n = 0; n < 12 && (await reclaim.pass(interleaved, always)); n++) {
        assert.ok(world.read(ino, 0, bytes.length).equals(bytes), `round ${round}, pass ${n}`)
      }
    }
    assert.ok(records > 15, `${records} records met a writer`)
    await passes(world, reclaimOf(world))
    assert.ok(world.read(ino, 0, bytes.length).equals(bytes))
    assert.equal((await world.fsck()).findings, [])
  } finally {
    await world.end()
  }
})

test('a writer ends a pass at once, and the region is done later', async () => {
  const world = await VolumeWorld.open()
  try {
    const { ino, bytes } = await scatter(world, 'f', 8, 4 * BATCH)
    const reclaim = reclaimOf(world)
    const before = world.extents(ino).length
    const chunks = world.engine.figures().chunks
    let asked = 0
    const commit: Commit = (make) => world.engine.commit(make)
    const stopping = { quiet: true, goOn: async () => ++asked < 2 }
    // The first pass may be the walk over the keys.
    for (let n = 0; n < 2; n++) {
      asked = 0
      await reclaim.pass(commit, stopping)
    }
    assert.is(asked, 2, 'it asked, heard no, and asked no more')
    const rest = reclaim.waitMs(limits.reclaimQuietMs)
    assert.ok(rest !== null && rest <= limits.reclaimQuietMs, `later is soon: ${rest} ms`)
    assert.is(world.extents(ino).length, before)
    assert.is(world.engine.figures().chunks, chunks)
    await passes(world, reclaim)
    assert.is(world.extents(ino).length, 2)
    assert.ok(world.read(ino, 0, bytes.length).equals(bytes))
  } finally {
    await world.end()
  }
})

test('bytes that two files share stay shared', async () => {
  const world = await VolumeWorld.open()
  try {
    const { ino, bytes } = await scatter(world, 'f', 4, 3 * BATCH)
    const copy = await world.file(ROOT_INO, 'g', Buffer.alloc(1), true)
    world.change((draft) => {
      const editor = new ExtentEditor(draft, copy.ino)
      editor.carve(0, 1)
      for (const { at, extent } of world.extents(ino)) editor.put(at, extent)
      const inode = draft.inode(copy.ino)
      if (!inode) throw new Error('no inode')
      draft.putInode(copy.ino, { ...inode, size: bytes.length, bytes: bytes.length })
    })
    const chunks = world.engine.figures().chunks
    await passes(world, reclaimOf(world))
    assert.is(world.engine.figures().chunks, chunks, 'nothing was stored twice')
    for (const one of [ino, copy.ino]) {
      assert.ok(world.read(one, 0, bytes.length).equals(bytes))
    }
    assert.equal((await world.fsck()).findings, [])
  } finally {
    await world.end()
  }
})

test('short of room nothing is put together; sparse chunks are rewritten beside writers', async () => {
  const world = await VolumeWorld.open()
  try {
    const { ino, bytes } = await scatter(world, 'f', 8, 4 * BATCH)
    const reclaim = reclaimOf(world)
    const { shared } = world.volume
    shared.freeBytes = limits.gatherFreeBytesMin - 1
    const commit: Commit = (make) => world.engine.commit(make)
    while (await reclaim.pass(commit, always)) reclaim.survey()
    assert.ok(world.extents(ino).length > 1500, 'the extents are what they were')
    const rest = reclaim.waitMs(limits.reclaimQuietMs)
    assert.ok(rest !== null && rest >= 10_000, 'it does not turn in circles')
    const dense = world.engine.figures()
    assert.ok(dense.storedBytes < 2.5 * dense.liveBytes)
    // One page more of each old chunk's last: now something is sparse again, and a writer is at work.
    shared.freeBytes = limits.shortFreeBytes - 1
    await write(
      world,
      ino,
      Array.from({ length: BATCH }, (_, n) => {
        pattern(PAGE, n).copy(bytes, 2 * n * PAGE)
        return { offset: 2 * n * PAGE, data: bytes.subarray(2 * n * PAGE, (2 * n + 1) * PAGE) }
      }),
    )
    const beside = { quiet: false, goOn: async () => true }
    reclaim.survey()
    assert.ok(reclaim.pressing)
    let rewritten = 0
    for (; await reclaim.pass(commit, beside); rewritten++) reclaim.survey()
    assert.ok(rewritten > 0)
    assert.ok(world.read(ino, 0, bytes.length).equals(bytes))
    assert.equal((await world.fsck()).findings, [])
  } finally {
    await world.end()
  }
})

test('a drive without room ends it with nothing half done', async () => {
  await onSmallDrive(96 * MIB, async (path) => {
    const world = await VolumeWorld.open()
    try {
      const { ino, bytes } = await scatter(world, 'f', 8, 4 * BATCH)
      const before = world.extents(ino).length
      const [drive] = world.volume.drives
      if (!drive) throw new Error('no drive')
      const ballast = join(path, 'ballast')
      writeFileSync(ballast, Buffer.alloc(drive.freeBytes() - drive.headroomBytes() - MIB))
      const reclaim = reclaimOf(world)
      // As if somebody had filled the drive since it was asked.
      world.volume.shared.freeBytes = 2 * limits.gatherFreeBytesMin
      const files = [...world.volume.chunks.list(drive.id)].length
      const commit: Commit = (make) => world.engine.commit(make)
      for (let n = 0; n < 3; n++) await reclaim.pass(commit, always)
      assert.is(world.extents(ino).length, before)
      assert.is([...world.volume.chunks.list(drive.id)].length, files)
      rmSync(ballast)
      while (await reclaim.pass(commit, always)) reclaim.survey()
      assert.is(world.extents(ino).length, 2)
      assert.ok(world.read(ino, 0, bytes.length).equals(bytes))
      assert.equal((await world.fsck()).findings, [])
    } finally {
      await world.end()
    }
  })
})

test('a volume closed in the middle of it is whole, and it goes on after the next start', async () => {
  const world = await VolumeWorld.open()
  try {
    const { ino, bytes } = await scatter(world, 'f', 32, 12 * BATCH)
    const before = world.extents(ino).length
    world.engine.wake()
    await until('the first part is done', () => world.extents(ino).length < before)
    const { shared } = world.volume
    await world.close()
    // A pass still at work would meet closed files and end the volume.
    await sleep(200)
    assert.not(shared.stopped)
    world.reopen()
    const between = world.extents(ino).length
    assert.ok(between > 1000, 'not all of it is done')
    assert.ok(world.read(ino, 0, bytes.length).equals(bytes))
    assert.equal((await world.fsck()).findings, [])
    world.engine.wake()
    await until('all of it is done', () => world.extents(ino).length === 8)
    assert.ok(world.read(ino, 0, bytes.length).equals(bytes))
  } finally {
    await world.end()
  }
})

test('the engine does it by itself when the volume has been quiet', async () => {
  const world = await VolumeWorld.open()
  try {
    const { ino, bytes } = await scatter(world, 'f', 8, 4 * BATCH)
    world.engine.wake()
    await until('the file is one extent for each 4 MiB', () => world.extents(ino).length === 2)
    assert.ok(world.read(ino, 0, bytes.length).equals(bytes))
    await until('the old chunks are gone', () => world.engine.figures().chunks === 2)
    assert.equal((await world.fsck()).findings, [])
  } finally {
    await world.end()
  }
})

test.run()
