import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type Clock,
  type CopyId,
  codeOf,
  type DriveId,
  type Epoch,
  FsError,
  type KeyEpoch,
  type NodeId,
  type RecordSeq,
  silentLog,
  systemClock,
  type VolumeId,
} from '../../src/base/index.ts'
import { RawChunks } from '../../src/chunks/index.ts'
import { Copies } from '../../src/daemon/copies.ts'
import { chunkFilesOf, type Disk, SimulatedDisk, systemDisk } from '../../src/disk/index.ts'
import { type Drive, initDrive, openDrive } from '../../src/drives/index.ts'
import { createJournal, Journal } from '../../src/journal/index.ts'
import type { Answer, Place, Request } from '../../src/replication/index.ts'
import { plainSealer } from '../journal/world.ts'
import { seeded } from '../support/seeded.ts'

const volume = '5e'.repeat(16) as VolumeId
const copy = 'c1'.repeat(16) as CopyId
const otherCopy = 'c2'.repeat(16) as CopyId
const owner = 'a1'.repeat(16) as NodeId
const rival = 'a2'.repeat(16) as NodeId
const epoch = 3 as Epoch
const beginning: Place = { epoch: 0 as Epoch, seq: 0 as RecordSeq, chain: Buffer.alloc(16) }

/** A node with one drive. `open` is a start of its daemon. */
class CopiesWorld {
  readonly disk: Disk
  readonly directory: string
  readonly driveId: DriveId
  readonly buried = new Set<VolumeId>()
  readonly released = new Set<CopyId>()
  /** Volumes whose chunks were deleted. */
  readonly destroyed: string[] = []
  destroying: Promise<void> = Promise.resolve()
  readonly away = new Set<DriveId>()
  drive: Drive
  readonly more: Drive[] = []
  clock: Clock = systemClock()
  termMs = 50

  constructor(disk: Disk, directory: string) {
    this.disk = disk
    this.directory = directory
    initDrive(directory, { class: 2, nodeId: owner }, disk, { files: disk })
    this.drive = openDrive(directory, {}, { files: disk })
    this.driveId = this.drive.id
  }

  /** Another drive of the node. */
  addDrive(directory: string): Drive {
    initDrive(directory, { class: 2, nodeId: owner }, this.disk, { files: this.disk })
    const drive = openDrive(directory, {}, { files: this.disk })
    this.more.push(drive)
    return drive
  }

  async open(prepare: (drive: Drive) => void = () => {}): Promise<Copies> {
    this.drive = openDrive(this.directory, {}, { files: this.disk })
    prepare(this.drive)
    const drives = () => [this.drive, ...this.more]
    return await Copies.open({
      drives,
      chunks: new RawChunks(drives, chunkFilesOf(this.disk)),
      disk: this.disk,
      clock: this.clock,
      termMs: this.termMs,
      isBuried: async (id) => this.buried.has(id),
      isReleased: async (_, copy) => this.released.has(copy),
      away: () => this.away,
      destroy: async (id, { chunks, directories }) => {
        if (chunks) this.destroyed.push(id)
        await this.destroying
        for (const each of directories) rmSync(each, { recursive: true, force: true })
      },
      log: silentLog,
    })
  }

  get made() {
    return { volume, copy, drive: this.driveId }
  }
}

async function onDisk(work: (world: CopiesWorld) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'weft-copies-'))
  try {
    await work(new CopiesWorld(systemDisk, join(root, 'das')))
  } finally {
    rmSync(root, { recursive: true })
  }
}

/** Sealed records one behind the other, as an owner's journal has them. */
function recordsOf(bodies: readonly string[]): Buffer {
  const disk = new SimulatedDisk()
  let head = createJournal(disk, '/j', volume)
  const journal = new Journal({
    disk,
    directory: '/j',
    volumeId: volume,
    sealer: plainSealer,
    aheadBytes: 0,
  })
  const from = head.offset
  for (const body of bodies) {
    const confirmed = { epoch: 0 as Epoch, seq: 0 as RecordSeq }
    const fields = { epoch, keyEpoch: 1 as KeyEpoch, confirmed, begins: [], ends: [] }
    head = journal.append(head, fields, Buffer.from(body))
  }
  return disk.readFile('/j/0000000001.journal').subarray(from)
}

function append(records: Buffer, before = beginning): Request {
  return { op: 'append', epoch, owner, before, records, sync: true }
}

const ask = (copies: Copies, message: Request, id = copy): Promise<Answer> =>
  copies.answer({ volume, copy: id, message })

function errorOf(work: () => void): unknown {
  try {
    work()
  } catch (error) {
    return error
  }
  return assert.unreachable('nothing was thrown')
}

async function rejectionOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work
  } catch (error) {
    return error
  }
  return assert.unreachable('nothing was thrown')
}

test('a copy that was made takes records, and is found with them at the next start', async () => {
  await onDisk(async (world) => {
    const first = await world.open()
    assert.equal(first.list(), [])
    first.create(world.made)
    const done = await ask(first, append(recordsOf(['one', 'two'])))
    assert.equal(done, { kind: 'appended', end: 2, durable: 2 })
    first.close()
    const second = await world.open()
    const [status] = second.list()
    assert.is(status?.volume, volume)
    assert.is(status?.copy, copy)
    assert.is(status?.drive, world.driveId)
    assert.is(status?.epoch, epoch)
    assert.is(status?.owner, owner)
    assert.equal(status?.end, { epoch, seq: 2 })
    assert.is(status?.damaged, null)
    assert.ok((status?.journalBytes ?? 0) > 512)
    assert.is(second.find(volume, copy)?.head.seq, 2)
    second.close()
  })
})

test('to make the same copy again is no error, another one of the volume is EEXIST, a drive that is not here ENODEV', async () => {
  await onDisk(async (world) => {
    const copies = await world.open()
    copies.create(world.made)
    await ask(copies, append(recordsOf(['one'])))
    copies.create(world.made)
    assert.is(copies.find(volume, copy)?.head.seq, 1)
    const another = errorOf(() => copies.create({ ...world.made, copy: otherCopy }))
    assert.is(codeOf(another), 'EEXIST')
    const drive = 'dd'.repeat(16) as DriveId
    const away = errorOf(() =>
      copies.create({ ...world.made, volume: 'ab'.repeat(16) as VolumeId, drive }),
    )
    assert.is(codeOf(away), 'ENODEV')
    copies.close()
  })
})

test('a drive that is being emptied takes no copy', async () => {
  await onDisk(async (world) => {
    writeFileSync(join(world.directory, 'draining'), '')
    const copies = await world.open()
    assert.is(codeOf(errorOf(() => copies.create(world.made))), 'ENODEV')
    assert.equal(copies.list(), [])
    copies.close()
  })
})

test('a copy on a drive that failed in an earlier life is here, as one is whose drive begins to fail', async () => {
  await onDisk(async (world) => {
    const before = await world.open()
    before.create(world.made)
    await ask(before, append(recordsOf(['one'])))
    before.close()
    const copies = await world.open((drive) => drive.fail(new FsError('EIO', 'test', {})))
    assert.is(copies.find(volume, copy)?.head.seq, 1)
    copies.close()
  })
})

test('a journal without a promise is a volume of a single node: no copy, and not to be made one', async () => {
  await onDisk(async (world) => {
    const directory = join(world.directory, 'volumes', volume)
    createJournal(systemDisk, directory, volume)
    const before = systemDisk.list(directory)
    const copies = await world.open()
    assert.equal(copies.list(), [])
    assert.is(codeOf(errorOf(() => copies.create(world.made))), 'EEXIST')
    assert.equal(systemDisk.list(directory), before)
    copies.close()
  })
})

test('a copy that is not here, or is another one, is refused as such', async () => {
  await onDisk(async (world) => {
    const copies = await world.open()
    const state: Request = { op: 'state', candidate: owner }
    for (const made of [false, true]) {
      if (made) copies.create(world.made)
      const answer = await ask(copies, state, otherCopy)
      assert.ok(answer.kind === 'refused' && answer.why === 'otherCopy')
    }
    const elsewhere = await copies.answer({
      volume: 'ab'.repeat(16) as VolumeId,
      copy,
      message: state,
    })
    assert.ok(elsewhere.kind === 'refused' && elsewhere.why === 'otherCopy')
    assert.is((await ask(copies, state)).kind, 'state')
    copies.close()
  })
})

test('only a tombstone removes a copy', async () => {
  await onDisk(async (world) => {
    const copies = await world.open()
    copies.create(world.made)
    assert.is(codeOf(await rejectionOf(copies.remove(volume))), 'EBUSY')
    assert.is(copies.list().length, 1)
    world.buried.add(volume)
    await copies.remove(volume)
    assert.equal(copies.list(), [])
    assert.equal(world.destroyed, [volume])
    const answer = await ask(copies, { op: 'state', candidate: owner })
    assert.ok(answer.kind === 'refused' && answer.why === 'otherCopy')
    copies.close()
    assert.equal((await world.open()).list(), [])
  })
})

test('a copy whose drive is gone is in nobody’s way: another is made on a drive that is there', async () => {
  await onDisk(async (world) => {
    const second = world.addDrive(`${world.directory}2`)
    const copies = await world.open()
    copies.create(world.made)
    await ask(copies, append(recordsOf(['one'])))
    const made = { volume, copy: otherCopy, drive: second.id }
    assert.is(codeOf(errorOf(() => copies.create(made))), 'EEXIST')
    world.drive.fail(new FsError('ENODEV', 'read', {}))
    copies.create(made)
    assert.is((await ask(copies, append(recordsOf(['one'])), otherCopy)).kind, 'appended')
    copies.close()
    // The first drive is back: what it has goes when the record says so, and takes nothing of the other copy with it.
    const again = await world.open()
    world.released.add(copy)
    await again.release(world.made)
    assert.equal(world.destroyed, [], 'its chunks may be those of the other copy')
    assert.equal(
      again.list().map(({ copy: id, end }) => [id, end.seq]),
      [[otherCopy, 1]],
    )
    assert.ok(!systemDisk.exists(join(world.directory, 'volumes', volume)))
    again.close()
  })
})

test('a copy on a drive that is away is given up when that returns, and at once when it was taken out for good', async () => {
  await onDisk(async (world) => {
    const copies = await world.open()
    const drive = 'dd'.repeat(16) as DriveId
    world.released.add(copy)
    world.away.add(drive)
    assert.is(codeOf(await rejectionOf(copies.release({ ...world.made, drive }))), 'ENODEV')
    world.away.clear()
    await copies.release({ ...world.made, drive })
    assert.equal(world.destroyed, [volume], 'what it had on other drives')
    copies.close()
  })
})

test('a copy whose drive is away says so: it may come back, and is not lost', async () => {
  await onDisk(async (world) => {
    const copies = await world.open()
    copies.create(world.made)
    const why = async (from: Copies, id = copy) => {
      const answer = await ask(from, { op: 'grant', epoch, owner }, id)
      return answer.kind === 'refused' ? answer.why : answer.kind
    }
    assert.is(await why(copies), 'granted')
    world.drive.fail(new FsError('ENODEV', 'read', {}))
    assert.is(await why(copies), 'away')
    assert.is(copies.find(volume, copy), null)
    copies.close()
    // Started without it: any copy that is not here may be on it.
    const again = await world.open()
    assert.is(await why(again, otherCopy), 'otherCopy')
    world.away.add('dd'.repeat(16) as DriveId)
    assert.is(await why(again, otherCopy), 'away')
    assert.is(await why(again), 'granted')
    again.close()
  })
})

test('while what a copy has is deleted no other is made; what cannot be deleted is when it is asked for again', async () => {
  await onDisk(async (world) => {
    const second = world.addDrive(`${world.directory}2`)
    const copies = await world.open()
    copies.create(world.made)
    await ask(copies, append(recordsOf(['one'])))
    world.released.add(copy)
    let fail = (_: Error) => {}
    world.destroying = new Promise((_, reject) => {
      fail = reject
    })
    const releasing = rejectionOf(copies.release(world.made))
    const made = { volume, copy: otherCopy, drive: second.id }
    assert.is(codeOf(errorOf(() => copies.create(made))), 'EEXIST')
    fail(new FsError('EIO', 'destroy', {}))
    assert.is(codeOf(await releasing), 'EIO')
    world.destroying = Promise.resolve()
    await copies.release(world.made)
    assert.equal(copies.list(), [])
    copies.create(made)
    copies.close()
  })
})

test('a node that has other drives than when its copy was found whole says so, until it is found whole again', async () => {
  await onDisk(async (world) => {
    const second = world.addDrive(`${world.directory}2`)
    const copies = await world.open()
    copies.create(world.made)
    const grant = async (from: Copies) => {
      const answer = await ask(from, { op: 'grant', epoch, owner })
      return answer.kind === 'granted' ? answer.doubt : assert.unreachable(answer.kind)
    }
    assert.is(await grant(copies), null, 'it is to have nothing yet')
    second.fail(new FsError('ENODEV', 'read', {}))
    const drives = await grant(copies)
    assert.ok(drives)
    copies.close()
    const again = await world.open()
    assert.is(await grant(again), drives, 'a start changes nothing')
    const whole: Request = { op: 'whole', epoch, owner, drives: 'ab'.repeat(16) }
    assert.is((await ask(again, whole)).kind, 'done')
    assert.is(await grant(again), drives, 'it was looked through with others')
    assert.is((await ask(again, { ...whole, drives: drives ?? '' })).kind, 'done')
    assert.is(await grant(again), null)
    again.close()
  })
})

test('a copy that the owner gave up is deleted only when the record says so, and never one that is led', async () => {
  await onDisk(async (world) => {
    const copies = await world.open()
    copies.create(world.made)
    assert.is(codeOf(await rejectionOf(copies.release(world.made))), 'EBUSY')
    world.released.add(copy)
    const found = copies.find(volume, copy)
    assert.is((await ask(copies, { op: 'promise', epoch, owner })).kind, 'promised')
    assert.ok(found)
    const { head } = found
    found.lead({ epoch, head, durable: head.seq, fence: () => head }, () => {})
    assert.is(codeOf(await rejectionOf(copies.release(world.made))), 'EBUSY', 'this node owns it')
    found.unlead()
    await copies.release(world.made)
    assert.equal(world.destroyed, [volume])
    assert.equal(copies.list(), [])
    await copies.release(world.made)
    assert.equal(world.destroyed, [volume], 'a second order finds nothing')
    copies.close()
  })
})

test('a copy that nobody ever used gives way to another', async () => {
  await onDisk(async (world) => {
    const copies = await world.open()
    copies.create(world.made)
    const other = 'fe'.repeat(16) as CopyId
    copies.create({ ...world.made, copy: other })
    assert.equal(
      copies.list().map((one) => one.copy),
      [other],
    )
    copies.close()
    assert.equal((await world.open()).list().length, 1)
  })
})

test('a lease that was granted before a start holds for a term behind it, time in suspend included', async () => {
  await onDisk(async (world) => {
    const first = await world.open()
    first.create(world.made)
    assert.is((await ask(first, { op: 'grant', epoch, owner })).kind, 'granted')
    first.close()
    // Stands still while the machine does not, as in suspend.
    world.clock = { ...systemClock(), monotonicMs: () => 0 }
    const second = await world.open()
    const higher = (epoch + 1) as Epoch
    const early = await ask(second, { op: 'promise', epoch: higher, owner: rival })
    assert.ok(early.kind === 'refused' && early.why === 'leased')
    const endMs = performance.now() + 2000
    for (;;) {
      const { kind } = await ask(second, { op: 'promise', epoch: higher, owner: rival })
      if (kind === 'promised') break
      assert.ok(performance.now() < endMs, 'the term does not end')
      await new Promise((done) => setTimeout(done, 10))
    }
    second.close()
  })
})

test('a drive that fails under its journal makes a copy damaged: it says so and takes nothing more', async () => {
  const disk = new SimulatedDisk()
  const world = new CopiesWorld(disk, '/das')
  const copies = await world.open()
  copies.create(world.made)
  const records = recordsOf(['one', 'two'])
  await ask(copies, append(records))
  const before = copies.find(volume, copy)?.head
  assert.ok(before)
  disk.fail('fdatasync', 'EIO')
  const sync: Request = {
    op: 'append',
    epoch: (epoch + 1) as Epoch,
    owner,
    before,
    records: Buffer.alloc(0),
    sync: true,
  }
  assert.is(codeOf(await rejectionOf(ask(copies, sync))), 'EIO')
  assert.is(world.drive.state, 'failing')
  assert.match(copies.list()[0]?.damaged ?? '', /failed at append/)
  assert.is(copies.find(volume, copy), null)
  const refused = await ask(copies, append(records))
  assert.ok(refused.kind === 'refused' && refused.why === 'damaged')
  assert.match(refused.words, /failed at append/)
  const state = await ask(copies, { op: 'state', candidate: owner })
  assert.ok(state.kind === 'state' && state.damaged !== null && state.end.seq === 2)
})

test('records that are none, and a full drive, are the asker’s to know and no damage', async () => {
  const disk = new SimulatedDisk(1 << 20)
  const world = new CopiesWorld(disk, '/das')
  const copies = await world.open()
  copies.create(world.made)
  assert.is(codeOf(await rejectionOf(ask(copies, append(Buffer.from('no records'))))), 'EPROTO')
  disk.fail('write', 'ENOSPC')
  const records = recordsOf(['one'])
  assert.is(codeOf(await rejectionOf(ask(copies, append(records)))), 'ENOSPC')
  assert.is(copies.list()[0]?.damaged, null)
  assert.equal(await ask(copies, append(records)), { kind: 'appended', end: 1, durable: 1 })
})

test('a copy whose promise cannot be read is listed as damaged, refuses all, and is no room for another', async () => {
  await onDisk(async (world) => {
    const first = await world.open()
    first.create(world.made)
    first.close()
    systemDisk.replaceFile(join(world.directory, 'volumes', volume, 'promise'), Buffer.alloc(56, 1))
    const copies = await world.open()
    const [status] = copies.list()
    assert.is(status?.copy, null)
    assert.match(status?.damaged ?? '', /not a promise file/)
    const answer = await ask(copies, { op: 'state', candidate: owner })
    assert.ok(answer.kind === 'refused' && answer.why === 'damaged')
    assert.is(codeOf(errorOf(() => copies.create({ ...world.made, copy: otherCopy }))), 'EEXIST')
    copies.close()
  })
})

test('a cut in power while a copy is made leaves all of it or nothing, and it can be made again', async () => {
  let whole = 0
  let nothing = 0
  for (let calls = 0; calls < 40; calls++) {
    const disk = new SimulatedDisk()
    const world = new CopiesWorld(disk, '/das')
    const before = await world.open()
    disk.powerOffAfter(calls)
    let made = false
    try {
      before.create(world.made)
      made = true
    } catch (error) {
      assert.is(codeOf(error), 'EIO')
    }
    disk.powerCut(seeded(calls))
    world.termMs = 0
    const after = await world.open()
    const status = after.list()
    if (made) assert.is(status[0]?.copy, copy, `cut after ${calls}: the copy is lost`)
    assert.is(status[0]?.damaged ?? null, null)
    status.length > 0 ? whole++ : nothing++
    after.create(world.made)
    assert.equal(await ask(after, append(recordsOf(['one']))), {
      kind: 'appended',
      end: 1,
      durable: 1,
    })
  }
  assert.ok(whole > 5 && nothing > 5, `${whole} whole, ${nothing} nothing`)
})

test('a copy for which there is no room is not made, and nothing of it stays', async () => {
  const disk = new SimulatedDisk()
  const world = new CopiesWorld(disk, '/das')
  const copies = await world.open()
  for (let after = 0; after < 3; after++) {
    disk.fail('write', 'ENOSPC', { after })
    assert.is(codeOf(errorOf(() => copies.create(world.made))), 'ENOSPC')
    assert.not(disk.exists(`/das/volumes/${volume}`))
  }
  copies.create(world.made)
  assert.is(copies.list().length, 1)
})

test.run()
