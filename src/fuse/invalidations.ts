import { write } from 'node:fs'
import { encodeNotifyInvalInode } from './wire/index.ts'

/**
 * Takes ranges out of the kernel's page cache. The kernel waits there for pages that are on their way to us, so the
 * thread that reads requests never does this, nor one that it waits for; and only one at a time, because each holds a
 * thread of libuv's pool that puts of chunks need too.
 */
export class Invalidations {
  #last: Promise<void> = Promise.resolve()

  /** Resolves when the kernel has forgotten the range, or knew nothing of it. */
  forget(fd: number, volume: number, ino: number, from: number, length: number): Promise<void> {
    this.#last = this.#last.then(() => notify(fd, volume, ino, from, length))
    return this.#last
  }
}

/** ENOENT: not cached at all. ENODEV, EPERM: the mount has ended. Whatever it is, there is nothing more to do. */
function notify(
  fd: number,
  volume: number,
  ino: number,
  from: number,
  length: number,
): Promise<void> {
  const buf = Buffer.alloc(64)
  const end = encodeNotifyInvalInode(buf, volume, ino, from, length)
  return new Promise((resolve) => write(fd, buf, 0, end, null, () => resolve()))
}
