import {
  ByteReader,
  ByteWriter,
  type ChunkId,
  CorruptError,
  type DriveId,
  type Ino,
  type Timespec,
} from '../base/index.ts'

/** Values of the view, as plain bytes; the view seals them. Byte tables: docs/format.md §3. */

export const S_IFMT = 0o170000
export const S_IFSOCK = 0o140000
export const S_IFLNK = 0o120000
export const S_IFREG = 0o100000
export const S_IFBLK = 0o060000
export const S_IFDIR = 0o040000
export const S_IFCHR = 0o020000
export const S_IFIFO = 0o010000

export interface Inode {
  mode: number
  nlink: number
  uid: number
  gid: number
  rdev: number
  /** Bytes a read may return; holes included. */
  size: number
  /** Bytes that extents cover; what the quota counts. */
  bytes: number
  atime: Timespec
  mtime: Timespec
  ctime: Timespec
  btime: Timespec
  /** Epoch that made the inode: st_gen for NFS, and the guard against a number from another life. */
  generation: number
  /** Journal sequence of the last change: what a kernel cache is compared with. */
  version: number
  /** Staged writes up to this number must not touch the times any more: somebody set them since. */
  timesSetAt: number
  /** Staged writes up to this number are in the extents, or were cut off again, whatever else is still staged. */
  dataThrough: number
  /** Whether the inode may have extended attributes: spares a look for each file that has none. */
  xattrs: boolean
  /** Directories: the parent, for `..` and for fsck. Others: 0. */
  parent: Ino
  /** Symlinks: the target bytes. */
  target: Buffer | null
}

/** Hot: spelled out, because a spread copies property by property through a slow path. Times are shared: nobody changes them. */
export function copyInode(inode: Inode): Inode {
  return {
    mode: inode.mode,
    nlink: inode.nlink,
    uid: inode.uid,
    gid: inode.gid,
    rdev: inode.rdev,
    size: inode.size,
    bytes: inode.bytes,
    atime: inode.atime,
    mtime: inode.mtime,
    ctime: inode.ctime,
    btime: inode.btime,
    generation: inode.generation,
    version: inode.version,
    timesSetAt: inode.timesSetAt,
    dataThrough: inode.dataThrough,
    xattrs: inode.xattrs,
    parent: inode.parent,
    target: inode.target,
  }
}

const INODE_VERSION = 2
const INODE_FIXED_BYTES = 1 + 5 * 4 + 2 * 8 + 4 * 12 + 5 * 8 + 1 + 2
const INODE_HAS_XATTRS = 1

export function encodeInode(inode: Inode): Buffer {
  const target = inode.target
  const out = Buffer.allocUnsafe(INODE_FIXED_BYTES + (target?.length ?? 0))
  out[0] = INODE_VERSION
  out.writeUInt32LE(inode.mode, 1)
  out.writeUInt32LE(inode.nlink, 5)
  out.writeUInt32LE(inode.uid, 9)
  out.writeUInt32LE(inode.gid, 13)
  out.writeUInt32LE(inode.rdev, 17)
  out.writeDoubleLE(inode.size, 21)
  out.writeDoubleLE(inode.bytes, 29)
  putTime(out, 37, inode.atime)
  putTime(out, 49, inode.mtime)
  putTime(out, 61, inode.ctime)
  putTime(out, 73, inode.btime)
  out.writeDoubleLE(inode.generation, 85)
  out.writeDoubleLE(inode.version, 93)
  out.writeDoubleLE(inode.timesSetAt, 101)
  out.writeDoubleLE(inode.parent, 109)
  out.writeDoubleLE(inode.dataThrough, 117)
  out[125] = inode.xattrs ? INODE_HAS_XATTRS : 0
  out.writeUInt16LE(target?.length ?? 0, 126)
  if (target) target.copy(out, INODE_FIXED_BYTES)
  return out
}

/** @throws CorruptError when the bytes are not an inode of a version this build reads */
export function decodeInode(value: Buffer): Inode {
  if (value.length < INODE_FIXED_BYTES || value[0] !== INODE_VERSION) {
    throw new CorruptError('not an inode value', { bytes: value.length, version: value[0] })
  }
  const targetBytes = value.readUInt16LE(126)
  return {
    mode: value.readUInt32LE(1),
    nlink: value.readUInt32LE(5),
    uid: value.readUInt32LE(9),
    gid: value.readUInt32LE(13),
    rdev: value.readUInt32LE(17),
    size: value.readDoubleLE(21),
    bytes: value.readDoubleLE(29),
    atime: getTime(value, 37),
    mtime: getTime(value, 49),
    ctime: getTime(value, 61),
    btime: getTime(value, 73),
    generation: value.readDoubleLE(85),
    version: value.readDoubleLE(93),
    timesSetAt: value.readDoubleLE(101),
    dataThrough: value.readDoubleLE(117),
    xattrs: ((value[125] as number) & INODE_HAS_XATTRS) !== 0,
    parent: value.readDoubleLE(109) as Ino,
    target:
      targetBytes > 0
        ? Buffer.from(value.subarray(INODE_FIXED_BYTES, INODE_FIXED_BYTES + targetBytes))
        : null,
  }
}

function putTime(out: Buffer, at: number, time: Timespec): void {
  out.writeDoubleLE(time.sec, at)
  out.writeUInt32LE(time.nsec, at + 8)
}

function getTime(value: Buffer, at: number): Timespec {
  return { sec: value.readDoubleLE(at), nsec: value.readUInt32LE(at + 8) }
}

/** One name of a directory. `type` is the S_IFMT part of the mode shifted down by 12, as in struct dirent. */
export interface Dirent {
  ino: Ino
  type: number
  name: Buffer
}

/** Names whose hash is the same share a bucket; almost always one. */
export function encodeDirents(bucket: readonly Dirent[]): Buffer {
  let bytes = 0
  for (const entry of bucket) bytes += 10 + entry.name.length
  const out = Buffer.allocUnsafe(bytes)
  let at = 0
  for (const entry of bucket) {
    out.writeDoubleLE(entry.ino, at)
    out[at + 8] = entry.type
    out[at + 9] = entry.name.length
    entry.name.copy(out, at + 10)
    at += 10 + entry.name.length
  }
  return out
}

export function decodeDirents(value: Buffer): Dirent[] {
  const bucket: Dirent[] = []
  let at = 0
  while (at < value.length) {
    const nameBytes = value[at + 9]
    if (nameBytes === undefined || at + 10 + nameBytes > value.length) {
      throw new CorruptError('directory entry cut short')
    }
    bucket.push({
      ino: value.readDoubleLE(at) as Ino,
      type: value[at + 8] as number,
      name: value.subarray(at + 10, at + 10 + nameBytes),
    })
    at += 10 + nameBytes
  }
  return bucket
}

export interface Xattr {
  name: Buffer
  value: Buffer
}

export function encodeXattrs(bucket: readonly Xattr[]): Buffer {
  const writer = new ByteWriter()
  for (const { name, value } of bucket) writer.u8(name.length).bytes(name).sized(value)
  return writer.finish()
}

export function decodeXattrs(value: Buffer): Xattr[] {
  const reader = new ByteReader(value)
  const bucket: Xattr[] = []
  while (reader.left > 0) {
    const name = reader.bytes(reader.u8())
    bucket.push({ name, value: reader.sized(reader.left) })
  }
  return bucket
}

/** Where the bytes of one file range are. */
export type Extent =
  | { kind: 'chunk'; length: number; chunk: ChunkId; at: number }
  | { kind: 'inline'; length: number; data: Buffer }
  /** Allocated by fallocate, reads as zeros, counts for the quota. */
  | { kind: 'zero'; length: number }

const EXTENT_CHUNK = 1
const EXTENT_INLINE = 2
const EXTENT_ZERO = 3

export function encodeExtent(extent: Extent): Buffer {
  switch (extent.kind) {
    case 'chunk': {
      const out = Buffer.allocUnsafe(29)
      out[0] = EXTENT_CHUNK
      out.writeDoubleLE(extent.length, 1)
      out.writeUInt32LE(extent.at, 9)
      out.write(extent.chunk, 13, 'hex')
      return out
    }
    case 'inline': {
      const out = Buffer.allocUnsafe(1 + extent.data.length)
      out[0] = EXTENT_INLINE
      extent.data.copy(out, 1)
      return out
    }
    case 'zero': {
      const out = Buffer.allocUnsafe(9)
      out[0] = EXTENT_ZERO
      out.writeDoubleLE(extent.length, 1)
      return out
    }
  }
}

/** @throws CorruptError */
export function decodeExtent(value: Buffer): Extent {
  const kind = value[0]
  if (kind === EXTENT_CHUNK && value.length === 29) {
    return {
      kind: 'chunk',
      length: value.readDoubleLE(1),
      at: value.readUInt32LE(9),
      chunk: value.toString('hex', 13, 29) as ChunkId,
    }
  }
  if (kind === EXTENT_INLINE) {
    return { kind: 'inline', length: value.length - 1, data: value.subarray(1) }
  }
  if (kind === EXTENT_ZERO && value.length === 9) {
    return { kind: 'zero', length: value.readDoubleLE(1) }
  }
  throw new CorruptError('not an extent value', { bytes: value.length, kind })
}

/** What the view knows of one chunk. A chunk without live bytes has no value: it is deleted. */
export interface ChunkInfo {
  drive: DriveId
  keyEpoch: number
  plainBytes: number
  storedBytes: number
  /** Plain bytes that extents name; more than plainBytes when files share them. */
  liveBytes: number
}

export function encodeChunkInfo(info: ChunkInfo): Buffer {
  const out = Buffer.allocUnsafe(36)
  out.write(info.drive, 0, 'hex')
  out.writeUInt32LE(info.keyEpoch, 16)
  out.writeUInt32LE(info.plainBytes, 20)
  out.writeUInt32LE(info.storedBytes, 24)
  out.writeDoubleLE(info.liveBytes, 28)
  return out
}

export function decodeChunkInfo(value: Buffer): ChunkInfo {
  if (value.length !== 36) throw new CorruptError('not a chunk value', { bytes: value.length })
  return {
    drive: value.toString('hex', 0, 16) as DriveId,
    keyEpoch: value.readUInt32LE(16),
    plainBytes: value.readUInt32LE(20),
    storedBytes: value.readUInt32LE(24),
    liveBytes: value.readDoubleLE(28),
  }
}

/** Totals of a volume, rewritten with every record that changes them. */
export interface Totals {
  bytes: number
  inodes: number
  inlineBytes: number
  /** Inode numbers below this were reserved by a committed record; the next block starts here. */
  inoReserved: number
  /** Last staged write of this boot up to which records cover all. */
  stagedNumber: number
  /** Last number that was given to a staged write: inodes may name it, so that no later boot gives it again. */
  stagedGiven: number
  /** The boot that the staged writes are of (16 bytes). */
  boot: Buffer
}

const TOTALS_BYTES = 64

export function encodeTotals(totals: Totals): Buffer {
  const out = Buffer.allocUnsafe(TOTALS_BYTES)
  out.writeDoubleLE(totals.bytes, 0)
  out.writeDoubleLE(totals.inodes, 8)
  out.writeDoubleLE(totals.inlineBytes, 16)
  out.writeDoubleLE(totals.inoReserved, 24)
  out.writeDoubleLE(totals.stagedNumber, 32)
  out.writeDoubleLE(totals.stagedGiven, 40)
  totals.boot.copy(out, 48, 0, 16)
  return out
}

export function decodeTotals(value: Buffer): Totals {
  if (value.length !== TOTALS_BYTES)
    throw new CorruptError('not a totals value', { bytes: value.length })
  return {
    bytes: value.readDoubleLE(0),
    inodes: value.readDoubleLE(8),
    inlineBytes: value.readDoubleLE(16),
    inoReserved: value.readDoubleLE(24),
    stagedNumber: value.readDoubleLE(32),
    stagedGiven: value.readDoubleLE(40),
    boot: Buffer.from(value.subarray(48, TOTALS_BYTES)),
  }
}

/** What a change answered, kept for a request that was executed and whose answer was lost (design §6.12). */
export interface Answer {
  uniqueLo: number
  uniqueHi: number
  /** Inode the reply is about, 0 when it carries none. */
  ino: Ino
}

export function encodeAnswer(answer: Answer): Buffer {
  const out = Buffer.allocUnsafe(16)
  out.writeUInt32LE(answer.uniqueLo, 0)
  out.writeUInt32LE(answer.uniqueHi, 4)
  out.writeDoubleLE(answer.ino, 8)
  return out
}

export function decodeAnswer(value: Buffer): Answer {
  if (value.length !== 16) throw new CorruptError('not an answer value', { bytes: value.length })
  return {
    uniqueLo: value.readUInt32LE(0),
    uniqueHi: value.readUInt32LE(4),
    ino: value.readDoubleLE(8) as Ino,
  }
}
