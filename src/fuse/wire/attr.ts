import {
  expectSize,
  getU32,
  handleAt,
  putI64,
  putNodeId,
  putU32,
  putU64,
  putValid,
} from './bytes.ts'

/** Attributes of an inode. Source: struct fuse_attr, fuse_attr_out, fuse_getattr_in. */

/** Times are seconds since 1970, of either sign, and nanoseconds 0 to 999,999,999. */
export interface Attr {
  /** With `ino` the node id and the inode number shown to programs. */
  volume: number
  ino: number
  size: number
  /** Units of 512 bytes. */
  blocks: number
  atime: number
  atimensec: number
  mtime: number
  mtimensec: number
  ctime: number
  ctimensec: number
  /** Birth; only statx shows it. */
  btime: number
  btimensec: number
  /** Type and permissions. */
  mode: number
  nlink: number
  uid: number
  gid: number
  /** The kernel's 32-bit form (new_encode_dev): minor 7..0, major 19..8, minor 31..20. */
  rdev: number
  blksize: number
}

export const ATTR_BYTES = 88
export const ATTR_OUT_BYTES = 16 + ATTR_BYTES

/** Hot. struct fuse_attr alone. */
export function encodeAttr(buf: Buffer, at: number, attr: Attr): number {
  putNodeId(buf, at, attr.volume, attr.ino)
  putU64(buf, at + 8, attr.size)
  putU64(buf, at + 16, attr.blocks)
  putI64(buf, at + 24, attr.atime)
  putI64(buf, at + 32, attr.mtime)
  putI64(buf, at + 40, attr.ctime)
  putU32(buf, at + 48, attr.atimensec)
  putU32(buf, at + 52, attr.mtimensec)
  putU32(buf, at + 56, attr.ctimensec)
  putU32(buf, at + 60, attr.mode)
  putU32(buf, at + 64, attr.nlink)
  putU32(buf, at + 68, attr.uid)
  putU32(buf, at + 72, attr.gid)
  putU32(buf, at + 76, attr.rdev)
  putU32(buf, at + 80, attr.blksize)
  putU32(buf, at + 84, 0)
  return at + ATTR_BYTES
}

/** Hot. Answer to GETATTR and SETATTR. @param attrValidMs how long the kernel may trust the attributes */
export function encodeAttrOut(buf: Buffer, at: number, attr: Attr, attrValidMs: number): number {
  putValid(buf, at, at + 8, attrValidMs)
  putU32(buf, at + 12, 0)
  return encodeAttr(buf, at + 16, attr)
}

export const FUSE_GETATTR_FH = 1 << 0

export interface GetattrIn {
  getattr_flags: number
  /** Valid only with FUSE_GETATTR_FH. */
  fh: number
}

export function newGetattrIn(): GetattrIn {
  return { getattr_flags: 0, fh: 0 }
}

/** Hot. @throws ProtocolError */
export function decodeGetattr(buf: Buffer, at: number, end: number, into: GetattrIn): void {
  expectSize(buf, at, end, 16, 'GETATTR')
  into.getattr_flags = getU32(buf, at)
  into.fh = handleAt(buf, at + 8)
}
