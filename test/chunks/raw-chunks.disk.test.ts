import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type ChunkId,
  codeOf,
  FsError,
  limits,
  type NodeId,
  ProtocolError,
  type VolumeId,
} from '../../src/base/index.ts'
import { RawChunks } from '../../src/chunks/index.ts'
import { chunkFilesOn, SimulatedDisk, systemChunkFiles } from '../../src/disk/index.ts'
import { type Drive, initDrive, openDrive } from '../../src/drives/index.ts'
import { seeded } from '../support/seeded.ts'
import { type ChunkWorld, makeWorld, volume } from './world.ts'

const none = Buffer.alloc(0)
const other = 'aa'.repeat(16) as VolumeId

const pathOf = (drive: Drive, id: ChunkId) => join(drive.dir, 'chunks', id.slice(0, 2), id)

/** The node that seals, and the one that stores what the first one has sealed. */
async function withNodes(
  work: (owner: ChunkWorld, replica: ChunkWorld, raw: RawChunks) => Promise<void>,
  drives = 1,
): Promise<void> {
  const owner = makeWorld({ seed: 1 })
  const replica = makeWorld({ seed: 2, drives })
  const raw = new RawChunks(() => replica.drives)
  try {
    await raw.settle()
    await work(owner, replica, raw)
  } finally {
    owner.close()
    replica.close()
  }
}

async function sealed(owner: ChunkWorld, plain: Buffer): Promise<{ id: ChunkId; bytes: Buffer }> {
  const id = owner.newId()
  await owner.store.put(id, owner.seal, plain, plain.length, Buffer.from('pointers'))
  return { id, bytes: readFileSync(pathOf(owner.drive, id)) }
}

function place(drive: Drive, id: ChunkId, bytes: Buffer): void {
  mkdirSync(join(drive.dir, 'chunks', id.slice(0, 2)), { recursive: true })
  writeFileSync(pathOf(drive, id), bytes)
}

async function refused(work: Promise<unknown>): Promise<unknown> {
  try {
    await work
  } catch (error) {
    return error
  }
  return assert.unreachable('it is taken')
}

test('a chunk is stored as it was sealed elsewhere, and read there by its key, whatever drive the record names', async () => {
  await withNodes(async (owner, replica, raw) => {
    const random = seeded(3)
    for (const size of [1, 5000, 100_000, limits.chunkBytesMax]) {
      const plain = random.bytes(size)
      const { id, bytes } = await sealed(owner, plain)
      assert.not(raw.has(id))
      await raw.put(id, volume, bytes)
      assert.ok(raw.has(id))
      assert.ok((await raw.read(id, volume))?.equals(bytes))
      const out = Buffer.alloc(size)
      const { store } = replica
      for (let round = 0; round < 2; round++) {
        store.readSync(id, owner.drive.id, owner.reader, 0, size, out, 0)
        assert.ok(out.equals(plain))
      }
      assert.is(store.keyEpochOf(id, owner.drive.id), 1)
      assert.is(store.statSync(id, owner.drive.id).plainBytes, size)
      assert.is(String(store.backPointerSync(id, owner.drive.id, owner.reader)), 'pointers')
      assert.ok((await store.scrub(id, owner.drive.id, owner.reader)).ok)
      assert.ok(store.has(id, owner.drive.id))
    }
  }, 2)
})

test('a chunk that was lost from the drive its record names is read from where it was put back', async () => {
  await withNodes(async (owner, replica, raw) => {
    const [named, spare] = replica.drives as [Drive, Drive]
    const plain = seeded(4).bytes(30_000)
    const { id, bytes } = await sealed(owner, plain)
    place(spare, id, bytes)
    const out = Buffer.alloc(plain.length)
    replica.store.readSync(id, named.id, owner.reader, 0, out.length, out, 0)
    assert.ok(out.equals(plain))
    assert.ok((await replica.store.scrub(id, named.id, owner.reader)).ok)
    assert.not(replica.store.has(id, named.id))
    assert.ok(await replica.store.delete(id, named.id))
    assert.not(raw.has(id))
  }, 2)
})

test('to put what is there already is no error, one after the other and at once', async () => {
  await withNodes(async (owner, replica, raw) => {
    const { id, bytes } = await sealed(owner, seeded(5).bytes(50_000))
    await Promise.all([1, 2, 3].map(() => raw.put(id, volume, bytes)))
    const { ino } = statSync(pathOf(replica.drive, id))
    await raw.put(id, volume, bytes)
    assert.is(statSync(pathOf(replica.drive, id)).ino, ino, 'it is not written again')
    assert.equal([...replica.store.list(replica.drive.id)], [id])
  })
})

test('what is no whole file of this chunk and volume is refused, and nothing of it stays', async () => {
  await withNodes(async (owner, replica, raw) => {
    const random = seeded(7)
    const { id, bytes } = await sealed(owner, random.bytes(20_000))
    const flipped = () => {
      const copy = Buffer.from(bytes)
      const at = random.below(copy.length)
      copy.writeUInt8(copy.readUInt8(at) ^ (1 << random.below(8)), at)
      return copy
    }
    const bad: [ChunkId, VolumeId, Buffer][] = [
      [owner.newId(), volume, bytes],
      [id, other, bytes],
      [id, volume, none],
      [id, volume, bytes.subarray(0, 4096)],
      [id, volume, bytes.subarray(0, -4096)],
      [id, volume, Buffer.concat([bytes, Buffer.alloc(4096)])],
      ...Array.from({ length: 200 }, (): [ChunkId, VolumeId, Buffer] => [id, volume, flipped()]),
    ]
    for (const [chunk, of, wrong] of bad) {
      assert.instance(await refused(raw.put(chunk, of, wrong)), ProtocolError)
    }
    assert.equal([...replica.store.list(replica.drive.id)], [])
    assert.equal(readdirSync(join(replica.drive.dir, 'chunks', 'arriving')), [])
  })
})

test('a damaged file is read as none, and moved aside when the whole one comes', async () => {
  await withNodes(async (owner, replica, raw) => {
    const { id, bytes } = await sealed(owner, seeded(8).bytes(20_000))
    await raw.put(id, volume, bytes)
    const path = pathOf(replica.drive, id)
    writeFileSync(path, bytes.subarray(0, 9000))
    assert.is(await raw.read(id, volume), null)
    await raw.put(id, volume, bytes)
    assert.ok((await raw.read(id, volume))?.equals(bytes))
    assert.equal(replica.store.quarantined(replica.drive.id), [id])
    const rotten = Buffer.from(bytes)
    rotten.writeUInt8(rotten.readUInt8(5000) ^ 1, 5000)
    writeFileSync(path, rotten)
    assert.is(await raw.read(id, volume), null)
  })
})

test('a chunk is read and deleted in the name of its own volume only', async () => {
  await withNodes(async (owner, replica, raw) => {
    const { id, bytes } = await sealed(owner, seeded(9).bytes(20_000))
    await raw.put(id, volume, bytes)
    assert.is(await raw.read(id, other), null)
    await raw.delete(id, other)
    assert.ok(raw.has(id))
    await raw.delete(id, volume)
    assert.not(raw.has(id))
    assert.not(existsSync(pathOf(replica.drive, id)))
    await raw.delete(id, volume)
    assert.is(await raw.read(id, volume), null)
  })
})

test('a start clears what was being written, and a drive that is not settled is not used', async () => {
  await withNodes(async (owner, replica, raw) => {
    const { id, bytes } = await sealed(owner, seeded(10).bytes(20_000))
    await raw.put(id, volume, bytes)
    const half = join(replica.drive.dir, 'chunks', 'arriving', owner.newId())
    writeFileSync(half, 'half')
    const later = new RawChunks(() => replica.drives)
    assert.not(later.has(id))
    assert.is(codeOf(await refused(later.put(id, volume, bytes))), 'EIO')
    await later.settle()
    assert.ok(later.has(id))
    assert.not(existsSync(half))
  })
})

test('a full drive is left for another; ENOSPC when all are; a drive that fails is marked and the error told', async () => {
  const owner = makeWorld({ seed: 1 })
  const replica = makeWorld({ seed: 2, drives: 2 })
  try {
    const [first, second] = replica.drives as [Drive, Drive]
    const faults = new Map<string, 'ENOSPC' | 'EIO'>()
    const raw = new RawChunks(() => replica.drives, {
      ...systemChunkFiles,
      async writeWhole(aside, directory, name, bytes, length) {
        const code = faults.get(directory.slice(0, directory.indexOf('/chunks/')))
        if (code) throw new FsError(code, 'write', {})
        await systemChunkFiles.writeWhole(aside, directory, name, bytes, length)
      },
    })
    await raw.settle()
    const { id, bytes } = await sealed(owner, seeded(11).bytes(20_000))
    faults.set(first.dir, 'ENOSPC').set(second.dir, 'ENOSPC')
    assert.is(codeOf(await refused(raw.put(id, volume, bytes))), 'ENOSPC')
    assert.is(first.state, 'ok')
    faults.delete(second.dir)
    for (let round = 0; round < 4; round++) {
      const chunk = await sealed(owner, seeded(12 + round).bytes(20_000))
      await raw.put(chunk.id, volume, chunk.bytes)
      assert.ok(existsSync(pathOf(second, chunk.id)))
    }
    faults.set(first.dir, 'EIO')
    for (let round = 0; round < 3; round++) {
      const chunk = await sealed(owner, seeded(20 + round).bytes(20_000))
      await raw.put(chunk.id, volume, chunk.bytes)
    }
    assert.is(first.state, 'failing', 'the other one took what it refused')
    faults.set(second.dir, 'EIO')
    assert.is(codeOf(await refused(raw.put(id, volume, bytes))), 'EIO')
    assert.is(second.state, 'failing')
  } finally {
    owner.close()
    replica.close()
  }
})

test('what has() tells after a cut in power, at whatever step it came, is whole, by many seeds', async () => {
  const owner = makeWorld({ seed: 1 })
  const chunks = await Promise.all(
    [7000, 40_000, 9000].map((size, index) => sealed(owner, seeded(index).bytes(size))),
  )
  owner.close()
  let there = 0
  let missing = 0
  for (let seed = 1; seed <= 200; seed++) {
    const random = seeded(seed)
    const disk = new SimulatedDisk()
    initDrive('/das0', { class: 2, nodeId: 'a1'.repeat(16) as NodeId }, disk, { files: disk })
    const start = async () => {
      const drives = [openDrive('/das0', {}, { files: disk })]
      const raw = new RawChunks(() => drives, chunkFilesOn(disk))
      await raw.settle()
      return raw
    }
    const promised = new Set<ChunkId>()
    const before = await start()
    disk.powerOffAfter(random.below(24))
    for (const { id, bytes } of chunks) {
      try {
        await before.put(id, volume, bytes)
        promised.add(id)
      } catch (error) {
        assert.is(codeOf(error), 'EIO')
      }
    }
    disk.powerCut(random)
    const after = await start()
    for (const { id, bytes } of chunks) {
      if (promised.has(id)) assert.ok(after.has(id), `seed ${seed}: ${id} is lost`)
      if (after.has(id)) assert.ok((await after.read(id, volume))?.equals(bytes), `seed ${seed}`)
      after.has(id) ? there++ : missing++
    }
  }
  assert.ok(there > 100 && missing > 100, `${there} there, ${missing} missing`)
})

test('what a killed daemon had moved to its place and not synced is durable once the next one is settled', async () => {
  const owner = makeWorld({ seed: 1 })
  const { id, bytes } = await sealed(owner, seeded(1).bytes(20_000))
  owner.close()
  for (let seed = 1; seed <= 20; seed++) {
    const disk = new SimulatedDisk()
    initDrive('/das0', { class: 2, nodeId: 'a1'.repeat(16) as NodeId }, disk, { files: disk })
    const drives = [openDrive('/das0', {}, { files: disk })]
    await new RawChunks(() => drives, chunkFilesOn(disk)).settle()
    const [arriving, path] = [`/das0/chunks/arriving/${id}`, pathOf(drives[0] as Drive, id)]
    disk.replaceFile(arriving, bytes)
    disk.rename(arriving, path)
    const raw = new RawChunks(() => drives, chunkFilesOn(disk))
    await raw.settle()
    assert.ok(raw.has(id))
    disk.powerCut(seeded(seed))
    assert.ok(disk.exists(path), `seed ${seed}`)
  }
})

test('a chunk is moved off its drive while another thread has it open, and while one looks for it', async () => {
  await withNodes(async (owner, replica, raw) => {
    const [from, to] = replica.drives as [Drive, Drive]
    const plain = seeded(9).bytes(30_000)
    const { id, bytes } = await sealed(owner, plain)
    place(from, id, bytes)
    const opened = replica.anotherStore()
    const out = Buffer.alloc(plain.length)
    opened.readSync(id, from.id, owner.reader, 0, out.length, out, 0)
    assert.equal([...raw.on(from)], [id])
    assert.is(await raw.moveOff(id, from), bytes.length)
    assert.equal([...raw.on(from)], [])
    assert.ok(readFileSync(pathOf(to, id)).equals(bytes))
    for (const store of [opened, replica.store]) {
      out.fill(0)
      store.readSync(id, from.id, owner.reader, 0, out.length, out, 0)
      assert.ok(out.equals(plain))
    }
    assert.ok((await replica.store.scrub(id, from.id, owner.reader)).ok)
    assert.is(await raw.moveOff(id, from), 0)
    assert.ok(await replica.store.delete(id, from.id))
    assert.not(existsSync(pathOf(to, id)))
  }, 2)
})

test('a chunk that is deleted while it is moved is nowhere afterwards', async () => {
  const gone: string[] = []
  const replica = makeWorld({ seed: 2, drives: 2 })
  const owner = makeWorld({ seed: 1 })
  try {
    const [from, to] = replica.drives as [Drive, Drive]
    const { id, bytes } = await sealed(owner, seeded(9).bytes(30_000))
    place(from, id, bytes)
    const raw = new RawChunks(() => replica.drives, {
      ...systemChunkFiles,
      async writeWhole(...args) {
        assert.ok(await replica.store.delete(id, from.id))
        await systemChunkFiles.writeWhole(...args)
        gone.push(args[2])
      },
    })
    await raw.settle()
    await raw.moveOff(id, from)
    assert.equal(gone, [id])
    for (const drive of [from, to]) assert.not(existsSync(pathOf(drive, id)))
  } finally {
    owner.close()
    replica.close()
  }
})

test('a chunk that is whole on another drive is not moved there, a damaged one there is set aside', async () => {
  await withNodes(async (owner, replica, raw) => {
    const [from, to] = replica.drives as [Drive, Drive]
    const { id, bytes } = await sealed(owner, seeded(9).bytes(30_000))
    place(from, id, bytes)
    const damaged = Buffer.from(bytes)
    damaged[9000]! ^= 1
    place(to, id, damaged)
    assert.is(await raw.moveOff(id, from), bytes.length)
    assert.ok(readFileSync(pathOf(to, id)).equals(bytes))
    assert.ok(readFileSync(join(to.dir, 'quarantine', id)).equals(damaged))
    place(from, id, bytes)
    assert.is(await raw.moveOff(id, from), 0)
    assert.not(existsSync(pathOf(from, id)))
  }, 2)
})

test('chunks go to a drive of the class that their volume asks for', async () => {
  const owner = makeWorld({ seed: 1 })
  const replica = makeWorld({ seed: 2, drives: 3 })
  try {
    const [medium, , high] = replica.drives as [Drive, Drive, Drive]
    Object.assign(high, { cos: 3 })
    const raw = new RawChunks(
      () => replica.drives,
      systemChunkFiles,
      (of) => (of === volume ? 3 : null),
    )
    await raw.settle()
    for (let n = 0; n < 6; n++) {
      const { id, bytes } = await sealed(owner, seeded(n).bytes(30_000))
      if (n < 3) await raw.put(id, volume, bytes)
      else {
        place(medium, id, bytes)
        await raw.moveOff(id, medium)
      }
      assert.ok(existsSync(pathOf(high, id)))
    }
  } finally {
    owner.close()
    replica.close()
  }
})

test('a chunk for which no other drive has room stays where it is', async () => {
  await withNodes(async (owner, replica, raw) => {
    const [from] = replica.drives as [Drive]
    const { id, bytes } = await sealed(owner, seeded(9).bytes(30_000))
    place(from, id, bytes)
    const error = await refused(raw.moveOff(id, from))
    assert.is(codeOf(error), 'ENOSPC')
    assert.ok(readFileSync(pathOf(from, id)).equals(bytes))
  })
})

/** The same directory as a thread of a later life opens it: with the mark of a drive that is being emptied. */
function emptied(drive: Drive): Drive {
  writeFileSync(join(drive.dir, 'draining'), '')
  return openDrive(drive.dir)
}

test('of two drives that are being emptied, or fail, neither counts as the other place of a chunk', async () => {
  await withNodes(async (owner, replica) => {
    const [failing, second, third] = replica.drives as [Drive, Drive, Drive]
    const draining = emptied(second)
    const { id, bytes } = await sealed(owner, seeded(9).bytes(30_000))
    for (const drive of [failing, draining]) place(drive, id, bytes)
    const two = new RawChunks(() => [failing, draining])
    await two.settle()
    failing.fail(new FsError('EROFS', 'test', {}))
    for (const from of [failing, draining]) {
      assert.is(codeOf(await refused(two.moveOff(id, from))), 'ENOSPC')
      assert.ok(readFileSync(pathOf(from, id)).equals(bytes), 'it stays where it is')
    }
    const three = new RawChunks(() => [failing, draining, third])
    await three.settle()
    assert.is(await three.moveOff(id, failing), bytes.length)
    assert.is(await three.moveOff(id, draining), 0)
    assert.ok(readFileSync(pathOf(third, id)).equals(bytes))
  }, 3)
})

test('a third drive that answers errors does not keep the others from being emptied', async () => {
  for (const broken of ['exists', 'open'] as const) {
    await withNodes(async (owner, replica) => {
      const [dead, from, to] = replica.drives as [Drive, Drive, Drive]
      let isDead = false
      const raw = new RawChunks(() => replica.drives, {
        ...systemChunkFiles,
        [broken](path: string) {
          if (isDead && path.startsWith(dead.dir)) throw new FsError('EIO', broken, { path })
          return systemChunkFiles[broken](path)
        },
      })
      await raw.settle()
      const { id, bytes } = await sealed(owner, seeded(9).bytes(30_000))
      for (const drive of [dead, from]) place(drive, id, bytes)
      isDead = true
      assert.is(await raw.moveOff(id, from), bytes.length)
      assert.is(dead.state, 'failing')
      assert.ok(readFileSync(pathOf(to, id)).equals(bytes))
      assert.ok(raw.has(id))
      assert.ok((await raw.read(id, volume))?.equals(bytes))
    }, 3)
  }
})

test('a chunk in a bad sector is stored anew on another drive, not taken for there by its first block', async () => {
  await withNodes(async (owner, replica) => {
    const [bad, spare] = replica.drives as [Drive, Drive]
    const opened = new Set<number>()
    const raw = new RawChunks(() => replica.drives, {
      ...systemChunkFiles,
      open(path) {
        const fd = systemChunkFiles.open(path)
        if (path.startsWith(bad.dir)) opened.add(fd)
        else opened.delete(fd)
        return fd
      },
      async readAsync(fd, into, at, length, position) {
        if (opened.has(fd) && position + length > 4096) throw new FsError('EIO', 'read', {})
        return await systemChunkFiles.readAsync(fd, into, at, length, position)
      },
    })
    await raw.settle()
    const { id, bytes } = await sealed(owner, seeded(9).bytes(30_000))
    place(bad, id, bytes)
    assert.ok(raw.has(id))
    assert.is(await raw.check(id, volume), null)
    assert.is(bad.state, 'failing')
    assert.not(raw.has(id), 'it is to be sent anew')
    await raw.put(id, volume, bytes)
    assert.ok(readFileSync(pathOf(spare, id)).equals(bytes))
    assert.equal(await raw.check(id, volume), { isWhole: true, bytes: bytes.length })
    assert.ok((await raw.read(id, volume))?.equals(bytes))
  }, 2)
})

test('what a drive that fails has alone is given out if it is whole, though it does not count as there', async () => {
  await withNodes(async (owner, replica, raw) => {
    const { id, bytes } = await sealed(owner, seeded(9).bytes(30_000))
    place(replica.drive, id, bytes)
    replica.drive.fail(new FsError('EIO', 'test', {}))
    assert.not(raw.has(id))
    assert.is(await raw.check(id, volume), null)
    assert.ok((await raw.read(id, volume))?.equals(bytes))
  }, 2)
})

test('a chunk that another thread is still writing is not moved as the part of it that is there', async () => {
  await withNodes(async (owner, replica, raw) => {
    const [from, to] = replica.drives as [Drive, Drive]
    const { id, bytes } = await sealed(owner, seeded(9).bytes(30_000))
    place(from, id, bytes.subarray(0, 12_288))
    assert.is(codeOf(await refused(raw.moveOff(id, from))), 'EAGAIN')
    assert.ok(existsSync(pathOf(from, id)))
    assert.not(existsSync(pathOf(to, id)))
    // What rests so long that nobody can be writing it any more is damaged, and goes as it is.
    utimesSync(pathOf(from, id), new Date(0), new Date(0))
    assert.is(await raw.moveOff(id, from), 12_288)
    place(from, id, bytes)
    assert.is(await raw.moveOff(id, from), bytes.length)
    assert.ok(readFileSync(pathOf(to, id)).equals(bytes))
  }, 2)
})

test.run()
