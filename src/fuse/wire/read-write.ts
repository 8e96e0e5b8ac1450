import { ProtocolError } from '../../base/index.ts'
import {
  clampedAt,
  expectAtLeast,
  expectSize,
  getU32,
  handleAt,
  offsetAt,
  putU32,
} from './bytes.ts'

/**
 * READ and WRITE. The lock owner is not decoded: it serves mandatory locks, which Linux no longer has.
 * The answer to READ is bytes alone, so it has no encoder.
 * Source: struct fuse_read_in, fuse_write_in, fuse_write_out.
 */

/** One of these per thread is filled again for every request. */
export interface ReadIn {
  fh: number
  /** Clamped to 2^53 - 1, behind the end of every file: the right answer there is no bytes. */
  offset: number
  size: number
  read_flags: number
  /** O_ bits of the open file. */
  flags: number
}

export function newReadIn(): ReadIn {
  return { fh: 0, offset: 0, size: 0, read_flags: 0, flags: 0 }
}

/** Hot. @throws ProtocolError */
export function decodeRead(buf: Buffer, at: number, end: number, into: ReadIn): void {
  expectSize(buf, at, end, 40, 'READ')
  into.fh = handleAt(buf, at)
  into.offset = clampedAt(buf, at + 8)
  into.size = getU32(buf, at + 16)
  into.read_flags = getU32(buf, at + 20)
  into.flags = getU32(buf, at + 32)
}

/** Written back from the page cache: fh is any open one, not the writer's; uid and pid mean nothing. */
export const FUSE_WRITE_CACHE = 1 << 0
export const FUSE_WRITE_LOCKOWNER = 1 << 1
/** The writer lacks CAP_FSETID: drop setuid and setgid with this write. */
export const FUSE_WRITE_KILL_SUIDGID = 1 << 2

/** One of these per thread is filled again for every request. */
export interface WriteIn {
  fh: number
  offset: number
  size: number
  write_flags: number
  flags: number
  /** The data is buf[dataAt] to buf[dataAt + size - 1], borrowed until the next read. */
  dataAt: number
}

export function newWriteIn(): WriteIn {
  return { fh: 0, offset: 0, size: 0, write_flags: 0, flags: 0, dataAt: 0 }
}

/** Hot. @throws OffsetTooBigError for an offset above 2^53 - 1 · ProtocolError */
export function decodeWrite(buf: Buffer, at: number, end: number, into: WriteIn): void {
  expectAtLeast(buf, at, end, 40, 'WRITE')
  const size = getU32(buf, at + 16)
  if (size !== end - at - 40)
    throw new ProtocolError(`WRITE of ${size} bytes with ${end - at - 40} of data`)
  into.fh = handleAt(buf, at)
  into.offset = offsetAt(buf, at + 8, 'WRITE offset')
  into.size = size
  into.write_flags = getU32(buf, at + 20)
  into.flags = getU32(buf, at + 32)
  into.dataAt = at + 40
}

export const WRITE_OUT_BYTES = 8

/** Hot. Answer to WRITE and COPY_FILE_RANGE. @param size bytes taken */
export function encodeWriteOut(buf: Buffer, at: number, size: number): number {
  putU32(buf, at, size)
  putU32(buf, at + 4, 0)
  return at + WRITE_OUT_BYTES
}
