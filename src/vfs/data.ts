import { type ChunkId, FsError, type Ino, limits } from '../base/index.ts'
import { S_IFDIR, S_IFMT, S_IFREG } from '../meta/index.ts'
import { ExtentEditor, overlappingPart, type PlacedExtent } from '../store/index.ts'
import { punch } from './attributes.ts'
import { settledInode, withoutSetids } from './settled-inode.ts'
import type { Request, VolumeFs } from './volume-fs.ts'
import { dropCapability } from './xattrs.ts'

/** Bytes of files: read, write, fallocate, lseek, copy_file_range. */

const EXTENTS_COPIED_MAX = 4096

/**
 * Read [offset, offset + length) into `out` at `outAt`. Hot.
 * @returns bytes read, less than length only at the end of the file; holes are zeros
 * @throws FsError EIO for a range whose chunk is damaged or missing, EISDIR
 */
export function read(
  fs: VolumeFs,
  ino: Ino,
  offset: number,
  length: number,
  out: Buffer,
  outAt: number,
): number {
  for (;;) {
    try {
      return readOnce(fs, ino, offset, length, out, outAt)
    } catch (error) {
      // What was read by the map of a moment ago may be gone by now: the map is asked again (design §5).
      if (!fs.outdated) throw error
      fs.enter()
    }
  }
}

function readOnce(
  fs: VolumeFs,
  ino: Ino,
  offset: number,
  length: number,
  out: Buffer,
  outAt: number,
): number {
  const inode = fs.inode(ino)
  if ((inode.mode & S_IFMT) === S_IFDIR) throw new FsError('EISDIR', 'read', { ino })
  const staged = fs.staged.get(ino)
  const size = staged ? Math.max(inode.size, staged.intervals.end) : inode.size
  const count = Math.min(length, size - offset)
  if (count <= 0) return 0
  readCommitted(fs, ino, inode.bytes, offset, count, out, outAt)
  staged?.intervals.overlapping(offset, offset + count, (piece) => {
    const from = Math.max(piece.from, offset)
    const to = Math.min(piece.to, offset + count)
    const skip = piece.skip + (from - piece.from)
    fs.staging.read(piece.staged, skip, out, outAt + (from - offset), to - from)
  })
  return count
}

function readCommitted(
  fs: VolumeFs,
  ino: Ino,
  bytes: number,
  offset: number,
  count: number,
  out: Buffer,
  outAt: number,
): void {
  const extents = bytes > 0 ? fs.extents.overlapping(ino, offset, offset + count) : []
  readExtents(extents, offset, count, out, outAt, (chunk, at, length, to) =>
    fs.readChunk(chunk, at, length, out, to),
  )
}

/** Reads plain bytes [at, at + length) of a chunk to `outAt`. */
type ReadChunk = (chunk: ChunkId, at: number, length: number, outAt: number) => void

/** Hot. Bytes of a range by its extents, which are in order; what lies between them is zeros. Others are passed over. */
export function readExtents(
  extents: readonly PlacedExtent[],
  offset: number,
  count: number,
  out: Buffer,
  outAt: number,
  readChunk: ReadChunk,
): void {
  const end = offset + count
  let filled = offset
  for (const { offset: start, extent } of overlappingPart(extents, offset, end)) {
    const from = Math.max(start, offset)
    const to = Math.min(start + extent.length, end)
    if (from > filled) out.fill(0, outAt + (filled - offset), outAt + (from - offset))
    const at = outAt + (from - offset)
    switch (extent.kind) {
      case 'inline':
        extent.data.copy(out, at, from - start, to - start)
        break
      case 'zero':
        out.fill(0, at, at + (to - from))
        break
      case 'chunk':
        readChunk(extent.chunk, extent.at + (from - start), to - from, at)
        break
    }
    filled = to
  }
  if (filled < end) out.fill(0, outAt + (filled - offset), outAt + count)
}

/** Where the bytes of a range of a file are. */
export interface FileMap {
  /** Of the file, in bytes. */
  readonly size: number
  /** The range is [from, to). */
  readonly from: number
  readonly to: number
  /** All that overlap the range, in order. */
  readonly extents: readonly PlacedExtent[]
}

/** @returns the map of a file from an offset on, as far as so many extents reach; null while bytes of it are staged alone */
export function fileMap(fs: VolumeFs, ino: Ino, from: number, extentsMax: number): FileMap | null {
  const { size, bytes } = fs.inode(ino)
  const staged = fs.staged.get(ino)?.intervals.list.length ?? 0
  if (staged > 0 || from >= size) return null
  const found = bytes > 0 ? fs.extents.first(ino, from, size, extentsMax + 1) : []
  const extents = found.slice(0, extentsMax)
  return { size, from, to: found[extentsMax]?.offset ?? size, extents }
}

/**
 * Stage one write. The data lies in `buffer` behind at least stagedHeaderBytes that may be overwritten.
 * @param append the offset is the end of the file, whatever the kernel computed (design §5)
 * @throws FsError ENOSPC when volume or drive is full, EFBIG, EROFS
 */
export function write(
  fs: VolumeFs,
  request: Request,
  ino: Ino,
  offset: number,
  buffer: Buffer,
  dataAt: number,
  length: number,
  how: { append: boolean; killSetids: boolean },
): void {
  const { writer } = fs
  const { shared } = fs.volume
  const inode = fs.inode(ino)
  if ((inode.mode & S_IFMT) !== S_IFREG) throw new FsError('EINVAL', 'write', { ino })
  if (shared.state !== 0) throw new FsError('EROFS', 'write', { ino })
  const staged = fs.staged.get(ino)
  const at = how.append ? Math.max(inode.size, staged?.intervals.end ?? 0) : offset
  if (at + length > limits.fileBytesMax) throw new FsError('EFBIG', 'write', { ino })
  if (length === 0) return
  if (how.killSetids && withoutSetids(inode.mode) !== inode.mode) {
    fs.change(null, (draft) => {
      const plain = settledInode(fs, ino)
      fs.putInode(draft, ino, { ...plain, mode: withoutSetids(plain.mode) })
      dropCapability(fs, draft, ino)
    })
  }
  reserve(fs, ino, at, length)
  const { sec, nsec } = fs.now()
  const number = shared.stagedNumber + 1
  const { uniqueLo, uniqueHi } = request
  fs.staged.add(
    writer.append(
      { number, ino, offset: at, length, sec, nsec, uniqueLo, uniqueHi, mount: fs.world.mount },
      buffer,
      dataAt,
    ),
  )
  shared.stagedBytes += length
  shared.stagedNumber = number
  if (shared.stagedBytes - shared.committedBytes >= limits.chunkBytesMax) fs.world.wakeEngine()
  else fs.wakeEngine()
}

/** Room for `length` bytes in staging, on the drives and in the volume, or ENOSPC before anything is accepted. */
function reserve(fs: VolumeFs, ino: Ino, offset: number, length: number): void {
  const { shared } = fs.volume
  if (shared.stagedBytes - shared.committedBytes > limits.stagingBytesMax) {
    fs.world.wakeEngine()
    shared.waitForProgress(
      () =>
        shared.stagedBytes - shared.committedBytes <= limits.stagingBytesMax / 2 ||
        shared.stopped ||
        shared.freeBytes <= 0,
    )
    if (shared.stopped) throw fs.volume.stoppedError()
  }
  const staged = shared.stagedBytes - shared.committedBytes
  if (!fs.volume.hasRoom(staged + length)) {
    fs.world.wakeEngine()
    throw new FsError('ENOSPC', 'write', { volume: fs.volume.name, message: 'the drives are full' })
  }
  reserveQuota(fs, 'write', ino, offset, length)
}

/** @throws FsError ENOSPC when the bytes of a range that no extent covers yet do not fit the volume */
function reserveQuota(fs: VolumeFs, op: string, ino: Ino, offset: number, length: number): void {
  const { shared } = fs.volume
  const staged = shared.stagedBytes - shared.committedBytes
  if (shared.usedBytes + staged + length <= shared.sizeBytes) return
  // What is staged may cover the same range, or what is there already: exact once it is committed.
  fs.flushThrough(shared.stagedNumber)
  if (shared.usedBytes + uncovered(fs, ino, offset, length) > shared.sizeBytes) {
    const { name } = fs.volume
    throw new FsError('ENOSPC', op, { volume: name, message: `volume ${name} is full` })
  }
}

/** Bytes of a range that no extent covers: what a write there adds to the volume. */
function uncovered(fs: VolumeFs, ino: Ino, offset: number, length: number): number {
  let count = length
  for (const { offset: start, extent } of fs.extents.overlapping(ino, offset, offset + length)) {
    count -= Math.min(start + extent.length, offset + length) - Math.max(start, offset)
  }
  return count
}

export const FALLOC_FL_KEEP_SIZE = 0x01
export const FALLOC_FL_PUNCH_HOLE = 0x02
export const FALLOC_FL_ZERO_RANGE = 0x10

/** @throws FsError EOPNOTSUPP for other modes, ENOSPC, EFBIG */
export function fallocate(
  fs: VolumeFs,
  ino: Ino,
  mode: number,
  offset: number,
  length: number,
): void {
  const inode = fs.inode(ino)
  if ((inode.mode & S_IFMT) !== S_IFREG) throw new FsError('ENODEV', 'fallocate', { ino })
  const end = offset + length
  if (end > limits.fileBytesMax) throw new FsError('EFBIG', 'fallocate', { ino })
  const keep = (mode & FALLOC_FL_KEEP_SIZE) !== 0
  const kind = mode & ~FALLOC_FL_KEEP_SIZE
  fs.flush(ino)
  if (kind === FALLOC_FL_PUNCH_HOLE && keep) {
    punch(fs, ino, offset, end)
  } else if (kind === FALLOC_FL_ZERO_RANGE) {
    punch(fs, ino, offset, end)
    fillHoles(fs, ino, offset, end, keep)
  } else if (kind === 0) {
    fillHoles(fs, ino, offset, end, keep)
  } else {
    throw new FsError('EOPNOTSUPP', 'fallocate', { mode })
  }
  const now = fs.now()
  fs.change(null, (draft) => {
    fs.putInode(draft, ino, { ...settledInode(fs, ino), mtime: now, ctime: now })
  })
}

function fillHoles(fs: VolumeFs, ino: Ino, offset: number, end: number, keep: boolean): void {
  reserveQuota(fs, 'fallocate', ino, offset, end - offset)
  fs.change(null, (draft) => {
    const editor = new ExtentEditor(draft, ino)
    let at = offset
    for (const { offset: start, extent } of fs.extents.overlapping(ino, offset, end)) {
      if (start > at) editor.put(at, { kind: 'zero', length: start - at })
      at = start + extent.length
    }
    if (at < end) editor.put(at, { kind: 'zero', length: end - at })
    const inode = settledInode(fs, ino)
    inode.bytes += editor.bytesDelta
    if (!keep) inode.size = Math.max(inode.size, end)
    fs.putInode(draft, ino, inode)
  })
  fs.extents.forget(ino)
}

const SEEK_DATA = 3
const SEEK_HOLE = 4

/** SEEK_DATA and SEEK_HOLE. @throws FsError ENXIO beyond the end, EINVAL for another whence */
export function lseek(fs: VolumeFs, ino: Ino, offset: number, whence: number): number {
  fs.flush(ino)
  const { size } = fs.inode(ino)
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) throw new FsError('EINVAL', 'lseek', { whence })
  if (offset >= size) throw new FsError('ENXIO', 'lseek', { ino })
  let at = offset
  for (const { offset: start, extent } of fs.extents.overlapping(ino, offset, size)) {
    if (extent.kind === 'zero') continue
    if (whence === SEEK_DATA) return Math.max(start, offset)
    if (start > at) break
    at = Math.min(start + extent.length, size)
  }
  if (whence === SEEK_DATA) throw new FsError('ENXIO', 'lseek', { ino })
  return at
}

/**
 * Let a range of another file share the source's extents; no byte is copied.
 * @returns bytes done, possibly fewer than asked, as copy_file_range(2) allows
 */
export function copyFileRange(
  fs: VolumeFs,
  request: Request,
  from: { ino: Ino; offset: number },
  to: { ino: Ino; offset: number },
  length: number,
): number {
  fs.flush(from.ino)
  fs.flush(to.ino)
  const source = fs.inode(from.ino)
  if ((source.mode & S_IFMT) !== S_IFREG || (fs.inode(to.ino).mode & S_IFMT) !== S_IFREG) {
    throw new FsError('EINVAL', 'copy_file_range', { ino: from.ino })
  }
  let count = Math.min(length, source.size - from.offset)
  if (count <= 0) return 0
  if (to.offset + count > limits.fileBytesMax) throw new FsError('EFBIG', 'copy_file_range', {})
  reserveQuota(fs, 'copy_file_range', to.ino, to.offset, count)
  fs.change(request, (draft) => {
    // Under the lock: the engine may be moving them to another chunk.
    const extents = fs.extents.overlapping(from.ino, from.offset, from.offset + count)
    const cut = extents[EXTENTS_COPIED_MAX]
    if (cut) {
      extents.length = EXTENTS_COPIED_MAX
      count = cut.offset - from.offset
    }
    const editor = new ExtentEditor(draft, to.ino)
    if (editor.carve(to.offset, to.offset + count, EXTENTS_COPIED_MAX) < to.offset + count) {
      throw new FsError('EOPNOTSUPP', 'copy_file_range', {
        message: 'target range has too many extents',
      })
    }
    for (const { offset: start, extent } of extents) {
      const a = Math.max(start, from.offset)
      const b = Math.min(start + extent.length, from.offset + count)
      const at = to.offset + (a - from.offset)
      if (extent.kind === 'chunk') {
        editor.put(at, { ...extent, at: extent.at + (a - start), length: b - a })
      } else if (extent.kind === 'inline') {
        const data = Buffer.from(extent.data.subarray(a - start, b - start))
        editor.put(at, { kind: 'inline', length: b - a, data })
      } else {
        editor.put(at, { kind: 'zero', length: b - a })
      }
    }
    const now = fs.now()
    const inode = settledInode(fs, to.ino)
    inode.bytes += editor.bytesDelta
    inode.size = Math.max(inode.size, to.offset + count)
    inode.mtime = now
    inode.ctime = now
    fs.putInode(draft, to.ino, inode)
  })
  fs.extents.forget(to.ino)
  return count
}
