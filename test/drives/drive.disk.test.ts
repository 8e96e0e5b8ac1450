import { mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Clock, type DriveId, FsError, type NodeId } from '../../src/base/index.ts'
import { systemDisk } from '../../src/disk/index.ts'
import { type Drive, initDrive, openDrive } from '../../src/drives/index.ts'

const nodeId = 'a1'.repeat(16) as NodeId
const otherNode = 'b2'.repeat(16) as NodeId
const driveId = 'c3'.repeat(16) as DriveId

function makeWorld() {
  const root = mkdtempSync(join(tmpdir(), 'weft-drives-'))
  return { root, dir: join(root, 'das0'), close: () => rmSync(root, { recursive: true }) }
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

test('a directory made a drive is found again with its label', () => {
  const world = makeWorld()
  try {
    const made = initDrive(world.dir, { id: driveId, class: 3, nodeId }, systemDisk)
    const found = openDrive(world.dir, { id: driveId, nodeId })
    assert.is(found.id, driveId)
    assert.is(found.cos, 3)
    assert.is(found.kind, 'directory')
    assert.is(found.state, 'ok')
    assert.equal(found.label, made.label)
    const text = JSON.parse(readFileSync(join(world.dir, 'drive.json'), 'utf8'))
    assert.equal(Object.keys(text), ['version', 'id', 'class', 'createdAt', 'node', 'kind'])
    assert.is(text.version, 1)
    assert.is(new Date(text.createdAt).toISOString(), text.createdAt)
  } finally {
    world.close()
  }
})

test('making a drive again changes nothing, making it another is refused', () => {
  const world = makeWorld()
  try {
    const made = initDrive(world.dir, { class: 2, nodeId }, systemDisk)
    const again = initDrive(world.dir, { class: 2, nodeId }, systemDisk)
    assert.equal(again.label, made.label)
    const asOther = failure(() => initDrive(world.dir, { class: 3, nodeId }, systemDisk))
    assert.is(asOther.code, 'EEXIST')
    const foreign = failure(() => initDrive(world.dir, { class: 2, nodeId: otherNode }, systemDisk))
    assert.is(foreign.code, 'EEXIST')
    assert.match(foreign.message, `already drive ${made.id} of node ${nodeId}`)
    assert.equal(openDrive(world.dir).label, made.label)
  } finally {
    world.close()
  }
})

test('a directory with anything in it is refused by name, and left as it was', () => {
  const world = makeWorld()
  try {
    mkdirSync(join(world.dir, 'lost+found'), { recursive: true })
    writeFileSync(join(world.dir, 'letters.txt'), 'mine')
    const error = failure(() => initDrive(world.dir, { class: 1, nodeId }, systemDisk))
    assert.is(error.code, 'ENOTEMPTY')
    assert.match(error.message, 'is not empty (letters.txt)')
    assert.equal(systemDisk.list(world.dir), ['letters.txt', 'lost+found'])
    rmSync(join(world.dir, 'letters.txt'))
    // What a power cut in the middle of labelling leaves.
    writeFileSync(join(world.dir, 'drive.json.new'), '{')
    assert.is(initDrive(world.dir, { class: 1, nodeId }, systemDisk).cos, 1)
  } finally {
    world.close()
  }
})

test('what is not a drive, or not the expected one, is refused with the reason', () => {
  const world = makeWorld()
  try {
    assert.is(failure(() => openDrive(world.dir)).code, 'ENOENT')
    mkdirSync(world.dir)
    assert.is(failure(() => openDrive(world.dir)).code, 'ENODEV')
    const label = {
      version: 1,
      id: driveId,
      class: 2,
      createdAt: '2026-01-01T00:00:00.000Z',
      node: nodeId,
      kind: 'directory',
    }
    const write = (value: unknown) =>
      writeFileSync(
        join(world.dir, 'drive.json'),
        typeof value === 'string' ? value : JSON.stringify(value),
      )
    const bad: [unknown, string, RegExp][] = [
      ['{"version": 1, ', 'EUCLEAN', /not JSON/],
      ['', 'EUCLEAN', /not JSON/],
      ['[]', 'EUCLEAN', /no version/],
      ['null', 'EUCLEAN', /not an object/],
      [{ ...label, version: 0 }, 'EUCLEAN', /version 0/],
      [{ ...label, version: 3 }, 'ENOTSUP', /newer weft .*version 3.* reads 2/],
      [{ ...label, version: 2 }, 'EUCLEAN', /kind is not "block"/],
      [{ ...label, class: 4 }, 'EUCLEAN', /class/],
      [{ ...label, class: '2' }, 'EUCLEAN', /class/],
      [{ ...label, id: 'C3'.repeat(16) }, 'EUCLEAN', /id is not 32 hex/],
      [{ ...label, node: 7 }, 'EUCLEAN', /node is missing/],
      [{ ...label, kind: 'tape' }, 'EUCLEAN', /kind/],
    ]
    for (const [value, code, message] of bad) {
      write(value)
      const error = failure(() => openDrive(world.dir))
      assert.is(error.code, code, JSON.stringify(value))
      assert.match(error.message, message)
    }
    write(label)
    assert.is(openDrive(world.dir).id, driveId)
    const other = 'd4'.repeat(16) as DriveId
    assert.is(failure(() => openDrive(world.dir, { id: other })).code, 'ESTALE')
    assert.is(failure(() => openDrive(world.dir, { nodeId: otherNode })).code, 'ESTALE')
  } finally {
    world.close()
  }
})

test('space is that of the filesystem less what is reserved', () => {
  const world = makeWorld()
  try {
    const drive = initDrive(world.dir, { class: 2, nodeId }, systemDisk)
    const space = statfsSync(world.dir)
    assert.is(drive.totalBytes(), space.blocks * space.bsize)
    const before = drive.freeBytes()
    const slack = 512 * 1024 * 1024
    assert.ok(Math.abs(before - space.bavail * space.bsize) < slack)
    drive.reserve(before)
    assert.ok(drive.freeBytes() < slack)
    drive.release(before, false)
    assert.ok(Math.abs(drive.freeBytes() - before) < slack)
  } finally {
    world.close()
  }
})

test('statfs is asked again after a quarter of a second', () => {
  const world = makeWorld()
  let now = 1000
  let asked = 0
  const clock: Clock = {
    now: () => ({ sec: 0, nsec: 0 }),
    monotonicMs: () => now,
    after: () => () => {},
  }
  try {
    const drive = initDrive(world.dir, { class: 2, nodeId }, systemDisk, { clock })
    if (drive.freeBytes() < 1024 ** 3) throw new Error('this test needs a GiB free in TMPDIR')
    const first = drive.freeBytes()
    // A finished put is deducted until statfs is asked: that shows when it is.
    drive.reserve(1)
    drive.release(1, true)
    for (const [ms, fresh] of [
      [1249, false],
      [1250, true],
    ] as const) {
      now = ms
      asked = drive.freeBytes()
      assert.is(asked !== first - 1, fresh, `at ${ms} ms`)
      assert.is((first - asked) % 4096 === 0, fresh, `at ${ms} ms`)
    }
  } finally {
    world.close()
  }
})

test('a drive that fails steps down once, and is gone when its label is', () => {
  const world = makeWorld()
  try {
    const told: string[] = []
    const onFail = (drive: Drive) => told.push(drive.state)
    initDrive(world.dir, { class: 2, nodeId }, systemDisk)
    const drive = openDrive(world.dir, {}, { onFail })
    const first = new FsError('EIO', 'read')
    drive.fail(first)
    drive.fail(new FsError('EIO', 'write'))
    assert.is(drive.state, 'failing')
    assert.is(drive.failure, first)
    rmSync(join(world.dir, 'drive.json'))
    drive.fail(new FsError('ENOENT', 'open'))
    drive.fail(new FsError('EIO', 'open'))
    assert.is(drive.state, 'gone')
    assert.equal(told, ['failing', 'gone'])
  } finally {
    world.close()
  }
})

test.run()
