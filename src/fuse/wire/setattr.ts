import { ProtocolError } from '../../base/index.ts'
import { expectSize, handleAt, offsetAt, secondsAt } from './bytes.ts'

/** SETATTR: chmod, chown, truncate, utimens. Source: struct fuse_setattr_in; fs/fuse/dir.c, iattr_to_fattr. */

export const FATTR_MODE = 1 << 0
export const FATTR_UID = 1 << 1
export const FATTR_GID = 1 << 2
export const FATTR_SIZE = 1 << 3
export const FATTR_ATIME = 1 << 4
export const FATTR_MTIME = 1 << 5
export const FATTR_FH = 1 << 6
export const FATTR_ATIME_NOW = 1 << 7
export const FATTR_MTIME_NOW = 1 << 8
export const FATTR_LOCKOWNER = 1 << 9
export const FATTR_CTIME = 1 << 10
/** The caller lacks CAP_FSETID: drop setuid and setgid with this change. */
export const FATTR_KILL_SUIDGID = 1 << 11

/** Each field counts only with its bit in `valid`. */
export interface SetattrIn {
  valid: number
  fh: number
  size: number
  lock_owner: bigint
  /** Seconds since 1970, of either sign. */
  atime: number
  atimensec: number
  mtime: number
  mtimensec: number
  /** Sent only by a kernel that keeps the times itself (writeback cache). */
  ctime: number
  ctimensec: number
  mode: number
  uid: number
  gid: number
}

/** @throws OffsetTooBigError for a size above 2^53 - 1 · ProtocolError */
export function decodeSetattr(buf: Buffer, at: number, end: number): SetattrIn {
  expectSize(buf, at, end, 88, 'SETATTR')
  const valid = buf.readUInt32LE(at)
  return {
    valid,
    fh: valid & FATTR_FH ? handleAt(buf, at + 8) : 0,
    size: valid & FATTR_SIZE ? offsetAt(buf, at + 16, 'SETATTR size') : 0,
    lock_owner: valid & FATTR_LOCKOWNER ? buf.readBigUInt64LE(at + 24) : 0n,
    atime: secondsAt(buf, at + 32),
    atimensec: nsecAt(buf, at + 56),
    mtime: secondsAt(buf, at + 40),
    mtimensec: nsecAt(buf, at + 60),
    ctime: secondsAt(buf, at + 48),
    ctimensec: nsecAt(buf, at + 64),
    mode: buf.readUInt32LE(at + 68),
    uid: buf.readUInt32LE(at + 76),
    gid: buf.readUInt32LE(at + 80),
  }
}

function nsecAt(buf: Buffer, at: number): number {
  const nsec = buf.readUInt32LE(at)
  if (nsec > 999_999_999) throw new ProtocolError(`SETATTR: ${nsec} nanoseconds`)
  return nsec
}
