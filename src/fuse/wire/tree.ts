import type { Ino, VolumeNumber } from '../../base/index.ts'
import { ProtocolError } from '../../base/index.ts'
import { expectAtLeast, lastName, nameEndAt, nodeIno, nodeVolume } from './bytes.ts'

/**
 * What makes, moves and removes names: MKNOD MKDIR SYMLINK LINK RENAME RENAME2 UNLINK RMDIR.
 * The directory is the header's node. Names are views without their NUL, borrowed until the next read.
 * UNLINK, RMDIR and REMOVEXATTR are one name and nothing else: decodeName.
 * Source: struct fuse_mknod_in, fuse_mkdir_in, fuse_link_in, fuse_rename_in, fuse_rename2_in.
 */

export interface MknodIn {
  mode: number
  rdev: number
  umask: number
  name: Buffer
}

/** @throws ProtocolError */
export function decodeMknod(buf: Buffer, at: number, end: number): MknodIn {
  expectAtLeast(buf, at, end, 16, 'MKNOD')
  return {
    mode: buf.readUInt32LE(at),
    rdev: buf.readUInt32LE(at + 4),
    umask: buf.readUInt32LE(at + 8),
    name: lastName(buf, at + 16, end, 'MKNOD'),
  }
}

export interface MkdirIn {
  mode: number
  umask: number
  name: Buffer
}

/** @throws ProtocolError */
export function decodeMkdir(buf: Buffer, at: number, end: number): MkdirIn {
  expectAtLeast(buf, at, end, 8, 'MKDIR')
  return {
    mode: buf.readUInt32LE(at),
    umask: buf.readUInt32LE(at + 4),
    name: lastName(buf, at + 8, end, 'MKDIR'),
  }
}

export interface SymlinkIn {
  name: Buffer
  target: Buffer
}

/** @throws ProtocolError */
export function decodeSymlink(buf: Buffer, at: number, end: number): SymlinkIn {
  const stop = nameEndAt(buf, at, end, 'SYMLINK')
  return { name: buf.subarray(at, stop), target: lastName(buf, stop + 1, end, 'SYMLINK') }
}

export interface LinkIn {
  oldVolume: VolumeNumber
  oldIno: Ino
  name: Buffer
}

/** @throws ProtocolError */
export function decodeLink(buf: Buffer, at: number, end: number): LinkIn {
  expectAtLeast(buf, at, end, 8, 'LINK')
  const high = buf.readUInt32LE(at + 4)
  return {
    oldVolume: nodeVolume(high),
    oldIno: nodeIno(buf.readUInt32LE(at), high),
    name: lastName(buf, at + 8, end, 'LINK'),
  }
}

export const RENAME_NOREPLACE = 1 << 0
export const RENAME_EXCHANGE = 1 << 1
export const RENAME_WHITEOUT = 1 << 2

export interface RenameIn {
  newdirVolume: VolumeNumber
  newdirIno: Ino
  /** RENAME_ bits; 0 in a plain RENAME. */
  flags: number
  oldname: Buffer
  newname: Buffer
}

/** @throws ProtocolError */
export function decodeRename(buf: Buffer, at: number, end: number): RenameIn {
  expectAtLeast(buf, at, end, 8, 'RENAME')
  return renameBody(buf, at, at + 8, end, 0)
}

/** @throws ProtocolError */
export function decodeRename2(buf: Buffer, at: number, end: number): RenameIn {
  expectAtLeast(buf, at, end, 16, 'RENAME2')
  return renameBody(buf, at, at + 16, end, buf.readUInt32LE(at + 8))
}

function renameBody(
  buf: Buffer,
  at: number,
  namesAt: number,
  end: number,
  flags: number,
): RenameIn {
  const high = buf.readUInt32LE(at + 4)
  const stop = nameEndAt(buf, namesAt, end, 'RENAME')
  return {
    newdirVolume: nodeVolume(high),
    newdirIno: nodeIno(buf.readUInt32LE(at), high),
    flags,
    oldname: buf.subarray(namesAt, stop),
    newname: lastName(buf, stop + 1, end, 'RENAME'),
  }
}

/** A body that is one name. @throws ProtocolError */
export function decodeName(buf: Buffer, at: number, end: number): Buffer {
  if (at >= end) throw new ProtocolError('a name is missing')
  return lastName(buf, at, end, 'name')
}
