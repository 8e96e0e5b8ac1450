import type { Ino, VolumeNumber } from '../../base/index.ts'
import { clampedAt, expectSize, handleAt, nodeIno, nodeVolume, offsetAt, putU64 } from './bytes.ts'

/**
 * FALLOCATE, LSEEK, COPY_FILE_RANGE.
 * Source: struct fuse_fallocate_in, fuse_lseek_in, fuse_copy_file_range_in, fuse_copy_file_range_out.
 */

export const FALLOC_FL_KEEP_SIZE = 0x01
export const FALLOC_FL_PUNCH_HOLE = 0x02
export const FALLOC_FL_ZERO_RANGE = 0x10

export interface FallocateIn {
  fh: number
  offset: number
  length: number
  /** FALLOC_FL_ bits. */
  mode: number
}

/**
 * A hole may be punched up to 2^63 - 1, where no file has anything: its range is clamped. Anything else would
 * make the file that large.
 * @throws OffsetTooBigError · ProtocolError
 */
export function decodeFallocate(buf: Buffer, at: number, end: number): FallocateIn {
  expectSize(buf, at, end, 32, 'FALLOCATE')
  const mode = buf.readUInt32LE(at + 24)
  const hole = (mode & FALLOC_FL_PUNCH_HOLE) !== 0
  return {
    fh: handleAt(buf, at),
    offset: hole ? clampedAt(buf, at + 8) : offsetAt(buf, at + 8, 'FALLOCATE offset'),
    length: hole ? clampedAt(buf, at + 16) : offsetAt(buf, at + 16, 'FALLOCATE length'),
    mode,
  }
}

export const SEEK_DATA = 3
export const SEEK_HOLE = 4

export interface LseekIn {
  fh: number
  /** Clamped to 2^53 - 1, negative ones too: behind the end of every file, where the answer is ENXIO. */
  offset: number
  whence: number
}

/** @throws ProtocolError */
export function decodeLseek(buf: Buffer, at: number, end: number): LseekIn {
  expectSize(buf, at, end, 24, 'LSEEK')
  return {
    fh: handleAt(buf, at),
    offset: clampedAt(buf, at + 8),
    whence: buf.readUInt32LE(at + 16),
  }
}

export function encodeLseek(buf: Buffer, at: number, offset: number): number {
  putU64(buf, at, offset)
  return at + 8
}

export interface CopyFileRangeIn {
  fh_in: number
  /** Clamped to 2^53 - 1: behind the end of every file nothing is copied. */
  off_in: number
  outVolume: VolumeNumber
  outIno: Ino
  fh_out: number
  off_out: number
  /** Clamped to 2^53 - 1: copying less is legal. */
  len: number
  /** Low 32 bits; Linux defines none. */
  flags: number
}

/** COPY_FILE_RANGE and COPY_FILE_RANGE_64, from the header's node. @throws OffsetTooBigError · ProtocolError */
export function decodeCopyFileRange(buf: Buffer, at: number, end: number): CopyFileRangeIn {
  expectSize(buf, at, end, 56, 'COPY_FILE_RANGE')
  const outHi = buf.readUInt32LE(at + 20)
  return {
    fh_in: handleAt(buf, at),
    off_in: clampedAt(buf, at + 8),
    outVolume: nodeVolume(outHi),
    outIno: nodeIno(buf.readUInt32LE(at + 16), outHi),
    fh_out: handleAt(buf, at + 24),
    off_out: offsetAt(buf, at + 32, 'COPY_FILE_RANGE off_out'),
    len: clampedAt(buf, at + 40),
    flags: buf.readUInt32LE(at + 48),
  }
}

/** Answer to COPY_FILE_RANGE_64. COPY_FILE_RANGE is answered with encodeWriteOut, so with less than 4 GiB. */
export function encodeCopyFileRange64Out(buf: Buffer, at: number, bytesCopied: number): number {
  putU64(buf, at, bytesCopied)
  return at + 8
}
