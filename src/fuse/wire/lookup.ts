import { ProtocolError } from '../../base/index.ts'
import { ATTR_BYTES, type Attr, encodeAttr } from './attr.ts'
import { nameEndAt, putNodeId, putU32, putU64, putValid } from './bytes.ts'

/** LOOKUP, and the entry that it and everything that makes a name answer with. Source: struct fuse_entry_out. */

export interface LookupIn {
  /** The name is buf[nameAt] to buf[nameEnd - 1], borrowed until the next read. */
  nameAt: number
  nameEnd: number
}

export function newLookupIn(): LookupIn {
  return { nameAt: 0, nameEnd: 0 }
}

/** Hot. @throws ProtocolError */
export function decodeLookup(buf: Buffer, at: number, end: number, into: LookupIn): void {
  const stop = nameEndAt(buf, at, end, 'LOOKUP')
  if (stop !== end - 1) throw new ProtocolError('LOOKUP: bytes behind the name')
  into.nameAt = at
  into.nameEnd = stop
}

export interface Entry {
  /** Also gives the node id. */
  attr: Attr
  /** Whole number; with the node id unique for the life of the filesystem. */
  generation: number
  /** How long the kernel may trust the name, and the attributes. */
  entryValidMs: number
  attrValidMs: number
}

export const ENTRY_BYTES = 40 + ATTR_BYTES

/** Hot. Each one the kernel receives counts as one lookup, to be given back by FORGET. */
export function encodeEntry(buf: Buffer, at: number, entry: Entry): number {
  putNodeId(buf, at, entry.attr.volume, entry.attr.ino)
  putU64(buf, at + 8, entry.generation)
  putValid(buf, at + 16, at + 32, entry.entryValidMs)
  putValid(buf, at + 24, at + 36, entry.attrValidMs)
  return encodeAttr(buf, at + 40, entry.attr)
}

/** Hot. "No such name, and remember that for so long": node id 0. Without a life, answer ENOENT instead. */
export function encodeNegativeEntry(buf: Buffer, at: number, entryValidMs: number): number {
  buf.fill(0, at, at + ENTRY_BYTES)
  putValid(buf, at + 16, at + 32, entryValidMs)
  putU32(buf, at + 36, 0)
  return at + ENTRY_BYTES
}
