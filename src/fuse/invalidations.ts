import { write } from 'node:fs'
import { type Clock, codeOf, type Ino, sleep, type VolumeNumber } from '../base/index.ts'
import { encodeNotifyIncEpoch, encodeNotifyInvalInode } from './wire/index.ts'

/** The kernel may know an inode a moment after it was answered: it is told again after these. */
const AGAIN_MS = [10, 100]

/**
 * Takes ranges out of the kernel's page cache. The kernel waits there for pages that are on their way to us, so the
 * thread that reads requests never does this, nor one that it waits for; and only one at a time, because each holds a
 * thread of libuv's pool that puts of chunks need too.
 */
export class Invalidations {
  #last: Promise<void> = Promise.resolve()

  /** Resolves when the kernel has forgotten the range, or knew nothing of it. */
  forget(fd: number, volume: number, ino: number, from: number, length: number): Promise<void> {
    this.#last = this.#last.then(async () => {
      await notify(fd, (buf) => encodeNotifyInvalInode(buf, volume, ino, from, length))
    })
    return this.#last
  }
}

/**
 * Resolves when the kernel has forgotten the attributes of these inodes, and pages of none. It takes no lock that a request
 * under way may hold; it may wait for an inode that it is just about to forget by itself.
 */
export async function forgetAttributes(
  fd: number,
  volume: VolumeNumber,
  inos: readonly Ino[],
  clock: Clock,
): Promise<void> {
  let unknown = inos
  for (const pauseMs of [0, ...AGAIN_MS]) {
    if (unknown.length === 0) return
    if (pauseMs > 0) await sleep(clock, pauseMs)
    const left: Ino[] = []
    for (const ino of unknown) {
      const isKnown = await notify(fd, (buf) => encodeNotifyInvalInode(buf, volume, ino, -1, 0))
      if (!isKnown) left.push(ino)
    }
    unknown = left
  }
}

/** Resolves when the kernel has ended the life of every name of the mount; it is one that can (7.44). Takes no lock. */
export async function forgetNames(fd: number): Promise<void> {
  await notify(fd, encodeNotifyIncEpoch)
}

/**
 * ENODEV, EPERM: the mount has ended. Whatever it is, there is nothing more to do.
 * @returns false at ENOENT: the kernel does not know the node
 */
function notify(fd: number, encode: (buf: Buffer) => number): Promise<boolean> {
  const buf = Buffer.alloc(64)
  const end = encode(buf)
  return new Promise((resolve) =>
    write(fd, buf, 0, end, null, (error) => resolve(codeOf(error) !== 'ENOENT')),
  )
}
