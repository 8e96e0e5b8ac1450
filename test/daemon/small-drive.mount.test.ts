// deadline: 300 s
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LoopDisk } from '../support/loop-disk.ts'
import { NodeWorld, until } from '../support/node-world.ts'
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

test('a drive is added to a node whose only one is full, with writes that find no room there still waiting', async () => {
  const disk = await LoopDisk.make(DISK_MIB)
  const world = new NodeWorld({ home: join(disk.at, 'home') })
  const more = mkdtempSync(join(tmpdir(), 'weft-more-'))
  try {
    await world.up()
    await world.weft('mount', world.mnt)
    const file = join(await world.volume('v'), 'f')
    // Accepted, and too little to be committed at once; then another program takes all the room that is left.
    const bytes = bytesOf('f', 1, 3 * MIB)
    writeFileSync(file, bytes)
    const { bavail, bsize } = statfsSync(disk.at)
    execFileSync('fallocate', ['-l', String(bavail * bsize - 2 * MIB), join(disk.at, 'others')])
    const fd = openSync(file, 'r')
    assert.throws(() => fsyncSync(fd), /ENOSPC/)
    closeSync(fd)
    await world.weft('drive', 'add', join(more, 'das1'), '--create')
    await until('it takes the rest', () => {
      try {
        const again = openSync(file, 'r')
        try {
          fsyncSync(again)
          return true
        } finally {
          closeSync(again)
        }
      } catch {
        return false
      }
    })
    assert.ok(readFileSync(file).equals(bytes))
    rmSync(join(disk.at, 'others'))
    await world.fsck()
  } finally {
    try {
      await world.close()
    } finally {
      await disk.close()
      rmSync(more, { recursive: true, force: true })
    }
  }
})

test.run()
