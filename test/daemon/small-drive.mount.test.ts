// deadline: 300 s
import { closeSync, fsyncSync, openSync, readSync, statfsSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LoopDisk } from '../support/loop-disk.ts'
import { NodeWorld } from '../support/node-world.ts'
import { bytesOf } from '../support/writers.ts'

const MIB = 1024 * 1024
const DISK_MIB = 512
const FILE_MIB = 64

test('a file overwritten without a pause, five times the drive in all, is never refused', async () => {
  const disk = await LoopDisk.make(DISK_MIB)
  const world = new NodeWorld({ home: join(disk.at, 'home') })
  try {
    await world.up()
    await world.weft('mount', world.mnt)
    const file = join(await world.volume('v'), 'f')
    const blocks = Array.from({ length: 7 }, (_, n) => bytesOf('f', n, MIB))
    const block = (n: number) => blocks[n % blocks.length] as Buffer
    const fd = openSync(file, 'w+')
    try {
      const total = 5 * DISK_MIB
      for (let n = 0; n < total; n++) {
        try {
          assert.is(writeSync(fd, block(n), 0, MIB, (n % FILE_MIB) * MIB), MIB)
        } catch (error) {
          const { bavail, bsize } = statfsSync(disk.at)
          throw new Error(`after ${n} MiB, ${(bavail * bsize) / MIB} MiB free`, { cause: error })
        }
      }
      fsyncSync(fd)
      const got = Buffer.alloc(MIB)
      for (let n = total - FILE_MIB; n < total; n++) {
        assert.is(readSync(fd, got, 0, MIB, (n % FILE_MIB) * MIB), MIB)
        assert.ok(got.equals(block(n)), `MiB ${n % FILE_MIB}`)
      }
    } finally {
      closeSync(fd)
    }
    await world.fsck()
    assert.equal(world.complaints(), [])
  } finally {
    try {
      await world.close()
    } finally {
      await disk.close()
    }
  }
})

test.run()
