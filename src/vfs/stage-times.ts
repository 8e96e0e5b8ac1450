import type { Ino, Timespec } from '../base/index.ts'
import type { AttributeChange } from './attributes.ts'
import type { Attributes, Request, VolumeFs } from './volume-fs.ts'

/** mtime and ctime, and nothing else: what a kernel with writeback cache says of a file it wrote, renamed or unlinked. */
export interface Times {
  mtime: Timespec
  ctime: Timespec
}

/** @returns null when a change sets more than both times */
export function timesAlone(change: AttributeChange): Times | null {
  const { mtime, ctime, atime, mode, uid, gid, size, killSetids } = change
  const more = atime ?? mode ?? uid ?? gid ?? size ?? killSetids
  if (more !== undefined || !mtime || mtime === 'now' || !ctime) return null
  return { mtime, ctime }
}

/**
 * Accept a file's times as a write is accepted: staged, and in a record with the next batch. A record for each would cost as
 * much as the change that the kernel follows up with it.
 */
export function stageTimes(fs: VolumeFs, request: Request, ino: Ino, times: Times): Attributes {
  const { writer } = fs
  const { shared } = fs.volume
  fs.inode(ino)
  const { uniqueLo, uniqueHi } = request
  const { sec, nsec } = times.mtime
  const number = shared.stagedNumber + 1
  const changed = times.ctime
  const staged = {
    number,
    ino,
    offset: 0,
    length: 0,
    sec,
    nsec,
    changed,
    uniqueLo,
    uniqueHi,
    mount: fs.world.mount,
  } as const
  fs.staged.add(writer.appendTimes(staged))
  shared.stagedNumber = number
  fs.wakeEngine()
  return fs.attributes(ino)
}
