import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError, type Ino, type KeyEpoch, ROOT_INO, systemRandom } from '../../src/base/index.ts'
import { systemDisk } from '../../src/disk/index.ts'
import { scan } from '../../src/journal/index.ts'
import { ExtentEditor, resealVolume } from '../../src/store/index.ts'
import { quietWork, VolumeWorld } from './volume-world.ts'

const PAGE = 16 * 1024

function data(bytes: number, seed: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => (i * 5 + seed + (i >> 8)) & 0xff))
}

/** Key epochs in the headers of all chunk files and all journal records. */
function epochs(world: VolumeWorld): { chunks: Set<number>; records: Set<number> } {
  const chunks = new Set<number>()
  for (const prefix of readdirSync(join(world.drive(0), 'chunks'))) {
    for (const name of readdirSync(join(world.drive(0), 'chunks', prefix))) {
      // Offset 48 of block 0: key epoch (docs/format.md).
      const bytes = readFileSync(join(world.drive(0), 'chunks', prefix, name))
      // Empty: about to be removed.
      if (bytes.length > 0) chunks.add(bytes.readUInt32LE(48))
    }
  }
  const records = new Set<number>()
  for (const { header } of scan(systemDisk, world.journalDirectory, world.id, null, null)) {
    records.add(header.keyEpoch)
  }
  return { chunks, records }
}

const reseal = (world: VolumeWorld, work = quietWork) =>
  resealVolume(world.engine, world.volume.keys.newest, systemRandom, work)

test('afterwards nothing needs the old key, and every byte is there without it', async () => {
  const world = await VolumeWorld.open()
  try {
    const files: { ino: Ino; bytes: Buffer }[] = []
    for (let i = 0; i < 12; i++) {
      const bytes = data((i + 1) * 9000, i)
      files.push({ ino: (await world.file(ROOT_INO, `f${i}`, bytes)).ino, bytes })
    }
    const inline = data(300, 99)
    files.push({ ino: (await world.file(ROOT_INO, 'small', inline, true)).ino, bytes: inline })
    await world.engine.checkpoints.take((make) => world.engine.commit(make))
    world.rotateKey()
    const later = data(5000, 77)
    files.push({ ino: (await world.file(ROOT_INO, 'later', later)).ino, bytes: later })
    assert.equal(epochs(world).chunks, new Set([1, 2]))
    assert.equal(epochs(world).records, new Set([1, 2]))
    const done = await reseal(world)
    assert.is(done.chunks, 12)
    assert.equal(epochs(world).chunks, new Set([2]))
    assert.equal(epochs(world).records, new Set([2]))
    world.dropOldKeys()
    assert.equal(world.opened.keys.epochs(), [2 as KeyEpoch])
    for (const { ino, bytes } of files) assert.equal(world.read(ino, 0, bytes.length), bytes)
    assert.equal((await world.fsck()).findings, [])
    await world.close(false)
    rmSync(world.viewDirectory, { recursive: true })
    world.reopen()
    for (const { ino, bytes } of files) assert.equal(world.read(ino, 0, bytes.length), bytes)
    assert.equal((await world.fsck()).findings, [])
  } finally {
    await world.end()
  }
})

test('bytes that two files share stay shared', async () => {
  const world = await VolumeWorld.open()
  try {
    const bytes = data(4 * PAGE, 1)
    const { ino, chunk } = await world.file(ROOT_INO, 'a', bytes)
    const copy = await world.file(ROOT_INO, 'b', data(1, 0), true)
    world.change((draft) => {
      const editor = new ExtentEditor(draft, copy.ino)
      editor.put(PAGE, { kind: 'chunk', length: 2 * PAGE, chunk, at: PAGE })
      const inode = draft.inode(copy.ino)
      if (inode)
        draft.putInode(copy.ino, { ...inode, size: 3 * PAGE, bytes: inode.bytes + 2 * PAGE })
    })
    world.rotateKey()
    await reseal(world)
    world.dropOldKeys()
    const [a] = world.extents(ino)
    const b = world.extents(copy.ino).find(({ at }) => at === PAGE)
    assert.ok(a?.extent.kind === 'chunk' && b?.extent.kind === 'chunk')
    assert.is(
      a?.extent.kind === 'chunk' && a.extent.chunk,
      b?.extent.kind === 'chunk' && b.extent.chunk,
    )
    assert.equal(world.read(ino, 0, bytes.length), bytes)
    assert.equal(world.read(copy.ino, PAGE, 2 * PAGE), bytes.subarray(PAGE, 3 * PAGE))
    assert.equal((await world.fsck()).findings, [])
  } finally {
    await world.end()
  }
})

test('called off it keeps the old keys usable, and started again it goes on', async () => {
  const world = await VolumeWorld.open()
  try {
    for (let i = 0; i < 8; i++) await world.file(ROOT_INO, `f${i}`, data(4 * 1024 * 1024 - 100, i))
    world.rotateKey()
    const abort = new AbortController()
    const work = {
      signal: abort.signal,
      progress: (done: number) => {
        if (done > 0) abort.abort()
      },
    }
    let code = ''
    await reseal(world, work).catch((error: FsError) => {
      code = error.code
    })
    assert.is(code, 'ECANCELED')
    assert.ok(epochs(world).chunks.has(1))
    assert.ok(epochs(world).chunks.has(2))
    const done = await reseal(world)
    assert.ok(done.chunks > 0 && done.chunks < 8, `${done.chunks} were left`)
    assert.equal(epochs(world).chunks, new Set([2]))
    assert.equal((await world.fsck()).findings, [])
  } finally {
    await world.end()
  }
})

test('a damaged chunk keeps the old keys; after its repair they can go', async () => {
  const world = await VolumeWorld.open()
  try {
    const bytes = data(4 * PAGE, 3)
    const { ino, chunk } = await world.file(ROOT_INO, 'f', bytes)
    const path = world.chunkPath(chunk)
    const file = readFileSync(path)
    file[2 * 4096 + 10] = (file[2 * 4096 + 10] as number) ^ 4
    systemDisk.replaceFile(path, file)
    world.rotateKey()
    await reseal(world).then(
      () => assert.unreachable('a damaged chunk is refused'),
      (error: unknown) => {
        assert.ok(error instanceof FsError)
        assert.is((error as FsError).code, 'EUCLEAN')
      },
    )
    await world.fsck(true)
    const done = await reseal(world)
    assert.is(done.missing, 1)
    assert.is(done.quarantined, 1)
    world.dropOldKeys()
    assert.equal(world.read(ino, PAGE, 3 * PAGE), bytes.subarray(PAGE))
  } finally {
    await world.end()
  }
})

test.run()
