import { type Ino, ProtocolError, type VolumeNumber } from '../../base/index.ts'
import { expectAtLeast, expectSize, lastName, nameEndAt, putNodeId, putU32 } from './bytes.ts'
import { IN_HEADER_BYTES } from './header.ts'

/** Its opcode, fuse_opcode. */
const GETXATTR = 22

/** Extended attributes; REMOVEXATTR is decodeName. Source: struct fuse_setxattr_in, fuse_getxattr_in, fuse_getxattr_out. */

export const XATTR_CREATE = 1 << 0
export const XATTR_REPLACE = 1 << 1
/** Bit of setxattr_flags: drop setgid, because system.posix_acl_access is set by one who is not in the group. */
export const FUSE_SETXATTR_ACL_KILL_SGID = 1 << 0

export interface SetxattrIn {
  /** XATTR_ bits. */
  flags: number
  setxattr_flags: number
  /** Name and value are views, borrowed until the next read. */
  name: Buffer
  value: Buffer
}

/**
 * @param extended whether FUSE_SETXATTR_EXT was agreed in INIT: the struct has 16 bytes then, else 8
 * @throws ProtocolError
 */
export function decodeSetxattr(
  buf: Buffer,
  at: number,
  end: number,
  extended: boolean,
): SetxattrIn {
  const head = extended ? 16 : 8
  expectAtLeast(buf, at, end, head, 'SETXATTR')
  const size = buf.readUInt32LE(at)
  const nameEnd = nameEndAt(buf, at + head, end, 'SETXATTR')
  if (end - nameEnd - 1 !== size) {
    throw new ProtocolError(`SETXATTR of ${size} bytes with ${end - nameEnd - 1} of value`)
  }
  return {
    flags: buf.readUInt32LE(at + 4),
    setxattr_flags: extended ? buf.readUInt32LE(at + 8) : 0,
    name: buf.subarray(at + head, nameEnd),
    value: buf.subarray(nameEnd + 1, end),
  }
}

export interface GetxattrIn {
  /** Room for the value; 0 asks for its length (encodeGetxattrSize); too small is ERANGE. */
  size: number
  name: Buffer
}

/** @throws ProtocolError */
export function decodeGetxattr(buf: Buffer, at: number, end: number): GetxattrIn {
  expectAtLeast(buf, at, end, 8, 'GETXATTR')
  return { size: buf.readUInt32LE(at), name: lastName(buf, at + 8, end, 'GETXATTR') }
}

/** A request of root's for a value, of no kernel's: header and body, unique 0. Asks for the length alone. */
export function encodeGetxattr(volume: VolumeNumber, ino: Ino, name: string): Buffer {
  const buf = Buffer.alloc(IN_HEADER_BYTES + 8 + Buffer.byteLength(name) + 1)
  putU32(buf, 0, buf.length)
  putU32(buf, 4, GETXATTR)
  putNodeId(buf, 16, volume, ino)
  buf.write(name, IN_HEADER_BYTES + 8)
  return buf
}

/** @returns room for the list of names, each with its NUL; 0 asks for its length. @throws ProtocolError */
export function decodeListxattr(buf: Buffer, at: number, end: number): number {
  expectSize(buf, at, end, 8, 'LISTXATTR')
  return buf.readUInt32LE(at)
}

/** Answer to GETXATTR and LISTXATTR with size 0. */
export function encodeGetxattrSize(buf: Buffer, at: number, size: number): number {
  putU32(buf, at, size)
  putU32(buf, at + 4, 0)
  return at + 8
}
