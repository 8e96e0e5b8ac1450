import type { Attr } from './attr.ts'
import { expectSize, handleAt, putI64, putNodeId, putU32, putU64, putValid } from './bytes.ts'

/** STATFS and STATX. Source: struct fuse_kstatfs, fuse_statx_in, fuse_statx_out; fs/fuse/dir.c, fuse_do_statx. */

export interface Statfs {
  /** Counted in units of frsize. */
  blocks: number
  bfree: number
  bavail: number
  files: number
  ffree: number
  bsize: number
  namelen: number
  frsize: number
}

export const STATFS_BYTES = 80

export function encodeStatfs(buf: Buffer, at: number, statfs: Statfs): number {
  putU64(buf, at, statfs.blocks)
  putU64(buf, at + 8, statfs.bfree)
  putU64(buf, at + 16, statfs.bavail)
  putU64(buf, at + 24, statfs.files)
  putU64(buf, at + 32, statfs.ffree)
  putU32(buf, at + 40, statfs.bsize)
  putU32(buf, at + 44, statfs.namelen)
  putU32(buf, at + 48, statfs.frsize)
  buf.fill(0, at + 52, at + STATFS_BYTES)
  return at + STATFS_BYTES
}

export interface StatxIn {
  /** FUSE_GETATTR_FH or 0. */
  getattr_flags: number
  fh: number
  /** AT_STATX_ bits of the caller. */
  sx_flags: number
  /** STATX_ bits the caller wants. */
  sx_mask: number
}

/** @throws ProtocolError */
export function decodeStatx(buf: Buffer, at: number, end: number): StatxIn {
  expectSize(buf, at, end, 24, 'STATX')
  return {
    getattr_flags: buf.readUInt32LE(at),
    fh: handleAt(buf, at + 8),
    sx_flags: buf.readUInt32LE(at + 16),
    sx_mask: buf.readUInt32LE(at + 20),
  }
}

export const STATX_OUT_BYTES = 288
/** STATX_BASIC_STATS | STATX_BTIME: what every answer carries, asked or not. */
const STATX_GIVEN = 0xfff

export function encodeStatx(buf: Buffer, at: number, attr: Attr, attrValidMs: number): number {
  buf.fill(0, at, at + STATX_OUT_BYTES)
  putValid(buf, at, at + 8, attrValidMs)
  const sx = at + 32
  putU32(buf, sx, STATX_GIVEN)
  putU32(buf, sx + 4, attr.blksize)
  putU32(buf, sx + 16, attr.nlink)
  putU32(buf, sx + 20, attr.uid)
  putU32(buf, sx + 24, attr.gid)
  buf.writeUInt16LE(attr.mode & 0xffff, sx + 28)
  putNodeId(buf, sx + 32, attr.volume, attr.ino)
  putU64(buf, sx + 40, attr.size)
  putU64(buf, sx + 48, attr.blocks)
  putI64(buf, sx + 64, attr.atime)
  putU32(buf, sx + 72, attr.atimensec)
  putI64(buf, sx + 80, attr.btime)
  putU32(buf, sx + 88, attr.btimensec)
  putI64(buf, sx + 96, attr.ctime)
  putU32(buf, sx + 104, attr.ctimensec)
  putI64(buf, sx + 112, attr.mtime)
  putU32(buf, sx + 120, attr.mtimensec)
  putU32(buf, sx + 128, (attr.rdev & 0xfff00) >>> 8)
  putU32(buf, sx + 132, (attr.rdev & 0xff) | ((attr.rdev >>> 12) & 0xfff00))
  return at + STATX_OUT_BYTES
}
