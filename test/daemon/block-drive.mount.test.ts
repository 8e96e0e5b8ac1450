// deadline: 480 s
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { DiskInfo, DriveInfo, VolumeDetail } from '../../src/api/index.ts'
import { LoopDrives } from '../support/loop-drives.ts'
import { NodeWorld, sleep, until } from '../support/node-world.ts'
import { seeded } from '../support/seeded.ts'

const A = ['wwn-0x5000c500a1b2c3d4', 'scsi-SWEFT_DISK_SERA']
const B = ['wwn-0x5000c500a1b2c3d5', 'scsi-SWEFT_DISK_SERB']

/** A node whose disks are loop devices; whatever it has mounted of them comes off at the end. */
async function withDisks(work: (world: NodeWorld, loops: LoopDrives) => Promise<void>) {
  const loops = new LoopDrives()
  const world = new NodeWorld({ env: { WEFT_BY_ID: loops.byIdDir } })
  const mounted: string[] = []
  try {
    await world.up()
    await world.weft('mount', world.mnt)
    await work(world, loops)
  } finally {
    const listed = JSON.parse(readFileSync(join(world.home, 'drives.json'), 'utf8'))
    for (const { dir, disk } of listed.drives) if (disk !== null) mounted.push(dir)
    await world.weft('down').catch(() => {})
    for (const dir of mounted) loops.try('umount', dir)
    loops.close()
    await world.close()
  }
}

const link = (loops: LoopDrives, [name]: readonly string[]) => join(loops.byIdDir, name ?? '')

async function drives(world: NodeWorld): Promise<DriveInfo[]> {
  return (await world.json<{ drives: DriveInfo[] }>('drive', 'list')).drives
}

async function daemonPid(world: NodeWorld): Promise<number> {
  return (await world.json<{ daemon: { pid: number } }>('status')).daemon.pid
}

async function named(world: NodeWorld, name: string): Promise<DriveInfo | undefined> {
  return (await drives(world)).find((drive) => drive.name === name)
}

test('a disk with something on it is shown and refused, taken with force, and free again once it is removed', () =>
  withDisks(async (world, loops) => {
    const path = loops.plug('a', A)
    loops.sh('mkfs.ext4', '-q', '-L', 'letters', path)
    const list = async () =>
      (await world.json<{ disks: DiskInfo[] }>('drive', 'list', '--all')).disks
    const before = (await list()).find(({ serial }) => serial === 'SERA')
    assert.is(before?.standing, 'unusable')
    assert.match(before?.why ?? '', /ext4 "letters"/)
    const refused = await world.tryWeft('drive', 'add', link(loops, A))
    assert.match(refused.stderr, /ext4 "letters"[\s\S]*--force/)
    assert.match(loops.sh('wipefs', path), /ext4/)
    const added = await world.weft('drive', 'add', link(loops, A), '--force', '--class', '3')
    assert.match(added, /drive SERA is added[\s\S]*measured: .* ms for a durable 4 KiB/)
    await until('it is used', async () => (await named(world, 'SERA'))?.state === 'ok')
    assert.is((await named(world, 'SERA'))?.class, 3)
    assert.match((await world.tryWeft('drive', 'add', link(loops, A))).stderr, /already/)
    const volume = await world.volume('v', '--cos', '3', '--size', '100M')
    writeFileSync(join(volume, 'f'), seeded(1).bytes(5_000_000), { flush: true })
    await until('it went to its class', async () => {
      return ((await named(world, 'SERA'))?.usedBytes ?? 0) > 5_000_000
    })
    await world.weft('drive', 'drain', 'SERA')
    await world.weft('drive', 'remove', 'SERA')
    assert.is((await list()).find(({ serial }) => serial === 'SERA')?.standing, 'free')
    assert.ok(readFileSync(join(volume, 'f')).equals(seeded(1).bytes(5_000_000)))
  }))

test('a disk that is pulled under a database of bytes and put back under another name has all of them', () =>
  withDisks(async (world, loops) => {
    loops.plug('a', A)
    await world.weft('drive', 'add', link(loops, A), '--class', '3')
    await until('it is used', async () => (await named(world, 'SERA'))?.state === 'ok')
    const volume = await world.volume('v', '--cos', '3', '--size', '100M')
    for (let n = 0; n < 5; n++) {
      writeFileSync(join(volume, `${n}`), seeded(n + 1).bytes(2_000_000), { flush: true })
    }
    const { dir = '' } = (await named(world, 'SERA')) ?? {}
    for (const name of A) rmSync(join(loops.byIdDir, name))
    loops.sh('xfs_io', '-x', '-c', 'shutdown', dir)
    await until('it is gone', async () => (await named(world, 'SERA'))?.state === 'gone')
    const status = await world.tryWeft('status')
    assert.match(status.stdout, /drive .* is gone[\s\S]*put it back/)
    assert.throws(() => writeFileSync(join(volume, 'new'), 'x', { flush: true }))
    const again = loops.again('a')
    for (const name of A) symlinkSync(again, join(loops.byIdDir, name))
    await until('it is back', async () => (await named(world, 'SERA'))?.state === 'ok', 30_000)
    for (let n = 0; n < 5; n++) {
      assert.ok(readFileSync(join(volume, `${n}`)).equals(seeded(n + 1).bytes(2_000_000)))
    }
    writeFileSync(join(volume, 'new'), 'x', { flush: true })
    await world.weft('fsck')
  }))

/** Past the kernel's cache, in requests of the largest size: two threads read each. */
function mustRead(path: string, bytes: Buffer): void {
  const args = [`if=${path}`, 'bs=1M', 'iflag=direct', 'status=none']
  assert.ok(execFileSync('dd', args, { maxBuffer: 2 * bytes.length }).equals(bytes), path)
}

const BESIDE = 12

/** A volume whose journal is on the home's own drive, with chunks on disk SERA too, which its mounts have open. */
async function withChunksBeside(world: NodeWorld, loops: LoopDrives) {
  const point = await world.attached('v', '--size', '200M')
  // As large as other drives are: each gets its share.
  loops.plug('a', A, { megabytes: 64 * 1024 })
  await world.weft('drive', 'add', link(loops, A), '--class', '2')
  const { id = '', dir = '' } = (await named(world, 'SERA')) ?? {}
  for (let n = 0; n < BESIDE; n++) {
    writeFileSync(join(point, `${n}`), seeded(n + 1).bytes(2_000_000), { flush: true })
  }
  const mustBeThere = () => {
    for (let n = 0; n < BESIDE; n++) {
      for (const at of [point, join(world.mnt, 'v')]) {
        mustRead(join(at, `${n}`), seeded(n + 1).bytes(2_000_000))
      }
    }
  }
  mustBeThere()
  assert.ok((await world.json<VolumeDetail>('volume', 'inspect', 'v')).drives.includes(id))
  return { point, dir, mustBeThere }
}

test('a disk with chunks that several mounts have open is emptied, taken out and free again in the same life of the daemon', () =>
  withDisks(async (world, loops) => {
    const { dir, mustBeThere } = await withChunksBeside(world, loops)
    const pid = await daemonPid(world)
    await world.weft('drive', 'drain', 'SERA')
    await world.weft('drive', 'remove', 'SERA')
    assert.is(await daemonPid(world), pid)
    assert.is(loops.try('findmnt', dir), '')
    const { disks } = await world.json<{ disks: DiskInfo[] }>('drive', 'list', '--all')
    assert.is(disks.find(({ serial }) => serial === 'SERA')?.standing, 'free')
    mustBeThere()
    await world.fsck()
  }))

test('a disk with chunks alone that is pulled and put back under another name is used again in the same life of the daemon', () =>
  withDisks(async (world, loops) => {
    const { point, dir, mustBeThere } = await withChunksBeside(world, loops)
    const pid = await daemonPid(world)
    for (const name of A) rmSync(join(loops.byIdDir, name))
    loops.sh('xfs_io', '-x', '-c', 'shutdown', dir)
    await until('it is gone', async () => (await named(world, 'SERA'))?.state === 'gone')
    writeFileSync(join(point, 'meanwhile'), seeded(99).bytes(2_000_000), { flush: true })
    assert.throws(mustBeThere)
    const again = loops.again('a')
    for (const name of A) symlinkSync(again, join(loops.byIdDir, name))
    await until('it is back', async () => (await named(world, 'SERA'))?.state === 'ok', 30_000)
    assert.is(await daemonPid(world), pid)
    mustBeThere()
    mustRead(join(point, 'meanwhile'), seeded(99).bytes(2_000_000))
    const { usedBytes = 0 } = (await named(world, 'SERA')) ?? {}
    for (let n = 0; n < BESIDE; n++) {
      writeFileSync(join(point, `new${n}`), seeded(50 + n).bytes(2_000_000), { flush: true })
    }
    await until('it takes data', async () => {
      return ((await named(world, 'SERA'))?.usedBytes ?? 0) > usedBytes + 2_000_000
    })
    await world.kill9()
    mustBeThere()
    await world.fsck()
  }))

test('a disk that is away at the start is waited for by nobody, and taken in when it comes', () =>
  withDisks(async (world, loops) => {
    loops.plug('a', A)
    await world.weft('drive', 'add', link(loops, A), '--class', '3')
    await until('it is used', async () => (await named(world, 'SERA'))?.state === 'ok')
    const volume = await world.volume('v', '--cos', '3', '--size', '100M')
    const other = await world.volume('w', '--cos', '2', '--size', '100M')
    writeFileSync(join(volume, 'f'), 'kept', { flush: true })
    const { dir = '' } = (await named(world, 'SERA')) ?? {}
    await world.weft('down')
    loops.sh('umount', dir)
    loops.unplug('a', A)
    await world.up()
    await world.weft('mount', world.mnt)
    assert.is((await named(world, 'SERA'))?.state, 'gone')
    assert.match((await world.tryWeft('status')).stdout, /SERA is gone/)
    writeFileSync(join(other, 'g'), 'used', { flush: true })
    assert.throws(() => readFileSync(join(volume, 'f')))
    loops.plug('b', B)
    loops.plug('a', A)
    await until('it is there', async () => (await named(world, 'SERA'))?.state === 'ok', 30_000)
    await until('its volume is open', async () => {
      return (await world.json<VolumeDetail>('volume', 'inspect', 'v')).state === 'ready'
    })
    assert.is(readFileSync(join(volume, 'f'), 'utf8'), 'kept')
  }))

test('a drive that becomes read-only gets nothing new, and what is on it goes to the others', () =>
  withDisks(async (world, loops) => {
    loops.plug('a', A)
    loops.plug('b', B)
    await world.weft('drive', 'add', link(loops, A), '--class', '3')
    await world.weft('drive', 'add', link(loops, B), '--class', '3')
    await until('both are used', async () => (await named(world, 'SERB'))?.state === 'ok')
    const volume = await world.volume('v', '--cos', '3', '--size', '200M')
    for (let n = 0; n < 12; n++) {
      writeFileSync(join(volume, `${n}`), seeded(n + 1).bytes(2_000_000), { flush: true })
    }
    const { drives: holding } = await world.json<VolumeDetail>('volume', 'inspect', 'v')
    assert.is(holding.length, 2)
    // Not the one with the journal: a volume whose journal cannot be written stops.
    const pair = (await drives(world)).filter(({ disk }) => disk !== null)
    const failing = pair.find(({ dir }) => loops.try('ls', join(dir, 'volumes')) === '')
    assert.ok(failing)
    loops.sh('mount', '-o', 'remount,ro', failing.dir)
    await until(
      'it is failing',
      async () => (await named(world, failing.name))?.state === 'failing',
    )
    assert.match((await world.tryWeft('status')).stdout, /is failing[\s\S]*read-only/)
    await until('all of it is elsewhere', async () => {
      const { drives: left } = await world.json<VolumeDetail>('volume', 'inspect', 'v')
      return !left.includes(failing.id)
    })
    for (let n = 0; n < 12; n++) {
      assert.ok(readFileSync(join(volume, `${n}`)).equals(seeded(n + 1).bytes(2_000_000)))
      writeFileSync(join(volume, `new${n}`), seeded(n).bytes(300_000), { flush: true })
    }
  }))

test('a filesystem that shuts down is read again after one restart, and gets nothing new until a person says so', () =>
  withDisks(async (world, loops) => {
    loops.plug('a', A)
    await world.weft('drive', 'add', link(loops, A), '--class', '3')
    await until('it is used', async () => (await named(world, 'SERA'))?.state === 'ok')
    const volume = await world.volume('v', '--cos', '3', '--size', '100M')
    writeFileSync(join(volume, 'f'), seeded(1).bytes(2_000_000), { flush: true })
    const { dir = '' } = (await named(world, 'SERA')) ?? {}
    loops.sh('xfs_io', '-x', '-c', 'shutdown', dir)
    await until('it is gone', async () => (await named(world, 'SERA'))?.state === 'gone')
    // Another disk: it is looked for again at once, not after a minute.
    loops.plug('b', B)
    await until(
      'it is failing',
      async () => (await named(world, 'SERA'))?.state === 'failing',
      30_000,
    )
    assert.match(
      await world.weft('drive', 'status', 'SERA'),
      /it failed on [\s\S]*weft drive add \//,
    )
    await until('it is read', async () => {
      return readFileSync(join(volume, 'f')).equals(seeded(1).bytes(2_000_000))
    })
    await world.restart()
    assert.is((await named(world, 'SERA'))?.state, 'failing')
    assert.match(await world.weft('drive', 'add', dir), /taken into use again/)
    await until('it is used again', async () => (await named(world, 'SERA'))?.state === 'ok')
  }))

test('a disk that is there and cannot be used restarts nothing, and is taken in once it can, without a restart', () =>
  withDisks(async (world, loops) => {
    loops.plug('a', A)
    await world.weft('drive', 'add', link(loops, A), '--class', '3')
    await until('it is used', async () => (await named(world, 'SERA'))?.state === 'ok')
    const { dir = '' } = (await named(world, 'SERA')) ?? {}
    await world.weft('down')
    loops.sh('umount', dir)
    const elsewhere = loops.mountPoint('elsewhere')
    loops.sh('mount', loops.sh('readlink', '-f', link(loops, A)).trim(), elsewhere)
    await world.up()
    await world.weft('mount', world.mnt)
    assert.match((await named(world, 'SERA'))?.why ?? '', /mounted at .*elsewhere/)
    const pid = await daemonPid(world)
    loops.plug('b', B)
    await sleep(6000)
    assert.is(await daemonPid(world), pid)
    loops.sh('umount', elsewhere)
    loops.unplug('b', B)
    await until('it is used', async () => (await named(world, 'SERA'))?.state === 'ok', 30_000)
    assert.is(await daemonPid(world), pid)
    await world.weft('drive', 'drain', 'SERA')
  }))

test('a read-only drive with the journal of a volume is emptied of that too, and taken out', () =>
  withDisks(async (world, loops) => {
    loops.plug('a', A)
    await world.weft('drive', 'add', link(loops, A), '--class', '3')
    await until('it is used', async () => (await named(world, 'SERA'))?.state === 'ok')
    const volume = await world.volume('v', '--cos', '3', '--size', '100M')
    for (let n = 0; n < 4; n++) {
      writeFileSync(join(volume, `${n}`), seeded(n + 1).bytes(2_000_000), { flush: true })
    }
    const { dir = '' } = (await named(world, 'SERA')) ?? {}
    // What is open for writing keeps a filesystem from becoming read-only in another way than by shutting down.
    await world.weft('down')
    loops.sh('mount', '-o', 'remount,ro', dir)
    await world.up()
    await world.weft('mount', world.mnt)
    await until('it is failing', async () => (await named(world, 'SERA'))?.state === 'failing')
    await world.weft('drive', 'drain', 'SERA', '--no-wait')
    await until('it is empty', async () =>
      /it is empty/.test(await world.weft('drive', 'status', 'SERA')),
    )
    writeFileSync(join(volume, 'new'), 'x', { flush: true })
    await world.weft('drive', 'remove', 'SERA')
    assert.is(await named(world, 'SERA'), undefined)
    assert.is(loops.try('findmnt', dir), '')
    for (let n = 0; n < 4; n++) {
      assert.ok(readFileSync(join(volume, `${n}`)).equals(seeded(n + 1).bytes(2_000_000)))
    }
    await world.restart()
    assert.is(readFileSync(join(volume, 'new'), 'utf8'), 'x')
    await world.weft('fsck')
  }))

test.run()
