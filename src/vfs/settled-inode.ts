import type { Ino } from '../base/index.ts'
import { copyInode, type Inode } from '../meta/index.ts'
import { takeTimes } from '../store/index.ts'
import type { VolumeFs } from './volume-fs.ts'

const S_ISUID = 0o4000
const S_ISGID = 0o2000
const S_IXGRP = 0o010

/** A copy of the inode with the times of what is staged, which from now on leaves the times alone. */
export function settledInode(fs: VolumeFs, ino: Ino): Inode {
  const inode = copyInode(fs.inode(ino))
  const staged = fs.staged.get(ino)
  if (staged) takeTimes(inode, staged.last)
  inode.timesSetAt = fs.volume.shared.stagedNumber
  return inode
}

/** What the kernel's should_remove_suid does: setgid without group execute is mandatory locking and stays. */
export function withoutSetids(mode: number): number {
  const kept = mode & ~S_ISUID
  return kept & S_IXGRP ? kept & ~S_ISGID : kept
}
