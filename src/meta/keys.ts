import type { ChunkId, Ino } from '../base/index.ts'

/**
 * Keys of the view: one letter for the kind, then big-endian numbers, so that LMDB's byte order is the order a range
 * wants. They show structure only; names appear as keyed hashes (design §4). Byte tables: docs/format.md §3.
 *
 *   i ino            inode                       d ino hash   directory entry (bucket of names with one hash)
 *   e ino offset     extent of a file            x ino hash   extended attribute (bucket)
 *   c chunk          chunk, its live bytes       o ino        nameless inode, kept while a kernel knows it
 *   p ino offset     extent kept inline          a mount      last answered change of one mount (design §6.12)
 *   s                volume totals               k            checkpoint manifest
 */
export const KIND = {
  inode: 0x69,
  dirent: 0x64,
  extent: 0x65,
  xattr: 0x78,
  chunk: 0x63,
  orphan: 0x6f,
  packable: 0x70,
  answer: 0x61,
  totals: 0x73,
  checkpoint: 0x6b,
} as const

const TWO_32 = 0x1_0000_0000

function putNumber(key: Buffer, at: number, value: number): void {
  key.writeUInt32BE(Math.floor(value / TWO_32), at)
  key.writeUInt32BE(value % TWO_32, at + 4)
}

function getNumber(key: Buffer, at: number): number {
  return key.readUInt32BE(at) * TWO_32 + key.readUInt32BE(at + 4)
}

function numbered(kind: number, value: number): Buffer {
  const key = Buffer.allocUnsafe(9)
  key[0] = kind
  putNumber(key, 1, value)
  return key
}

export const inodeKey = (ino: Ino): Buffer => numbered(KIND.inode, ino)
export const orphanKey = (ino: Ino): Buffer => numbered(KIND.orphan, ino)
export const answerKey = (mount: number): Buffer => numbered(KIND.answer, mount)
export const totalsKey = (): Buffer => Buffer.from([KIND.totals])
export const checkpointKey = (): Buffer => Buffer.from([KIND.checkpoint])

function offsetKey(kind: number, ino: Ino, offset: number): Buffer {
  const key = Buffer.allocUnsafe(17)
  key[0] = kind
  putNumber(key, 1, ino)
  putNumber(key, 9, offset)
  return key
}

export const extentKey = (ino: Ino, offset: number): Buffer => offsetKey(KIND.extent, ino, offset)
export const packableKey = (ino: Ino, offset: number): Buffer =>
  offsetKey(KIND.packable, ino, offset)

/** @param hash 8 bytes of crypto.nameHash, already a legal cookie (see dirCookie) */
function hashedKey(kind: number, ino: Ino, hash: Buffer): Buffer {
  const key = Buffer.allocUnsafe(17)
  key[0] = kind
  putNumber(key, 1, ino)
  hash.copy(key, 9, 0, 8)
  return key
}

export const direntKey = (parent: Ino, hash: Buffer): Buffer => hashedKey(KIND.dirent, parent, hash)
export const xattrKey = (ino: Ino, hash: Buffer): Buffer => hashedKey(KIND.xattr, ino, hash)

export function chunkKey(chunk: ChunkId): Buffer {
  const key = Buffer.allocUnsafe(17)
  key[0] = KIND.chunk
  key.write(chunk, 1, 'hex')
  return key
}

export const inoOfKey = (key: Buffer): Ino => getNumber(key, 1) as Ino
export const offsetOfKey = (key: Buffer): number => getNumber(key, 9)
export const chunkOfKey = (key: Buffer): ChunkId => key.toString('hex', 1, 17) as ChunkId

/** First key after every key that begins with `kind, ino`. */
export const endOfIno = (kind: number, ino: Ino): Buffer => numbered(kind, ino + 1)
export const startOfIno = (kind: number, ino: Ino): Buffer => numbered(kind, ino)
