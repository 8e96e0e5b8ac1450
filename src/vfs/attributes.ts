import { FsError, type Ino, limits, type Timespec } from '../base/index.ts'
import { S_IFDIR, S_IFMT, S_IFREG } from '../meta/index.ts'
import { ExtentEditor } from '../store/index.ts'
import { chmodAcl } from './acl.ts'
import { settledInode, withoutSetids } from './settled-inode.ts'
import type { Attributes, Request, VolumeFs } from './volume-fs.ts'
import { dropCapability } from './xattrs.ts'

/** chmod, chown, utimens, truncate: what SETATTR asks. */

const CARVED_EXTENTS_MAX = 8192

/** Only what is there is set. */
export interface AttributeChange {
  mode?: number
  uid?: number
  gid?: number
  size?: number
  atime?: Timespec | 'now'
  mtime?: Timespec | 'now'
  ctime?: Timespec
  /** The caller may not keep setuid and setgid on a file it truncates. */
  killSetids?: boolean
}

export function setattr(
  fs: VolumeFs,
  request: Request,
  ino: Ino,
  change: AttributeChange,
): Attributes {
  if (change.size !== undefined) truncate(fs, ino, change.size)
  return fs.change(request, (draft) => {
    const inode = settledInode(fs, ino)
    const now = fs.now()
    if (change.mode !== undefined) {
      inode.mode = (inode.mode & S_IFMT) | (change.mode & ~S_IFMT)
      chmodAcl(fs, draft, ino, inode)
    }
    if (change.uid !== undefined || change.gid !== undefined) {
      inode.uid = change.uid ?? inode.uid
      inode.gid = change.gid ?? inode.gid
      if ((inode.mode & S_IFMT) !== S_IFDIR && change.mode === undefined) {
        inode.mode = withoutSetids(inode.mode)
      }
      dropCapability(fs, draft, ino)
    }
    if (change.size !== undefined) {
      if (change.size !== inode.size) throw new FsError('EIO', 'truncate', { ino })
      if (change.killSetids) inode.mode = withoutSetids(inode.mode)
      inode.mtime = now
    }
    if (change.atime) inode.atime = change.atime === 'now' ? now : change.atime
    if (change.mtime) inode.mtime = change.mtime === 'now' ? now : change.mtime
    inode.ctime = change.ctime ?? now
    fs.putInode(draft, ino, inode)
    // With what is staged: the kernel cuts its pages to the size it is told.
    return fs.attributes(ino)
  })
}

/** Size and extents; the caller's record sets the times. */
function truncate(fs: VolumeFs, ino: Ino, size: number): void {
  if (size > limits.fileBytesMax) throw new FsError('EFBIG', 'truncate', { ino })
  const inode = fs.inode(ino)
  if ((inode.mode & S_IFMT) === S_IFDIR) throw new FsError('EISDIR', 'truncate', { ino })
  if ((inode.mode & S_IFMT) !== S_IFREG) throw new FsError('EINVAL', 'truncate', { ino })
  fs.flush(ino)
  const { size: before, bytes } = fs.inode(ino)
  if (size === before) return
  if (size > before || bytes === 0) {
    fs.change(null, (draft) => fs.putInode(draft, ino, { ...settledInode(fs, ino), size }))
  } else {
    punch(fs, ino, size, limits.fileBytesMax, size)
  }
  fs.extents.forget(ino)
}

/**
 * Make [from, to) a hole, in as many records as it takes; the last one sets the size.
 * @returns when it is done
 */
export function punch(fs: VolumeFs, ino: Ino, from: number, to: number, size?: number): void {
  for (let at = from; at < to; ) {
    at = fs.change(
      null,
      (draft) => {
        const editor = new ExtentEditor(draft, ino)
        const reached = editor.carve(at, to, CARVED_EXTENTS_MAX)
        const inode = settledInode(fs, ino)
        inode.bytes += editor.bytesDelta
        if (reached === to && size !== undefined) inode.size = size
        fs.putInode(draft, ino, inode)
        return reached
      },
      undefined,
      true,
    )
    fs.extents.forget(ino)
  }
}
