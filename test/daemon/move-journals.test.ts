import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type DriveId, FsError, type Log, type VolumeId } from '../../src/base/index.ts'
import {
  type GivenUp,
  journalDrive,
  journalsOn,
  moveJournals,
} from '../../src/daemon/move-journals.ts'
import { moveQuarantine } from '../../src/daemon/move-quarantine.ts'
import { type Disk, SimulatedDisk } from '../../src/disk/index.ts'
import type { Drive } from '../../src/drives/index.ts'
import { seeded } from '../support/seeded.ts'

const volume = '5e'.repeat(16) as VolumeId
const log = { info() {}, warn() {}, error() {} } as unknown as Log
const FILES = { '0000000001.journal': 5000, checkpoint: 300, promise: 64 }

/** As much of a Drive as moving looks at. */
function driveAt(dir: string, draining: boolean, state = 'ok'): Drive {
  const drive = {
    id: dir as DriveId,
    dir,
    cos: 2,
    state,
    draining,
    credit: 0,
    givenUp: new Set<VolumeId>(),
    freeBytes: () => 1e9,
    headroomBytes: () => 0,
    fail() {
      drive.state = 'failing'
    },
  }
  return drive as unknown as Drive
}

/** What is written down at home: `HOME/DRIVE.VOLUME`. */
function givenUpOn(disk: SimulatedDisk): GivenUp {
  const path = (drive: Drive, id: VolumeId) => `/home${drive.dir}.${id}`
  return {
    add: (drive, id) => disk.replaceFile(path(drive, id), Buffer.from('')),
    drop: (drive, id) => disk.unlink(path(drive, id)),
  }
}

/** A life of the daemon: each drive is opened anew, and told what was written down. */
function move(disk: SimulatedDisk, drives: readonly Drive[], on: Disk = disk) {
  disk.mkdir('/home')
  for (const drive of drives) {
    if (disk.exists(`/home${drive.dir}.${volume}`)) drive.givenUp.add(volume)
  }
  return moveJournals(drives, on, log, givenUpOn(disk))
}

/** The disk where a drive refuses calls: those that change something, or all. */
function refusing(disk: SimulatedDisk, dir: string, code: 'EROFS' | 'EIO'): Disk {
  const changes = ['rename', 'unlink', 'rmdir', 'mkdir', 'replaceFile']
  return new Proxy(disk, {
    get(target, name) {
      const own = Reflect.get(target, name)
      if (typeof own !== 'function') return own
      return (...args: unknown[]) => {
        const isThere = args.some((arg) => typeof arg === 'string' && arg.startsWith(`${dir}/`))
        if (isThere && (code === 'EIO' || changes.includes(String(name)))) {
          throw new FsError(code, String(name), {})
        }
        return own.apply(target, args)
      }
    },
  })
}

function filled(disk: SimulatedDisk, directory: string): void {
  disk.mkdir(`${directory}/quarantine`)
  for (const [name, bytes] of Object.entries(FILES)) {
    disk.replaceFile(`${directory}/${name}`, seeded(bytes).bytes(bytes))
  }
  disk.replaceFile(`${directory}/quarantine/old`, Buffer.from('kept'))
}

function isWhole(disk: SimulatedDisk, directory: string): boolean {
  return (
    Object.entries(FILES).every(([name, bytes]) =>
      disk.readFile(`${directory}/${name}`).equals(seeded(bytes).bytes(bytes)),
    ) && disk.readFile(`${directory}/quarantine/old`).toString() === 'kept'
  )
}

let from: Drive
let to: Drive
/** As a life of the daemon opens them. */
function open(): void {
  from = driveAt('/a', true)
  to = driveAt('/b', false)
}
const on = (drive: Drive) => `${drive.dir}/volumes/${volume}`

test('a journal goes to another drive with all that is beside it', () => {
  const disk = new SimulatedDisk()
  open()
  filled(disk, on(from))
  disk.mkdir('/b')
  const { moved, kept } = move(disk, [from, to])
  assert.equal(
    moved.map((one) => one.to.id),
    [to.id],
  )
  assert.equal(kept, [])
  assert.ok(isWhole(disk, on(to)))
  assert.equal(disk.list('/a/volumes'), [])
})

test('a cut in power at any moment leaves the volume on one drive, whole, and the next start ends the move', () => {
  let cuts = 0
  for (let calls = 0; ; calls++) {
    const disk = new SimulatedDisk()
    open()
    filled(disk, on(from))
    disk.mkdir('/b/volumes')
    disk.mkdir('/home')
    disk.powerOffAfter(calls)
    let isDone = false
    try {
      isDone = move(disk, [from, to]).moved.length === 1
    } catch {}
    disk.powerCut(seeded(calls))
    open()
    const places = [from, to].filter((drive) => disk.exists(on(drive)))
    assert.ok(places.length <= 1, `at call ${calls} both drives have it`)
    for (const drive of places) assert.ok(isWhole(disk, on(drive)), `call ${calls}`)
    move(disk, [from, to])
    assert.ok(isWhole(disk, on(to)), `after call ${calls}`)
    assert.equal(disk.list('/a/volumes'), [])
    assert.equal(disk.list('/b/volumes'), [volume])
    if (isDone) break
    cuts++
  }
  assert.ok(cuts > 10)
})

test('while the drive before is away, what was on its way from it counts for nothing, and is not lost', () => {
  const disk = new SimulatedDisk()
  open()
  filled(disk, on(from))
  disk.mkdir('/b/volumes')
  disk.fail('rename', 'EIO', { after: 1 })
  assert.is(move(disk, [from, to]).kept.length, 1)
  open()
  move(disk, [to])
  assert.equal(disk.list('/b/volumes'), [`${volume}.arriving`])
  open()
  move(disk, [from, to])
  assert.ok(isWhole(disk, on(to)))
})

test('a journal for which no drive has room stays, and why is said', () => {
  const disk = new SimulatedDisk()
  open()
  filled(disk, on(from))
  const full = { ...driveAt('/b', false), freeBytes: () => 10 } as Drive
  const { moved, kept } = move(disk, [from, full])
  assert.equal(moved, [])
  assert.match(kept[0]?.why ?? '', /journal of volume 5e5e.*no drive has room|ENOSPC|space/)
  assert.ok(isWhole(disk, on(from)))
})

test('a journal goes from a drive that fails, also when it is read-only, and the old one counts no more', () => {
  for (const isReadOnly of [false, true]) {
    const disk = new SimulatedDisk()
    const failing = driveAt('/a', false, 'failing')
    to = driveAt('/b', false)
    filled(disk, on(failing))
    disk.mkdir('/b')
    const seen = isReadOnly ? refusing(disk, '/a', 'EROFS') : disk
    const { moved, kept } = move(disk, [failing, to], seen)
    assert.equal(kept, [])
    assert.is(moved.length, 1)
    assert.ok(isWhole(disk, on(to)))
    assert.is(journalDrive(volume, [failing, to], seen), to)
    assert.equal(journalsOn(failing, [failing, to], seen), [])
    // The next one is away: the old one is not opened instead.
    const again = driveAt('/a', false, 'failing')
    assert.is(move(disk, [again], seen).moved.length, 0)
    assert.is(journalDrive(volume, [again], seen), undefined)
    const unknown = isReadOnly ? [volume] : []
    assert.equal(journalsOn(again, [again], seen), unknown, 'it is not known where it is')
    // Somebody said that it is sound, and it can be written again.
    const sound = driveAt('/a', false)
    assert.equal(move(disk, [sound, to]).kept, [])
    assert.equal(disk.list('/a/volumes'), [])
    assert.equal(disk.list('/home'), [])
    assert.ok(isWhole(disk, on(to)))
    // And it may have the journal again.
    assert.is(move(disk, [sound, driveAt('/b', true)]).moved.length, 1)
    assert.is(journalDrive(volume, [sound, to], disk), sound)
  }
})

test('a cut in power while a read-only drive gives a journal up leaves one of the two', () => {
  for (let calls = 0; ; calls++) {
    const disk = new SimulatedDisk()
    const opened = (): [Drive, Drive] => [driveAt('/a', false, 'failing'), driveAt('/b', false)]
    filled(disk, `/a/volumes/${volume}`)
    disk.mkdir('/b/volumes')
    disk.mkdir('/home')
    disk.powerOffAfter(calls)
    let isDone = false
    try {
      isDone = move(disk, opened(), refusing(disk, '/a', 'EROFS')).moved.length === 1
    } catch {}
    disk.powerCut(seeded(calls))
    const drives = opened()
    move(disk, drives, refusing(disk, '/a', 'EROFS'))
    assert.is(journalDrive(volume, drives, disk), drives[1], `call ${calls}`)
    assert.ok(isWhole(disk, on(drives[1])), `call ${calls}`)
    if (isDone) break
    assert.ok(calls < 500)
  }
})

test('a drive that answers errors, or takes no change, keeps nobody else from moving, nor the start', () => {
  for (const code of ['EIO', 'EROFS'] as const) {
    const disk = new SimulatedDisk()
    const bad = driveAt('/c', false)
    open()
    filled(disk, on(from))
    disk.mkdir('/b')
    const other = 'ab'.repeat(16)
    disk.mkdir(`/c/volumes/${other}.left`)
    disk.mkdir(`/b/volumes/${other}`)
    const { moved, kept } = move(disk, [bad, from, to], refusing(disk, '/c', code))
    assert.is(moved.length, 1)
    assert.is(kept[0]?.drive, bad)
    assert.is(bad.state, 'failing')
    assert.ok(isWhole(disk, on(to)))
  }
})

test('a journal is not moved over an old one of its volume', () => {
  const disk = new SimulatedDisk()
  open()
  filled(disk, on(from))
  disk.mkdir(on(to))
  disk.replaceFile(`${on(to)}/old`, Buffer.from('old'))
  for (let life = 0; life < 3; life++) {
    const { moved, kept } = move(disk, [from, to])
    assert.equal(moved, [])
    assert.match(kept[0]?.why ?? '', 'another journal of it is on drive /b')
    assert.ok(isWhole(disk, on(from)))
    assert.equal(disk.list(on(to)), ['old'])
  }
  const third = driveAt('/c', false)
  disk.mkdir('/c')
  assert.is(move(disk, [from, to, third]).moved[0]?.to, third)
})

test('what was set aside goes once from a drive that does not let go of it, and leaves no parts where it cannot be read', () => {
  const disk = new SimulatedDisk()
  open()
  for (const name of ['one', 'two']) {
    disk.mkdir('/a/quarantine')
    disk.replaceFile(`/a/quarantine/${name}`, Buffer.from(name))
  }
  const readOnly = refusing(disk, '/a', 'EROFS')
  for (let life = 0; life < 2; life++) {
    const copied = new Set<string>()
    for (let pass = 0; pass < 3; pass++) moveQuarantine(from, [to], readOnly, copied)
    assert.equal([...copied], ['one', 'two'])
    assert.equal(disk.list('/b/quarantine'), ['one', 'two'])
  }
  assert.is(from.state, 'failing')
  disk.replaceFile('/a/quarantine/bad', Buffer.alloc(9000))
  const bad = new Proxy(readOnly, {
    get(target, name) {
      const own = Reflect.get(target, name)
      if (name !== 'read') return own
      return (...args: unknown[]) => {
        if (Number(args[3]) > 0) throw new FsError('EIO', 'read', {})
        return own.apply(target, args)
      }
    },
  })
  const copied = new Set(['one', 'two'])
  for (let pass = 0; pass < 3; pass++) {
    assert.throws(() => moveQuarantine(from, [to], bad, copied), /EIO/)
    assert.equal(disk.list('/b/quarantine'), ['one', 'two'])
  }
})

test.run()
