import { expectAtLeast, expectSize, handleAt, lastName, putU32, putU64 } from './bytes.ts'
import { type Entry, encodeEntry } from './lookup.ts'

/**
 * Open files: OPEN OPENDIR CREATE TMPFILE FLUSH RELEASE RELEASEDIR FSYNC FSYNCDIR SYNCFS ACCESS.
 * Source: struct fuse_open_in, fuse_create_in, fuse_open_out, fuse_release_in, fuse_flush_in, fuse_fsync_in.
 */

/** Bits of fuse_open_out.open_flags. */
export const FOPEN_DIRECT_IO = 1 << 0
export const FOPEN_KEEP_CACHE = 1 << 1
export const FOPEN_NONSEEKABLE = 1 << 2
export const FOPEN_CACHE_DIR = 1 << 3
export const FOPEN_STREAM = 1 << 4
/** No FLUSH at close, unless the writeback cache is on. */
export const FOPEN_NOFLUSH = 1 << 5
export const FOPEN_PARALLEL_DIRECT_WRITES = 1 << 6

/** Bit of fuse_open_in.open_flags: O_TRUNC by a caller without CAP_FSETID, drop setuid and setgid. */
export const FUSE_OPEN_KILL_SUIDGID = 1 << 0

export interface OpenIn {
  /** O_ bits of the caller. */
  flags: number
  open_flags: number
}

/** OPEN and OPENDIR. @throws ProtocolError */
export function decodeOpen(buf: Buffer, at: number, end: number): OpenIn {
  expectSize(buf, at, end, 8, 'OPEN')
  return { flags: buf.readUInt32LE(at), open_flags: buf.readUInt32LE(at + 4) }
}

export interface CreateIn {
  flags: number
  mode: number
  umask: number
  open_flags: number
  /** For TMPFILE whatever the kernel calls a nameless entry; not to be used. */
  name: Buffer
}

/** CREATE and TMPFILE. @throws ProtocolError */
export function decodeCreate(buf: Buffer, at: number, end: number): CreateIn {
  expectAtLeast(buf, at, end, 16, 'CREATE')
  return {
    flags: buf.readUInt32LE(at),
    mode: buf.readUInt32LE(at + 4),
    umask: buf.readUInt32LE(at + 8),
    open_flags: buf.readUInt32LE(at + 12),
    name: lastName(buf, at + 16, end, 'CREATE'),
  }
}

export const OPEN_OUT_BYTES = 16

/** @param fh whole number below 2^53 */
export function encodeOpenOut(buf: Buffer, at: number, fh: number, openFlags: number): number {
  putU64(buf, at, fh)
  putU32(buf, at + 8, openFlags)
  // backing_id: passthrough to a file of the lower filesystem, which sealed data never has.
  putU32(buf, at + 12, 0)
  return at + OPEN_OUT_BYTES
}

/** Answer to CREATE and TMPFILE. */
export function encodeCreateOut(
  buf: Buffer,
  at: number,
  entry: Entry,
  fh: number,
  openFlags: number,
): number {
  return encodeOpenOut(buf, encodeEntry(buf, at, entry), fh, openFlags)
}

export interface FlushIn {
  fh: number
  /** Of the closing process: its fcntl locks on the file end here. */
  lock_owner: bigint
}

/** @throws ProtocolError */
export function decodeFlush(buf: Buffer, at: number, end: number): FlushIn {
  expectSize(buf, at, end, 24, 'FLUSH')
  return { fh: handleAt(buf, at), lock_owner: buf.readBigUInt64LE(at + 16) }
}

export const FUSE_RELEASE_FLUSH = 1 << 0
export const FUSE_RELEASE_FLOCK_UNLOCK = 1 << 1

export interface ReleaseIn {
  fh: number
  flags: number
  release_flags: number
  lock_owner: bigint
}

/** RELEASE and RELEASEDIR. @throws ProtocolError */
export function decodeRelease(buf: Buffer, at: number, end: number): ReleaseIn {
  expectSize(buf, at, end, 24, 'RELEASE')
  return {
    fh: handleAt(buf, at),
    flags: buf.readUInt32LE(at + 8),
    release_flags: buf.readUInt32LE(at + 12),
    lock_owner: buf.readBigUInt64LE(at + 16),
  }
}

export const FUSE_FSYNC_FDATASYNC = 1 << 0

export interface FsyncIn {
  fh: number
  fsync_flags: number
}

/** FSYNC and FSYNCDIR. @throws ProtocolError */
export function decodeFsync(buf: Buffer, at: number, end: number): FsyncIn {
  expectSize(buf, at, end, 16, 'FSYNC')
  return { fh: handleAt(buf, at), fsync_flags: buf.readUInt32LE(at + 8) }
}

/** SYNCFS carries only padding. @throws ProtocolError */
export function decodeSyncfs(buf: Buffer, at: number, end: number): void {
  expectSize(buf, at, end, 8, 'SYNCFS')
}

/** @returns mask of R_OK, W_OK, X_OK. @throws ProtocolError */
export function decodeAccess(buf: Buffer, at: number, end: number): number {
  expectSize(buf, at, end, 8, 'ACCESS')
  return buf.readUInt32LE(at)
}
