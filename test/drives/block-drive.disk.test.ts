import { closeSync, openSync, readdirSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type DriveId, FsError, newId, systemRandom } from '../../src/base/index.ts'
import { alignedBuffer, systemDisk } from '../../src/disk/index.ts'
import {
  type BlockDisk,
  blockDiskAt,
  blockDisks,
  checkDrives,
  classify,
  type DiskWorld,
  type Drive,
  findDisk,
  formatDisk,
  labelDisk,
  measureDrive,
  mountAt,
  mountDisk,
  mountDrive,
  openDrive,
  relabel,
  type Us,
  unmountDisk,
} from '../../src/drives/index.ts'
import { LoopDrives } from '../support/loop-drives.ts'
import { nodeKeys } from './node-keys.ts'

/** Real loop devices and the real mkfs.xfs: root only. */

const ours = nodeKeys(1)
const theirs = nodeKeys(2)
const clusterA = 'aa'.repeat(16)
const clusterB = 'bb'.repeat(16)

const LINKS = ['wwn-0x5000c500a1b2c3d4', 'ata-WEFT_HDD_SER0001']
const OTHER_LINKS = ['wwn-0x5000c500a1b2c3d5', 'nvme-WEFT_NVME_SER0002']

function usOf(of: typeof ours, cluster: string | null, drives: readonly DriveId[] = []): Us {
  return { nodeId: of.nodeId, keys: of.keys, cluster, drives: new Set(drives) }
}

const us = usOf(ours, clusterA)

async function failure(work: Promise<unknown>): Promise<FsError> {
  try {
    await work
  } catch (error) {
    if (error instanceof FsError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

async function diskAt(path: string, world: DiskWorld, as = us): Promise<BlockDisk> {
  const disk = await blockDiskAt(path, as, world)
  if (disk === undefined) throw new Error(`${path} is not among the disks`)
  return disk
}

/** Format, mount and label a disk as a drive of `us`. */
async function addDrive(path: string, at: string, world: DiskWorld, as = us): Promise<Drive> {
  const id = newId<DriveId>(systemRandom)
  const disk = await diskAt(path, world, as)
  await formatDisk(disk, as, { drive: id }, world)
  await mountDisk(path, at, world)
  const { nodeId, cluster, keys } = as
  return labelDisk(at, disk, { id, class: 2, nodeId, cluster, keys }, systemDisk)
}

test('a free disk becomes a drive, and is found again under another name', async () => {
  const loops = new LoopDrives()
  const world = { byIdDir: loops.byIdDir }
  try {
    const path = loops.plug('a', LINKS)
    const free = await diskAt(path, world)
    assert.equal(free.standing, { kind: 'free' })
    assert.is(free.wwn, '5000c500a1b2c3d4')
    assert.is(free.serial, 'SER0001')
    assert.is(free.model, 'WEFT HDD')
    assert.is(free.sizeBytes, 512 * 1024 * 1024)
    assert.is(free.media, 'hdd')
    assert.equal(
      free.links,
      [...LINKS].sort().map((name) => join(loops.byIdDir, name)),
    )

    const at = loops.mountPoint('das0')
    const drive = await addDrive(path, at, world)
    assert.is(drive.kind, 'block')
    assert.is(drive.state, 'ok')
    writeFileSync(join(at, 'kept'), 'kept')
    const options = mountAt(at, world)?.options ?? []
    for (const option of ['noatime', 'nodev', 'nosuid', 'noexec'])
      assert.ok(options.includes(option))
    const mounted = await diskAt(path, world)
    assert.equal(mounted.standing, { kind: 'drive', drive: drive.id, mountedAt: at })
    await mountDisk(path, at, world)
    await unmountDisk(at, world)
    await unmountDisk(at, world)
    assert.is(mountAt(at, world), undefined)

    // The other disk takes the name that the first one had.
    loops.unplug('a', LINKS)
    loops.plug('b', OTHER_LINKS)
    const moved = loops.plug('a', LINKS)
    assert.is.not(moved, path)
    // Once by its label, and once because the node knows its id.
    for (const known of [[], [drive.id]]) {
      const found = await findDisk(drive.id, usOf(ours, clusterA, known), world)
      assert.is(found.path, moved)
      assert.equal(found.standing, { kind: 'drive', drive: drive.id, mountedAt: null })
    }
    await mountDrive(drive.id, at, us, world)
    const expect = { id: drive.id, nodeId: ours.nodeId, cluster: clusterA, keys: ours.keys }
    assert.equal(openDrive(at, expect).label, drive.label)
    assert.equal(readdirSync(at).sort(), ['drive.json', 'kept'])

    const absent = await failure(findDisk('0f'.repeat(16) as DriveId, us, world))
    assert.is(absent.code, 'ENODEV')
  } finally {
    loops.close()
  }
})

test('what stands on a disk is shown and kept, and erased with force only', async () => {
  const loops = new LoopDrives()
  const world = { byIdDir: loops.byIdDir }
  try {
    const path = loops.plug('a', LINKS)
    const id = newId<DriveId>(systemRandom)
    loops.sh('mkfs.ext4', '-q', '-L', 'letters', '-U', '11111111-2222-3333-4444-555555555555', path)
    const ext4 = await diskAt(path, world)
    const refused = await failure(formatDisk(ext4, us, { drive: id }, world))
    assert.is(refused.code, 'EEXIST')
    assert.match(refused.message, 'ext4 "letters" (uuid 11111111-2222-3333-4444-555555555555)')
    assert.match(String(refused.subject.next), 'force')
    assert.match(loops.sh('wipefs', path), 'ext4')
    await formatDisk(ext4, us, { drive: id, force: true }, world)
    assert.is(
      loops.sh('blkid', '-p', '-s', 'UUID', '-o', 'value', path).replaceAll('-', '').trim(),
      id,
    )

    // Formatted and not labelled, as after a crash between the two.
    const unlabelled = await diskAt(path, world)
    assert.is(unlabelled.standing.kind, 'unusable')
    assert.match(JSON.stringify(unlabelled.standing), 'no label is seen')
    await formatDisk(unlabelled, us, { drive: id, force: true }, world)
  } finally {
    loops.close()
  }
})

test('a drive of another node or cluster is refused by name', async () => {
  const loops = new LoopDrives()
  const world = { byIdDir: loops.byIdDir }
  try {
    const path = loops.plug('a', LINKS)
    const at = loops.mountPoint('das0')
    const them = usOf(theirs, clusterB)
    const drive = await addDrive(path, at, world, them)
    await unmountDisk(at, world)
    const foreign = await diskAt(path, world)
    const { standing } = foreign
    assert.is(standing.kind, 'foreign-drive')
    const refused = await failure(formatDisk(foreign, us, { drive: drive.id }, world))
    assert.is(refused.code, 'EEXIST')
    assert.match(refused.message, drive.id)
    assert.match(refused.message, `node ${theirs.nodeId}`)
    assert.match(refused.message, `cluster ${clusterB}`)
    assert.is((await failure(findDisk(drive.id, us, world))).code, 'ESTALE')

    // The node it belongs to has left that cluster and is in another one.
    const later = usOf(theirs, clusterA)
    assert.is((await diskAt(path, world, later)).standing.kind, 'foreign-drive')
    // A drive that its node uses is not formatted by that node, whatever it is told.
    const using = usOf(theirs, clusterB, [drive.id])
    const mine = await diskAt(path, world, using)
    const kept = await failure(formatDisk(mine, using, { drive: drive.id, force: true }, world))
    assert.is(kept.code, 'EEXIST')
    await formatDisk(foreign, us, { drive: newId<DriveId>(systemRandom), force: true }, world)
  } finally {
    loops.close()
  }
})

test('a disk in use is not formatted, whatever is asked', async () => {
  const loops = new LoopDrives()
  const world = { byIdDir: loops.byIdDir }
  try {
    const path = loops.plug('a', LINKS)
    const at = loops.mountPoint('elsewhere')
    const wish = { drive: newId<DriveId>(systemRandom), force: true }
    loops.sh('mkfs.xfs', '-q', '-L', 'data', path)
    loops.sh('mount', path, at)
    const mounted = await failure(formatDisk(await diskAt(path, world), us, wish, world))
    assert.is(mounted.code, 'EBUSY')
    assert.match(mounted.message, `is mounted at ${at}`)
    const held = openSync(join(at, 'open'), 'w')
    const busy = await failure(unmountDisk(at, world))
    closeSync(held)
    assert.is(busy.code, 'EBUSY')
    assert.match(busy.message, `(pid ${process.pid})`)
    await unmountDisk(at, world)

    // Pulled and replaced between the look and the order.
    const looked = await diskAt(path, world)
    loops.unplug('a', LINKS)
    assert.is((await failure(formatDisk(looked, us, wish, world))).code, 'ENODEV')
    loops.plug('b', OTHER_LINKS)
    const replaced = await failure(formatDisk({ ...looked, path }, us, wish, world))
    assert.is(replaced.code, 'ENODEV')
    assert.match(replaced.message, 'nothing was written')
  } finally {
    loops.close()
  }
})

test('partitions, a small disk and a read-only one are told apart', async () => {
  const loops = new LoopDrives()
  const world = { byIdDir: loops.byIdDir }
  try {
    const small = loops.plug('small', ['wwn-0x5000c500a1b2c301'], { megabytes: 200 })
    const sealed = loops.plug('sealed', ['wwn-0x5000c500a1b2c302'], { args: ['--read-only'] })
    const parted = loops.plug('parted', LINKS, { args: ['--partscan'] })
    writeMbr(parted)
    loops.sh('partx', '--update', parted)
    const id = newId<DriveId>(systemRandom)
    for (const [path, code, why] of [
      [small, 'ENOSPC', 'too small'],
      [sealed, 'EROFS', 'read-only'],
    ] as const) {
      const error = await failure(
        formatDisk(await diskAt(path, world), us, { drive: id, force: true }, world),
      )
      assert.is(error.code, code)
      assert.match(error.message, why)
    }
    const disk = await diskAt(parted, world)
    const error = await failure(formatDisk(disk, us, { drive: id }, world))
    assert.is(error.code, 'EEXIST')
    assert.match(error.message, /has partitions: loop\d+p1; found: dos at byte 510/)
    const at = loops.mountPoint('part')
    loops.sh('mkfs.ext4', '-q', `${parted}p1`)
    loops.sh('mount', `${parted}p1`, at)
    const used = await failure(
      formatDisk(await diskAt(parted, world), us, { drive: id, force: true }, world),
    )
    assert.is(used.code, 'EBUSY')
    assert.match(used.message, /p1 is mounted at/)
    loops.sh('umount', at)
    await formatDisk(disk, us, { drive: id, force: true }, world)
    assert.is((await blockDisks(us, world)).length >= 3, true)
  } finally {
    loops.close()
  }
})

test('two disks with one id are refused by name', async () => {
  const loops = new LoopDrives()
  const world = { byIdDir: loops.byIdDir }
  try {
    const path = loops.plug('a', LINKS)
    const at = loops.mountPoint('das0')
    const drive = await addDrive(path, at, world)
    await unmountDisk(at, world)
    loops.sh('cp', '--sparse=always', join(loops.dir, 'a.img'), join(loops.dir, 'b.img'))
    const copy = loops.plug('b', OTHER_LINKS)
    const error = await failure(mountDrive(drive.id, at, us, world))
    assert.is(error.code, 'EBUSY')
    assert.match(error.message, path)
    assert.match(error.message, copy)
    assert.is(mountAt(at, world), undefined)
  } finally {
    loops.close()
  }
})

test('a node that joins a cluster labels its drives anew, and no other node does', async () => {
  const loops = new LoopDrives()
  const world = { byIdDir: loops.byIdDir }
  try {
    const at = loops.mountPoint('das0')
    const drive = await addDrive(loops.plug('a', LINKS), at, world, usOf(ours, null))
    const expect = { nodeId: ours.nodeId, cluster: clusterA, keys: ours.keys }
    assert.is(openDrive(at, expect).id, drive.id)
    const foreign = await failure(
      (async () => relabel(drive, clusterA, { ...theirs.keys, verify: () => true }, systemDisk))(),
    )
    assert.is(foreign.code, 'ESTALE')
    const joined = relabel(drive, clusterA, ours.keys, systemDisk)
    assert.is(joined.label.kind === 'block' && joined.label.cluster, clusterA)
    assert.equal(relabel(joined, clusterA, ours.keys, systemDisk).label, joined.label)
    const other = await failure((async () => relabel(joined, clusterB, ours.keys, systemDisk))())
    assert.is(other.code, 'ESTALE')
    assert.match(other.message, `cluster ${clusterA}`)
  } finally {
    loops.close()
  }
})

test('a drive is measured within two seconds and nothing is left behind', async () => {
  const loops = new LoopDrives()
  const world = { byIdDir: loops.byIdDir }
  try {
    const at = loops.mountPoint('das0')
    const path = loops.plug('a', OTHER_LINKS)
    await addDrive(path, at, world)
    const measured = await measureDrive(at, alignedBuffer)
    assert.ok(measured.syncMs > 0)
    assert.ok(measured.bytesPerSecond > 0)
    assert.is(measured.note, '')
    assert.equal(readdirSync(at), ['drive.json'])
    const disk = await diskAt(path, world)
    assert.is(disk.media, 'nvme')
    assert.ok([1, 2, 3].includes(classify(disk, measured)))
    // A buffer that begins anywhere is what O_DIRECT refuses.
    const unaligned = (bytes: number) => Buffer.alloc(bytes + 1).subarray(1)
    assert.match((await measureDrive(at, unaligned)).note, 'refuses O_DIRECT')
    const stopped = new AbortController()
    stopped.abort(new FsError('ECANCELED', 'test'))
    assert.is(
      (await failure(measureDrive(at, alignedBuffer, { signal: stopped.signal }))).op,
      'test',
    )
    assert.equal(readdirSync(at), ['drive.json'])
  } finally {
    loops.close()
  }
})

test('a filesystem that became read-only is failing', async () => {
  const loops = new LoopDrives()
  const world = { byIdDir: loops.byIdDir }
  try {
    const at = loops.mountPoint('das0')
    const drive = await addDrive(loops.plug('a', LINKS), at, world)
    checkDrives([drive], world)
    assert.is(drive.state, 'ok')
    loops.sh('mount', '-o', 'remount,ro', at)
    checkDrives([drive], world)
    assert.is(drive.state, 'failing')
    assert.match(String(drive.failure), 'read-only')
    assert.is(drive.returned(), false)
  } finally {
    loops.close()
  }
})

test('a pulled disk is gone, and ok again when it is back under another name', async () => {
  const loops = new LoopDrives()
  const world = { byIdDir: loops.byIdDir }
  try {
    const path = loops.plug('a', LINKS)
    const at = loops.mountPoint('das0')
    const drive = await addDrive(path, at, world)
    writeFileSync(join(at, 'kept'), 'kept')
    loops.sh('sync', '-f', at)
    // The kernel has no way to pull a loop device under a mount; to the filesystem a shutdown is the same.
    loops.sh('xfs_io', '-x', '-c', 'shutdown', at)
    checkDrives([drive], world)
    assert.is(drive.state, 'gone')
    assert.is(drive.freeBytes(), 0)
    await unmountDisk(at, world)
    assert.is(drive.returned(), false)
    loops.unplug('a', LINKS)
    loops.plug('b', OTHER_LINKS)
    loops.plug('a', LINKS)
    await mountDrive(drive.id, at, us, world)
    assert.is(drive.returned(), true)
    assert.is(drive.state, 'ok')
    assert.is(drive.failure, null)
    assert.is(drive.present(), true)
    assert.ok(drive.freeBytes() > 0)
    assert.ok(readdirSync(at).includes('kept'))
  } finally {
    loops.close()
  }
})

/** One partition of 64 MiB at 1 MiB, type Linux. Source: UEFI 2.10 §5.2.1 */
function writeMbr(device: string): void {
  const sector = Buffer.alloc(512)
  sector[446 + 4] = 0x83
  sector.writeUInt32LE(2048, 446 + 8)
  sector.writeUInt32LE((64 * 1024 * 1024) / 512, 446 + 12)
  sector.writeUInt16LE(0xaa55, 510)
  const fd = openSync(device, 'r+')
  try {
    writeSync(fd, sector, 0, 512, 0)
  } finally {
    closeSync(fd)
  }
}

test.run()
