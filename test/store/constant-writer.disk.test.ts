// deadline: 240 s
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Ino, limits, ROOT_INO } from '../../src/base/index.ts'
import { StagingWriter, stagedHeaderBytes } from '../../src/store/index.ts'
import { onSmallDrive } from '../support/small-drive.ts'
import { clock, VolumeWorld } from './volume-world.ts'

const MIB = 1024 * 1024
const PAGE = 4096
const DRIVE_BYTES = 384 * MIB

/** The drive holds view and staging besides. */
async function withSmallDrive(work: (world: VolumeWorld) => Promise<void>): Promise<void> {
  await onSmallDrive(DRIVE_BYTES, async () => {
    const world = await VolumeWorld.open()
    try {
      await work(world)
    } finally {
      await world.end()
    }
  })
}

/** Stages writes as the thread that answers the kernel does, and never lets the engine come to an end of them. */
class ConstantWriter {
  readonly #world: VolumeWorld
  readonly #staging: StagingWriter
  readonly #ino: Ino
  readonly #buffer = Buffer.alloc(stagedHeaderBytes + MIB)
  /** By page: the number of the write that it was last filled with. */
  readonly expected = new Map<number, number>()
  bytes = 0

  constructor(world: VolumeWorld, ino: Ino) {
    this.#world = world
    this.#ino = ino
    this.#staging = new StagingWriter(world.volume.opening.stagingDirectory)
  }

  async write(offset: number, length: number): Promise<void> {
    const { volume, engine } = this.#world
    const { shared } = volume
    const staged = () => shared.stagedBytes - shared.committedBytes
    // Half full at least, so that a batch is always due.
    while (staged() > limits.stagingBytesMax - MIB) {
      assert.not(shared.stopped, 'the engine goes on')
      engine.wake()
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.ok(
      volume.hasRoom(staged() + length),
      `ENOSPC after ${Math.round(this.bytes / MIB)} MiB: ${shared.freeBytes} bytes free`,
    )
    const number = shared.stagedNumber + 1
    this.#buffer.fill(number & 0xff, stagedHeaderBytes, stagedHeaderBytes + length)
    const { sec, nsec } = clock.now()
    const ino = this.#ino
    this.#staging.append(
      { number, ino, offset, length, sec, nsec, uniqueLo: 0, uniqueHi: 0, mount: 1 },
      this.#buffer,
      stagedHeaderBytes,
    )
    for (let at = offset; at < offset + length; at += PAGE) this.expected.set(at, number & 0xff)
    shared.stagedBytes += length
    shared.stagedNumber = number
    this.bytes += length
  }

  check(): void {
    for (let at = 0; at < FILE_BYTES; at += MIB) {
      const data = this.#world.read(this.#ino, at, MIB)
      for (let page = 0; page < MIB; page += PAGE) {
        const value = this.expected.get(at + page) ?? 0
        assert.is(data[page], value, `first byte of page ${(at + page) / PAGE}`)
        assert.is(data[page + PAGE - 1], value, `last byte of page ${(at + page) / PAGE}`)
      }
    }
    this.#staging.close()
  }
}

const FILE_BYTES = 48 * MIB

async function overwriteForEver(
  bytes: number,
  place: (n: number) => { offset: number; length: number },
): Promise<void> {
  await withSmallDrive(async (world) => {
    const { ino } = await world.file(ROOT_INO, 'f', Buffer.alloc(1))
    const writer = new ConstantWriter(world, ino)
    await writer.write(0, PAGE)
    await writer.write(FILE_BYTES - PAGE, PAGE)
    for (let n = 0; writer.bytes < bytes; n++) {
      const { offset, length } = place(n)
      await writer.write(offset, length)
    }
    await world.engine.settle()
    writer.check()
    assert.equal((await world.fsck()).findings, [])
  })
}

test('a file overwritten for ever from front to back never fills the drive', async () => {
  await overwriteForEver(6 * DRIVE_BYTES, (n) => ({
    offset: (n * MIB) % FILE_BYTES,
    length: MIB,
  }))
})

test('a file overwritten for ever in pages at random places never fills the drive', async () => {
  let state = 7
  await overwriteForEver(3 * DRIVE_BYTES, () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    const page = Math.floor((state / 2 ** 31) * (FILE_BYTES / PAGE))
    return { offset: page * PAGE, length: PAGE }
  })
})

test.run()
