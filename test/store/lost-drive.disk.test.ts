import { existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type ChunkId, FsError, newId, systemRandom } from '../../src/base/index.ts'
import { ChunkStore } from '../../src/chunks/index.ts'
import { openDrive } from '../../src/drives/index.ts'
import { destroyVolume, LocalVolume } from '../../src/store/index.ts'
import { VolumeWorld } from './volume-world.ts'

const plain = Buffer.alloc(30_000, 7)

/** A volume on two drives with a chunk on each, closed. */
async function world() {
  const volumes = await VolumeWorld.open(2)
  const { chunks } = volumes.volume
  const seal = {
    volume: volumes.id,
    keyEpoch: volumes.volume.keys.newest,
    epoch: 1 as never,
    key: volumes.volume.chunkKey(volumes.volume.keys.newest),
  }
  const ids = new Map<string, ChunkId>()
  while (ids.size < 2) {
    const id = newId<ChunkId>(systemRandom)
    const { drive } = await chunks.put(id, seal, plain, plain.length, Buffer.alloc(0))
    ids.set(volumes.volume.drives.find((one) => one.id === drive)?.dir ?? '', id)
  }
  return { volumes, ids, seal }
}

/** As a filesystem that shut down: nothing can be read below its directory, the label neither. */
function breakDrive(dir: string): void {
  renameSync(dir, `${dir}.broken`)
  mkdirSync(dir)
}

test('a volume is opened beside a drive that cannot be, and reads what the others have', async () => {
  const { volumes, ids } = await world()
  try {
    const dead = volumes.drive(1)
    breakDrive(dead)
    const again = new LocalVolume(volumes.opening())
    assert.equal(
      again.drives.map(({ dir }) => dir),
      [volumes.drive(0)],
    )
    assert.equal(
      again.lostDrives.map(({ dir }) => dir),
      [dead],
    )
    const [drive] = again.drives
    const out = Buffer.alloc(plain.length)
    const id = ids.get(volumes.drive(0)) as ChunkId
    again.chunks.readSync(id, drive!.id, again.reader, 0, out.length, out, 0)
    assert.ok(out.equals(plain))
    await again.close()
  } finally {
    await volumes.close()
  }
})

test('a volume that is opened after a drive began to fail puts nothing there', async () => {
  const { volumes, seal } = await world()
  try {
    const [failing] = volumes.here
    assert.ok(failing)
    failing.fail(new FsError('EIO', 'test', { message: 'it answered an error' }))
    volumes.told.tell(volumes.here)
    const again = new LocalVolume(volumes.opening())
    assert.is(again.drives.length, 2)
    for (let n = 0; n < 6; n++) {
      const id = newId<ChunkId>(systemRandom)
      const { drive } = await again.chunks.put(id, seal, plain, plain.length, Buffer.alloc(0))
      assert.is(drive, openDrive(volumes.drive(1)).id)
    }
    await again.close()
    failing.fail(new FsError('ENODEV', 'test', {}))
    volumes.told.tell([failing])
    const third = new LocalVolume(volumes.opening())
    assert.equal(third.drives, [], 'one that is gone is not opened')
    await third.close()
  } finally {
    await volumes.close()
  }
})

test('a volume is deleted beside a drive that does not answer', async () => {
  const { volumes, ids } = await world()
  await volumes.close()
  const [alive, dead] = [volumes.drive(0), volumes.drive(1)]
  breakDrive(dead)
  mkdirSync(join(dead, 'volumes', volumes.id), { recursive: true })
  const failed: string[] = []
  const traces = {
    driveDirectories: [dead, alive],
    directories: [dead, alive].map((dir) => join(dir, 'volumes', volumes.id)),
  }
  assert.is(
    destroyVolume(volumes.id, traces, (dir) => failed.push(dir)),
    1,
  )
  assert.equal(failed, [dead])
  assert.equal([...new ChunkStore([openDrive(alive)]).list(openDrive(alive).id)], [])
  assert.not(existsSync(join(alive, 'volumes', volumes.id)))
  assert.equal(readdirSync(join(dead, 'volumes')), [volumes.id], 'it was not asked')
  assert.ok(ids.size > 0)
})

test.run()
