import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError, type NodeId } from '../../src/base/index.ts'
import { systemDisk } from '../../src/disk/index.ts'
import {
  type Drive,
  FollowedDrives,
  initDrive,
  openDrive,
  systemDriveFiles,
  ToldDrives,
  takesData,
} from '../../src/drives/index.ts'

/** Drives of one node, told to others; a directory of its own. */
function withDrives(count: number, work: (told: ToldDrives, drives: Drive[]) => void): void {
  const root = mkdtempSync(join(tmpdir(), 'weft-told-'))
  try {
    const nodeId = 'a1'.repeat(16) as NodeId
    const drives = Array.from({ length: count }, (_, n) =>
      initDrive(join(root, `das${n}`), { class: 2, nodeId }, systemDisk),
    )
    work(new ToldDrives(), drives)
  } finally {
    rmSync(root, { recursive: true })
  }
}

const idsOf = (drives: Iterable<Drive> | null) => drives && [...drives].map(({ id }) => id)

test('a drive that comes, is emptied, fails and goes is so for whoever looks, and nothing new costs no look', () =>
  withDrives(2, (told, [first, second]) => {
    assert.ok(first && second)
    told.tell([first])
    const followed = new FollowedDrives(told.buffer)
    const [own] = followed.drives
    assert.ok(own && own !== first, 'each thread has its own object')
    assert.is(followed.look(), null)
    told.tell([first, second])
    assert.equal(idsOf(followed.look()), [first.id, second.id])
    assert.is(followed.drives[0], own, 'what was there stays the same object')
    assert.is(followed.look(), null)
    second.draining = true
    told.tell([first, second])
    assert.is(followed.look(), null, 'none has come or gone')
    assert.is(followed.drives[1] && takesData(followed.drives[1]), false)
    second.draining = false
    told.tell([first, second])
    followed.look()
    assert.is(followed.drives[1] && takesData(followed.drives[1]), true)
    first.fail(new FsError('EIO', 'test', { message: 'it clicks' }))
    told.tell([first, second])
    followed.look()
    assert.is(own.state, 'failing')
    assert.match(String(own.failure), /it clicks/)
    told.tell([second])
    assert.equal(idsOf(followed.look()), [second.id])
  }))

test('a drive that went and came back is opened anew, and one that is gone is kept by who has it open and opened by nobody', () =>
  withDrives(2, (told, [first, second]) => {
    assert.ok(first && second)
    told.tell([first, second])
    const early = new FollowedDrives(told.buffer)
    const [before] = early.drives
    first.fail(new FsError('ENODEV', 'test', {}))
    told.tell([first, second])
    early.look()
    assert.is(before?.state, 'gone')
    assert.equal(idsOf(new FollowedDrives(told.buffer).drives), [second.id])
    told.tell([openDrive(first.dir), second])
    assert.equal(idsOf(early.look()), [first.id, second.id])
    assert.is.not(early.drives[0], before)
    assert.is(early.drives[0]?.state, 'ok')
  }))

test('another drive under the path of one that was told is not opened', () =>
  withDrives(2, (told, [first, second]) => {
    assert.ok(first && second)
    told.tell([first])
    rmSync(first.dir, { recursive: true })
    renameSync(second.dir, first.dir)
    mkdirSync(second.dir)
    const followed = new FollowedDrives(told.buffer)
    assert.equal(idsOf(followed.drives), [])
    assert.equal(
      followed.lost.map(({ dir, error }) => [dir, error.code]),
      [[first.dir, 'ESTALE']],
    )
  }))

test('a drive that cannot be opened for want of descriptors is not called lost, and is opened at the next look', () =>
  withDrives(1, (told, drives) => {
    told.tell(drives)
    let isShort = true
    const followed = new FollowedDrives(told.buffer, {
      files: {
        ...systemDriveFiles,
        readFile(path) {
          if (isShort) throw Object.assign(new Error('too many open files'), { code: 'EMFILE' })
          return systemDriveFiles.readFile(path)
        },
      },
    })
    assert.equal([followed.drives, followed.lost], [[], []])
    isShort = false
    assert.equal(idsOf(followed.look()), idsOf(drives))
  }))

test('who waits for the last put to a drive waits for all that were begun', async () => {
  const root = mkdtempSync(join(tmpdir(), 'weft-told-'))
  try {
    const nodeId = 'a1'.repeat(16) as NodeId
    const drive = initDrive(join(root, 'das'), { class: 2, nodeId }, systemDisk)
    await drive.untilIdle()
    drive.reserve(10)
    drive.reserve(20)
    let isIdle = false
    const waiting = drive.untilIdle().then(() => {
      isIdle = true
    })
    drive.release(10, true)
    await new Promise((resolve) => setImmediate(resolve))
    assert.is(isIdle, false)
    drive.release(20, false)
    await waiting
  } finally {
    rmSync(root, { recursive: true })
  }
})

test('who reads while others are told has the one list or the other, never a part of both', async () => {
  const told = new ToldDrives()
  const lists = [3, 300].map((count) =>
    Array.from({ length: count }, (_, n) => ({ dir: `/das${n}`, id: `${n}`, state: 'ok' })),
  )
  const program = `
    const { workerData, parentPort } = require('node:worker_threads')
    import(workerData.module).then(({ ToldDrives }) => {
      const told = new ToldDrives(workerData.buffer)
      const lengths = new Set()
      let number = -1
      const hasBoth = () => lengths.has(3) && lengths.has(300)
      const end = Date.now() + 30000
      // On a busy machine many reads fall between two tellings.
      for (let reads = 0; reads < 20000 || (!hasBoth() && Date.now() < end); reads++) {
        const read = told.read()
        if (read.number < number) throw new Error('it goes back')
        number = read.number
        lengths.add(read.drives.length)
      }
      parentPort.postMessage([...lengths].sort())
    })`
  const module = new URL('../../src/drives/index.js', import.meta.url).href
  const worker = new Worker(program, { eval: true, workerData: { module, buffer: told.buffer } })
  let lengths: number[] | null = null
  worker.on('message', (found: number[]) => {
    lengths = found
  })
  const ended = new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject))
  let isOver = false
  ended.then(
    () => {
      isOver = true
    },
    () => {},
  )
  for (let n = 0; !isOver; n++) {
    for (let round = 0; round < 50; round++) {
      told.tell(lists[(n + round) % 2] as unknown as Drive[])
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  await ended
  assert.equal(
    ((lengths ?? []) as number[]).filter((length) => length > 0),
    [3, 300],
  )
})

test.run()
