import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type ErrnoCode, FsError } from '../../src/base/index.ts'
import { type ChunkFiles, systemChunkFiles } from '../../src/disk/index.ts'
import { makeWorld } from './world.ts'

/** The real files, except for what a test breaks. */
function breakable() {
  const faults: { op: keyof ChunkFiles; code: ErrnoCode; path?: string; times: number }[] = []
  const check = (op: keyof ChunkFiles, path: string) => {
    const fault = faults.find(
      (each) => each.op === op && each.times > 0 && path.includes(each.path ?? ''),
    )
    if (fault === undefined) return
    fault.times--
    throw new FsError(fault.code, op, { path })
  }
  const files: ChunkFiles = {
    ...systemChunkFiles,
    async write(directory, name, bytes, length) {
      check('write', directory)
      await systemChunkFiles.write(directory, name, bytes, length)
    },
    writeSync(directory, name, bytes, length) {
      check('writeSync', directory)
      systemChunkFiles.writeSync(directory, name, bytes, length)
    },
    open(path) {
      check('open', path)
      return systemChunkFiles.open(path)
    },
    read(fd, into, intoAt, length, position) {
      check('read', '')
      return systemChunkFiles.read(fd, into, intoAt, length, position)
    },
  }
  return { faults, files }
}

function failure(work: () => unknown): FsError {
  try {
    work()
  } catch (error) {
    if (error instanceof FsError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

const none = Buffer.alloc(0)
const plain = Buffer.alloc(50_000, 3)

test('a drive that turns out full is left for another with room', async () => {
  const { faults, files } = breakable()
  const world = makeWorld({ files, drives: 2 })
  try {
    const full = join(world.drives[0]!.dir, 'chunks')
    faults.push({ op: 'write', code: 'ENOSPC', path: full, times: 2 })
    faults.push({ op: 'writeSync', code: 'ENOSPC', path: full, times: 2 })
    for (let i = 0; i < 4; i++) {
      const id = world.newId()
      const { drive } = await world.store.put(id, world.seal, plain, plain.length, none)
      assert.is(world.store.has(id, drive), true)
    }
    for (let i = 0; i < 4; i++) {
      const id = world.newId()
      const { drive } = world.store.putSync(id, world.seal, plain, plain.length, none)
      assert.is(world.store.has(id, drive), true)
    }
    assert.ok(
      faults.every((fault) => fault.times < 2),
      'the fault was met',
    )
    assert.is(world.drives[0]!.state, 'ok')
  } finally {
    world.close()
  }
})

test('every drive full is ENOSPC, and what was reserved is free again', async () => {
  const { faults, files } = breakable()
  const world = makeWorld({ files, drives: 2 })
  try {
    const before = world.drive.freeBytes()
    faults.push({ op: 'write', code: 'ENOSPC', times: 2 })
    let code = ''
    try {
      await world.store.put(world.newId(), world.seal, plain, plain.length, none)
    } catch (error) {
      if (error instanceof FsError) code = error.code
    }
    assert.is(code, 'ENOSPC')
    assert.ok(Math.abs(world.drive.freeBytes() - before) < 512 * 1024 * 1024)
    await world.store.put(world.newId(), world.seal, plain, plain.length, none)
  } finally {
    world.close()
  }
})

test('a drive that refuses a write gets nothing new, another takes it, and with none left it is EIO', async () => {
  const { faults, files } = breakable()
  const world = makeWorld({ files, drives: 2 })
  try {
    const [first, second] = [world.drives[0]!, world.drives[1]!]
    faults.push({ op: 'writeSync', code: 'EIO', path: first.dir, times: 1 })
    const errors: string[] = []
    for (let i = 0; i < 6; i++) {
      try {
        world.store.putSync(world.newId(), world.seal, plain, plain.length, none)
      } catch (error) {
        errors.push(error instanceof FsError ? error.code : String(error))
      }
    }
    assert.equal(errors, [])
    assert.is(first.state, 'failing')
    assert.is(second.state, 'ok')
    assert.is([...world.store.list(second.id)].length, 6 - [...world.store.list(first.id)].length)
    faults.push({ op: 'writeSync', code: 'EIO', path: second.dir, times: 1 })
    const put = () => world.store.putSync(world.newId(), world.seal, plain, plain.length, none)
    assert.is(failure(put).code, 'EIO')
    assert.is(failure(put).code, 'EIO', 'with no drive left it is still EIO, never ENOSPC')
  } finally {
    world.close()
  }
})

test('a read error is EIO to try later, and marks the drive', () => {
  const { faults, files } = breakable()
  const world = makeWorld({ files })
  try {
    const id = world.newId()
    const { drive } = world.store.putSync(id, world.seal, plain, plain.length, none)
    const read = () => world.store.readSync(id, drive, world.reader, 0, 10, Buffer.alloc(10), 0)
    read()
    world.store.wipe()
    faults.push({ op: 'read', code: 'EIO', times: 1 })
    const error = failure(read)
    assert.is(error.code, 'EIO')
    assert.is(error.retry, 'later')
    assert.is(error.subject.chunk, id)
    assert.is(world.drive.state, 'failing')
    read()
  } finally {
    world.close()
  }
})

test('too few descriptors are not the drive’s fault, and are won back from chunks kept open', () => {
  const { faults, files } = breakable()
  const world = makeWorld({ files })
  try {
    const ids = Array.from({ length: 6 }, () => world.newId())
    for (const id of ids) world.store.putSync(id, world.seal, plain, plain.length, none)
    const read = (index: number) =>
      world.store.readSync(ids[index]!, world.drive.id, world.reader, 0, 10, Buffer.alloc(10), 0)
    faults.push({ op: 'open', code: 'EMFILE', times: 1 })
    assert.is(failure(() => read(0)).code, 'EIO')
    for (let index = 0; index < 4; index++) read(index)
    faults.push({ op: 'open', code: 'EMFILE', times: 1 })
    read(4)
    assert.is(world.store.openCount, 3)
    assert.is(world.drive.state, 'ok')
  } finally {
    world.close()
  }
})

test('a drive that was taken away answers EIO', () => {
  const world = makeWorld()
  try {
    const id = world.newId()
    const { drive } = world.store.putSync(id, world.seal, plain, plain.length, none)
    world.store.readSync(id, drive, world.reader, 0, 1, Buffer.alloc(1), 0)
    world.store.removeDrive(drive)
    assert.is(world.store.openCount, 0)
    const read = () => world.store.readSync(id, drive, world.reader, 0, 1, Buffer.alloc(1), 0)
    assert.is(failure(read).code, 'EIO')
    assert.match(failure(read).message, 'is not attached')
    world.store.addDrive(world.drive)
    read()
  } finally {
    world.close()
  }
})

test('a dead drive that is looked at first does not hide a chunk that another one has', async () => {
  const dead = new Set<string>()
  const world = makeWorld({
    drives: 2,
    files: {
      ...systemChunkFiles,
      exists(path) {
        if ([...dead].some((dir) => path.startsWith(dir)))
          throw new FsError('EIO', 'exists', { path })
        return systemChunkFiles.exists(path)
      },
    },
  })
  try {
    const [first, second] = [world.drives[0]!, world.drives[1]!]
    const ids = Array.from({ length: 4 }, () => world.newId())
    for (const id of ids) world.store.putSync(id, world.seal, plain, plain.length, none)
    const id = ids.find((one) => world.store.has(one, second.id))!
    const lost = ids.find((one) => world.store.has(one, first.id))!
    dead.add(first.dir)
    const out = Buffer.alloc(plain.length)
    // Made on another node, or moved since: the record names a drive that does not have it.
    world.store.readSync(id, first.id, world.reader, 0, out.length, out, 0)
    assert.ok(out.equals(plain))
    assert.is(first.state, 'failing')
    assert.ok((await world.store.scrub(id, first.id, world.reader)).ok)
    assert.ok(await world.store.delete(id, first.id))
    assert.is(failure(() => world.store.statSync(lost, second.id)).code, 'EIO', 'not: missing')
  } finally {
    world.close()
  }
})

test.run()
