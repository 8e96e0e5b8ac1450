import {
  assert,
  type ChunkId,
  CorruptError,
  codeOf,
  type DriveId,
  FsError,
  limits,
} from '../base/index.ts'
import { tagBytes } from '../crypto/index.ts'
import { alignedBuffer, type ChunkFiles } from '../disk/index.ts'
import type { Drive } from '../drives/index.ts'
import { chunkPath } from './chunk-path.ts'
import { BLOCK_BYTES, type ChunkHeader, decodeHeaderMended, layoutOf } from './header.ts'

/** A chunk with its descriptor, parsed header and tag table at hand. */
export interface OpenChunk {
  readonly id: ChunkId
  readonly drive: Drive
  readonly driveId: DriveId
  readonly fd: number
  /** Never given twice; names its pages in PlainPages. */
  readonly serial: number
  readonly header: ChunkHeader
  readonly pageCount: number
  readonly dataAt: number
  readonly backPointerAt: number
  readonly fileBytes: number
  readonly tags: Buffer
  /** The 16 bytes of the id. */
  readonly nonceBase: Buffer
}

/** Header and tag table of a chunk with pages of the usual size, in one read. */
const FRONT_BYTES = 3 * BLOCK_BYTES

/** Descriptors of chunks, least recently used closed first. One per ChunkStore, so one per thread. */
export class OpenChunks {
  readonly #files: ChunkFiles
  readonly #most: number
  readonly #byId = new Map<ChunkId, OpenChunk>()
  readonly #front = alignedBuffer(FRONT_BYTES)
  #newest: OpenChunk | null = null
  #serials = 0

  constructor(files: ChunkFiles, most: number) {
    this.#files = files
    this.#most = most
  }

  /** Hot: one map lookup, for the last one used not even that. Undefined when it is not open. */
  find(id: ChunkId): OpenChunk | undefined {
    const newest = this.#newest
    if (newest !== null && newest.id === id) return newest
    const known = this.#byId.get(id)
    if (known === undefined) return undefined
    this.#byId.delete(id)
    this.#byId.set(id, known)
    this.#newest = known
    return known
  }

  /**
   * Open and keep one that is not open.
   * @throws CorruptError {chunk, missing: true} or of the header; FsError EIO when the drive fails
   */
  open(id: ChunkId, drive: Drive): OpenChunk {
    const opened = this.openUnkept(id, drive)
    while (this.#byId.size >= this.#most) this.#dropOldest()
    this.#byId.set(id, opened)
    this.#newest = opened
    return opened
  }

  /** Open without keeping: the caller closes `fd`. For walks over many chunks, which would empty the rest. */
  openUnkept(id: ChunkId, drive: Drive): OpenChunk {
    const fd = this.#openFile(id, drive)
    try {
      const count = readFrom(this.#files, drive, id, fd, this.#front, FRONT_BYTES, 0)
      const header = decodeHeaderMended(this.#front, count, id)
      const layout = layoutOf(header.plainBytes, header.pageBytes, header.backPointerBytes)
      const tags = Buffer.allocUnsafeSlow(layout.pageCount * tagBytes)
      this.#readTags(tags, count, id, drive, fd)
      return {
        id,
        drive,
        driveId: drive.id,
        fd,
        serial: ++this.#serials,
        header,
        pageCount: layout.pageCount,
        dataAt: layout.dataAt,
        backPointerAt: layout.backPointerAt,
        fileBytes: layout.fileBytes,
        tags,
        nonceBase: Buffer.from(id, 'hex'),
      }
    } catch (error) {
      this.#files.close(fd)
      throw error
    }
  }

  drop(id: ChunkId): void {
    const chunk = this.#byId.get(id)
    if (chunk === undefined) return
    this.#byId.delete(id)
    if (this.#newest === chunk) this.#newest = null
    this.#files.close(chunk.fd)
  }

  /** Close everything, or what lies on one drive. */
  clear(drive?: Drive): void {
    for (const [id, chunk] of this.#byId) {
      if (drive === undefined || chunk.drive === drive) this.drop(id)
    }
  }

  get size(): number {
    return this.#byId.size
  }

  #openFile(id: ChunkId, drive: Drive): number {
    const path = chunkPath(drive, id)
    try {
      return this.#files.open(path)
    } catch (error) {
      const code = codeOf(error)
      if (code === 'ENOENT' && drive.present()) {
        const subject = { chunk: id, drive: drive.id, missing: true }
        throw new CorruptError('chunk is missing', subject, error)
      }
      if ((code === 'EMFILE' || code === 'ENFILE') && this.#byId.size > 0) {
        // Descriptors are short in the whole process: give back half of ours and try once more.
        for (let left = Math.ceil(this.#byId.size / 2); left > 0; left--) this.#dropOldest()
        return this.#files.open(path)
      }
      throw driveFailed(drive, id, 'chunk.open', error)
    }
  }

  #readTags(tags: Buffer, frontBytes: number, id: ChunkId, drive: Drive, fd: number): void {
    const inFront = Math.min(tags.length, Math.max(0, frontBytes - BLOCK_BYTES))
    this.#front.copy(tags, 0, BLOCK_BYTES, BLOCK_BYTES + inFront)
    if (inFront === tags.length) return
    const rest = tags.subarray(inFront)
    const count = readFrom(this.#files, drive, id, fd, rest, rest.length, BLOCK_BYTES + inFront)
    if (count < rest.length) {
      const subject = { chunk: id, drive: drive.id, part: 'tags' }
      throw new CorruptError('chunk file ends inside its tag table', subject)
    }
  }

  #dropOldest(): void {
    for (const id of this.#byId.keys()) {
      this.drop(id)
      return
    }
    assert(false, 'there is a chunk to close')
  }
}

/** Bytes read from the start of `into`. @throws FsError EIO, and the drive is marked */
export function readFrom(
  files: ChunkFiles,
  drive: Drive,
  id: ChunkId,
  fd: number,
  into: Buffer,
  length: number,
  position: number,
): number {
  try {
    return files.read(fd, into, 0, length, position)
  } catch (error) {
    throw driveFailed(drive, id, 'chunk.read', error)
  }
}

/** Codes that say nothing about the drive: this process or machine is short of something. */
const NOT_THE_DRIVE = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EACCES', 'EPERM', 'EINTR'])

/** EIO for the caller; the drive is marked when the error is its own. A bug passes as it is. */
export function driveFailed(drive: Drive, chunk: ChunkId, op: string, cause: unknown): unknown {
  if (!(cause instanceof FsError)) return cause
  if (!NOT_THE_DRIVE.has(cause.code)) drive.fail(cause)
  return new FsError('EIO', op, { chunk, drive: drive.id, retry: 'later', cause })
}

assert(
  (limits.chunkBytesMax / limits.chunkPageBytes) * tagBytes <= FRONT_BYTES - BLOCK_BYTES,
  'tags of a full chunk fit the first read',
)
