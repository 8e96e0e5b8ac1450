import { expectSize, handleAt, putU32 } from './bytes.ts'

/** GETLK, SETLK, SETLKW, for fcntl and flock. Source: struct fuse_lk_in, fuse_file_lock, fuse_lk_out. */

export const FUSE_LK_FLOCK = 1 << 0
export const F_RDLCK = 0
export const F_WRLCK = 1
export const F_UNLCK = 2

export interface LkIn {
  fh: number
  /** A hash the kernel makes of the owner; says nothing but "the same" or "another". */
  owner: bigint
  /** Bytes, both included; an open end is 2^63 - 1. */
  start: bigint
  end: bigint
  type: number
  pid: number
  /** FUSE_LK_FLOCK: flock, of the whole file. */
  lk_flags: number
}

/** @throws ProtocolError */
export function decodeLk(buf: Buffer, at: number, end: number): LkIn {
  expectSize(buf, at, end, 48, 'LK')
  return {
    fh: handleAt(buf, at),
    owner: buf.readBigUInt64LE(at + 8),
    start: buf.readBigUInt64LE(at + 16),
    end: buf.readBigUInt64LE(at + 24),
    type: buf.readUInt32LE(at + 32),
    pid: buf.readUInt32LE(at + 36),
    lk_flags: buf.readUInt32LE(at + 40),
  }
}

export interface FileLock {
  start: bigint
  end: bigint
  type: number
  pid: number
}

/** Answer to GETLK: the lock in the way, or type F_UNLCK when there is none. */
export function encodeLk(buf: Buffer, at: number, lock: FileLock): number {
  buf.writeBigUInt64LE(lock.start, at)
  buf.writeBigUInt64LE(lock.end, at + 8)
  putU32(buf, at + 16, lock.type)
  putU32(buf, at + 20, lock.pid)
  return at + 24
}
