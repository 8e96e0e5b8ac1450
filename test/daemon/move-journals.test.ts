import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { DriveId, Log, VolumeId } from '../../src/base/index.ts'
import { moveJournals } from '../../src/daemon/move-journals.ts'
import { SimulatedDisk } from '../../src/disk/index.ts'
import type { Drive } from '../../src/drives/index.ts'
import { seeded } from '../support/seeded.ts'

const volume = '5e'.repeat(16) as VolumeId
const log = { info() {}, warn() {}, error() {} } as unknown as Log
const FILES = { '0000000001.journal': 5000, checkpoint: 300, promise: 64 }

/** As much of a Drive as moving looks at. */
function driveAt(dir: string, draining: boolean): Drive {
  return {
    id: dir as DriveId,
    dir,
    cos: 2,
    state: 'ok',
    draining,
    credit: 0,
    freeBytes: () => 1e9,
    headroomBytes: () => 0,
  } as unknown as Drive
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

const from = driveAt('/a', true)
const to = driveAt('/b', false)
const on = (drive: Drive) => `${drive.dir}/volumes/${volume}`

test('a journal goes to another drive with all that is beside it', () => {
  const disk = new SimulatedDisk()
  filled(disk, on(from))
  disk.mkdir('/b')
  const { moved, kept } = moveJournals([from, to], disk, log)
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
    filled(disk, on(from))
    disk.mkdir('/b/volumes')
    disk.powerOffAfter(calls)
    let isDone = false
    try {
      isDone = moveJournals([from, to], disk, log).moved.length === 1
    } catch {}
    disk.powerCut(seeded(calls))
    const places = [from, to].filter((drive) => disk.exists(on(drive)))
    assert.ok(places.length <= 1, `at call ${calls} both drives have it`)
    for (const drive of places) assert.ok(isWhole(disk, on(drive)), `call ${calls}`)
    moveJournals([from, to], disk, log)
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
  filled(disk, on(from))
  disk.mkdir('/b/volumes')
  disk.fail('rename', 'EIO', { after: 1 })
  assert.is(moveJournals([from, to], disk, log).kept.length, 1)
  moveJournals([to], disk, log)
  assert.equal(disk.list('/b/volumes'), [`${volume}.arriving`])
  moveJournals([from, to], disk, log)
  assert.ok(isWhole(disk, on(to)))
})

test('a journal for which no drive has room stays, and why is said', () => {
  const disk = new SimulatedDisk()
  filled(disk, on(from))
  const full = { ...driveAt('/b', false), freeBytes: () => 10 } as Drive
  const { moved, kept } = moveJournals([from, full], disk, log)
  assert.equal(moved, [])
  assert.match(kept[0] ?? '', /journal of volume 5e5e.*no drive has room|ENOSPC|space/)
  assert.ok(isWhole(disk, on(from)))
})

test.run()
