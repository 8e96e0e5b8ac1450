/**
 * vfs: what POSIX means, by inode: names, attributes, bytes, locks, what is staged. Called by fuse with numbers and
 * buffers, throws FsError. One VolumeFs stands for one volume in one thread; operations are functions over it.
 *
 * Invariants: every change is one record, appended before the answer; what was answered is seen at once by this thread
 * and survives its death; a change that rests on staged data commits that first; nothing here waits for the network.
 */
export { type AttributeChange, setattr } from './attributes.ts'
export {
  copyFileRange,
  type FileMap,
  fallocate,
  fileMap,
  lseek,
  read,
  readExtents,
  write,
} from './data.ts'
export { F_RDLCK, F_UNLCK, F_WRLCK, type LockRequest, LockTable } from './locks.ts'
export {
  create,
  forget,
  forgetAll,
  type ListedEntry,
  link,
  lookup,
  readdir,
  readlink,
  rename,
  rmdir,
  tmpfile,
  unlink,
} from './names.ts'
export { stageTimes, timesAlone } from './stage-times.ts'
export {
  type Attributes,
  type Caller,
  type Request,
  VolumeFs,
  type VolumeFsWorld,
} from './volume-fs.ts'
export { getxattr, listxattr, removexattr, setxattr } from './xattrs.ts'
