import { expectSize, handleAt, putName, putNodeId, putU32 } from './bytes.ts'
import { ENTRY_BYTES, type Entry, encodeEntry } from './lookup.ts'

/**
 * READDIR and READDIRPLUS. Source: struct fuse_read_in, fuse_dirent, fuse_direntplus; fs/fuse/readdir.c.
 * A cookie is u64, ours to choose, not 0, below 2^63; an entry carries the cookie of what comes after it.
 */

export interface ReaddirIn {
  fh: number
  /** 0, 0 at the beginning of the directory. */
  cookieLo: number
  cookieHi: number
  /** Bytes the answer may have, its header not counted. */
  size: number
}

export function newReaddirIn(): ReaddirIn {
  return { fh: 0, cookieLo: 0, cookieHi: 0, size: 0 }
}

/** @throws ProtocolError */
export function decodeReaddir(buf: Buffer, at: number, end: number, into: ReaddirIn): void {
  expectSize(buf, at, end, 40, 'READDIR')
  into.fh = handleAt(buf, at)
  into.cookieLo = buf.readUInt32LE(at + 8)
  into.cookieHi = buf.readUInt32LE(at + 12)
  into.size = buf.readUInt32LE(at + 16)
}

const DIRENT_HEAD_BYTES = 24

/** DT_ value of a mode: its four type bits. */
export function direntType(mode: number): number {
  return (mode >>> 12) & 15
}

/**
 * Hot. Append one entry.
 * @param limit offset the answer may not pass
 * @returns the new end, or -1 when the entry does not fit; nothing is written then
 */
export function encodeDirent(
  buf: Buffer,
  at: number,
  limit: number,
  inoVolume: number,
  ino: number,
  cookieLo: number,
  cookieHi: number,
  type: number,
  name: Uint8Array,
): number {
  const nameEnd = at + DIRENT_HEAD_BYTES + name.length
  const end = at + ((DIRENT_HEAD_BYTES + name.length + 7) & ~7)
  if (end > limit || end > buf.length) return -1
  putNodeId(buf, at, inoVolume, ino)
  putU32(buf, at + 8, cookieLo)
  putU32(buf, at + 12, cookieHi)
  putU32(buf, at + 16, name.length)
  putU32(buf, at + 20, type)
  putName(buf, at + DIRENT_HEAD_BYTES, name)
  for (let i = nameEnd; i < end; i++) buf[i] = 0
  return end
}

/**
 * Hot. Append one entry with its attributes; counts as one lookup, as encodeEntry does.
 * @param entry null for "." and "..", and where attributes are not to be given: node id 0, no lookup counted
 * @returns the new end, or -1 when the entry does not fit; the buffer behind `at` is then undefined
 */
export function encodeDirentPlus(
  buf: Buffer,
  at: number,
  limit: number,
  entry: Entry | null,
  inoVolume: number,
  ino: number,
  cookieLo: number,
  cookieHi: number,
  type: number,
  name: Uint8Array,
): number {
  const dirent = at + ENTRY_BYTES
  const end = encodeDirent(buf, dirent, limit, inoVolume, ino, cookieLo, cookieHi, type, name)
  if (end < 0) return -1
  if (entry === null) buf.fill(0, at, dirent)
  else encodeEntry(buf, at, entry)
  return end
}
