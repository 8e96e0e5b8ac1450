import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { limits, ROOT_INO } from '../../src/base/index.ts'
import { systemDisk } from '../../src/disk/index.ts'
import { initDrive } from '../../src/drives/index.ts'
import { keys } from '../../src/meta/index.ts'
import { LocalVolume } from '../../src/store/index.ts'
import { VolumeWorld } from './volume-world.ts'

const nodeId = 'a'.repeat(32) as never

test('a thread that has not looked reads what the engine put on a drive that has come, and finds room there', async () => {
  const world = await VolumeWorld.open(1)
  try {
    const reader = new LocalVolume({ ...world.opening(), shared: world.volume.shared.buffer })
    assert.is(reader.drives.length, 1)
    const coming = initDrive(`${world.dir}/coming`, { class: 2, nodeId }, systemDisk)
    // All is put there from now on.
    for (const drive of world.here) drive.draining = true
    world.told.tell([...world.here, coming])
    world.volume.chunks.lookAtDrives()
    const plain = Buffer.alloc(200_000, 3)
    const { chunk } = await world.file(ROOT_INO, 'f', plain)
    const named = world.volume.view.get(keys.chunkKey(chunk))?.toString('hex', 0, 16)
    assert.is(named, coming.id)
    const out = Buffer.alloc(plain.length)
    reader.chunks.readSync(chunk, coming.id, reader.reader, 0, out.length, out, 0)
    assert.ok(out.equals(plain))
    await reader.close()
  } finally {
    await world.end()
  }
})

test('room on a drive that is being emptied is no room, and that on one that has come is found before anybody is refused', async () => {
  const world = await VolumeWorld.open(1)
  try {
    const { volume, here, told } = world
    const coming = initDrive(`${world.dir}/coming`, { class: 2, nodeId }, systemDisk)
    volume.measureSpace()
    const before = volume.shared.freeBytes
    assert.ok(before > limits.driveHeadroomBytes)
    for (const drive of here) drive.draining = true
    told.tell(here)
    volume.chunks.lookAtDrives()
    volume.measureSpace()
    assert.is(volume.shared.freeBytes, 0)
    assert.is(volume.hasRoom(1), false)
    told.tell([...here, coming])
    assert.is(volume.hasRoom(1), true)
  } finally {
    await world.end()
  }
})

test.run()
