import {
  assert,
  type ChunkId,
  CorruptError,
  codeOf,
  type DriveId,
  FsError,
  type KeyEpoch,
  limits,
} from '../base/index.ts'
import { openPage, tagBytes, wipePageKey } from '../crypto/index.ts'
import {
  alignedBuffer,
  type ChunkFiles,
  sharedAlignedBuffer,
  systemChunkFiles,
} from '../disk/index.ts'
import type { Drive, ServiceClass } from '../drives/index.ts'
import {
  chunkDirectory,
  chunkPath,
  chunksDirectory,
  PREFIXES,
  QUARANTINE_NAME,
  quarantineDirectory,
} from './chunk-path.ts'
import { type ChunkHeader, chunkFileBytesMax, roundUp } from './header.ts'
import { driveFailed, type OpenChunk, OpenChunks, readFrom } from './open-chunks.ts'
import { type Placing, passOver, prepareDrive, reserveDrive } from './place-chunk.ts'
import { PlainPages } from './plain-pages.ts'
import { type ScrubReport, scrubChunk } from './scrub-chunk.ts'
import { type ChunkReader, type ChunkSeal, openBackPointer, sealChunk } from './seal-chunk.ts'

export interface PutOptions extends ChunkSeal {
  /** Class of drive wanted; another is taken when none of it has room. */
  readonly cos?: ServiceClass
  /** May take from the headroom: checkpoints, and what reclaim rewrites to win space. */
  readonly urgent?: boolean
  /**
   * Lent the file that is to be stored, in memory that threads share, as soon as it is sealed: whoever wants it elsewhere
   * takes it from here and not from the drive. The put ends when this has settled too, and fails if it does.
   */
  readonly lend?: (file: Buffer) => Promise<void>
}

export interface PutResult {
  readonly drive: DriveId
  /** Bytes the file takes, whole blocks. */
  readonly storedBytes: number
}

export interface ChunkInfo extends ChunkHeader {
  readonly pageCount: number
  readonly storedBytes: number
}

export interface ChunkStoreOptions {
  readonly files?: ChunkFiles
  /** Descriptors kept open. */
  readonly openMost?: number
  /** Unsealed pages kept. */
  readonly pagesKept?: number
  /** Asked where a chunk is not found: all drives, when some have come or gone since they were asked for last; else null. */
  readonly look?: () => Iterable<Drive> | null
}

const OPEN_MOST = 512
const PAGES_KEPT = 64
/** One read takes this much: a whole request of the kernel, because each trip to a drive is a wait. */
const SCRATCH_BYTES = 1024 * 1024
/** Images of finished puts kept for the next ones. */
const IDLE_IMAGES_MOST = 3
/** Page numbers below this make one number with the open chunk's serial (4-MiB chunk of 4-KiB pages). */
const PAGES_PER_CHUNK_MAX = 1024
const CHUNK_ID = /^[0-9a-f]{32}$/

/**
 * Sealed chunks on the drives of this node, one object per thread. See index.ts for the contract.
 * What one thread deletes or moves, the others still hold open until `forget`; a chunk never
 * changes, so they read right bytes or none.
 */
export class ChunkStore {
  readonly #files: ChunkFiles
  readonly #drives = new Map<DriveId, Drive>()
  readonly #open: OpenChunks
  readonly #pages: PlainPages
  readonly #prepared = new Set<Drive>()
  readonly #idleImages: Buffer[] = []
  readonly #look: () => Iterable<Drive> | null
  /** null until the first read. */
  #scratch: Buffer | null = null
  /** For pages larger than a slot of #pages, which only an old or foreign setting makes. */
  #widePage: Buffer | null = null

  constructor(drives: Iterable<Drive>, options: ChunkStoreOptions = {}) {
    this.#files = options.files ?? systemChunkFiles
    this.#look = options.look ?? (() => null)
    this.#open = new OpenChunks(this.#files, options.openMost ?? OPEN_MOST)
    this.#pages = new PlainPages(options.pagesKept ?? PAGES_KEPT, limits.chunkPageBytes)
    for (const drive of drives) this.addDrive(drive)
  }

  addDrive(drive: Drive): void {
    const before = this.#drives.get(drive.id)
    if (before !== undefined && before !== drive) this.#open.clear(before)
    this.#drives.set(drive.id, drive)
  }

  removeDrive(id: DriveId): void {
    const drive = this.#drives.get(id)
    if (drive === undefined) return
    this.#open.clear(drive)
    this.#prepared.delete(drive)
    this.#drives.delete(id)
  }

  drives(): IterableIterator<Drive> {
    return this.#drives.values()
  }

  /** Use the drives there are now. @returns whether some have come or gone; hot when not */
  lookAtDrives(): boolean {
    const found = this.#look()
    if (found === null) return false
    const now = new Set(found)
    for (const drive of [...this.#drives.values()]) if (!now.has(drive)) this.removeDrive(drive.id)
    for (const drive of now) this.addDrive(drive)
    return true
  }

  /**
   * Seal and store a chunk; durable when the promise resolves. The sealing is done before the call
   * returns, so `plain` and `backPointer` are the caller's again at once. Several may be in flight;
   * the caller bounds them (each holds an image of up to 4.3 MiB).
   * After a failure nothing of it is left, and its id is used up: sealing other bytes under the
   * same id would use a nonce twice.
   * @throws FsError ENOSPC (no drive has room), EEXIST (id in use), EFBIG, E2BIG, EINVAL, EIO
   */
  async put(
    id: ChunkId,
    options: PutOptions,
    plain: Buffer,
    plainBytes: number,
    backPointer: Buffer,
  ): Promise<PutResult> {
    const put = this.#begin(id, options, plain, plainBytes, backPointer)
    const lent = options.lend?.(put.image.subarray(0, put.fileBytes))
    const [stored, taken] = await Promise.allSettled([this.#store(put), lent])
    this.#giveBack(put.image)
    if (stored.status === 'rejected') throw stored.reason
    if (taken.status === 'rejected') {
      // Nothing will name it. What stays is swept.
      await this.delete(id, stored.value.drive).catch(() => {})
      throw taken.reason
    }
    return stored.value
  }

  async #store(put: PutInFlight): Promise<PutResult> {
    const { id } = put
    for (;;) {
      const drive = reserveDrive(this.#drives.values(), put)
      let written = false
      try {
        this.#prepare(drive)
        await this.#files.write(chunkDirectory(drive, id), id, put.image, put.fileBytes)
        written = true
        return { drive: drive.id, storedBytes: put.storedBytes }
      } catch (error) {
        passOver(put, drive, error)
      } finally {
        drive.release(put.storedBytes, written)
      }
    }
  }

  /** As `put`, blocking this thread. */
  putSync(
    id: ChunkId,
    options: PutOptions,
    plain: Buffer,
    plainBytes: number,
    backPointer: Buffer,
  ): PutResult {
    const put = this.#begin(id, options, plain, plainBytes, backPointer)
    try {
      for (;;) {
        const drive = reserveDrive(this.#drives.values(), put)
        let written = false
        try {
          this.#prepare(drive)
          this.#files.writeSync(chunkDirectory(drive, id), id, put.image, put.fileBytes)
          written = true
          return { drive: drive.id, storedBytes: put.storedBytes }
        } catch (error) {
          passOver(put, drive, error)
        } finally {
          drive.release(put.storedBytes, written)
        }
      }
    } finally {
      this.#giveBack(put.image)
    }
  }

  /**
   * Hot. Copy plain bytes [plainAt, plainAt + length) of a chunk into `out` at `outAt`. What lies
   * outside that range in `out` is not touched; after an error its content is not defined inside.
   * @throws CorruptError {chunk, page} for the range of a damaged page alone, {chunk, missing: true},
   *   {chunk, part: 'header'}, or {chunk, plainBytes} when the range is not inside the chunk
   * @throws FsError EIO when the drive fails (drive.fail is called); what `keyOf` throws
   */
  readSync(
    id: ChunkId,
    driveId: DriveId,
    reader: ChunkReader,
    plainAt: number,
    length: number,
    out: Buffer,
    outAt: number,
  ): void {
    assert(plainAt >= 0 && length >= 0, 'a chunk is read forward')
    assert(outAt >= 0 && outAt + length <= out.length, 'a chunk is read into a buffer with room')
    const chunk = this.#opened(id, driveId)
    const { header } = chunk
    if (header.volume !== reader.volume) throw foreign(chunk, reader)
    const end = plainAt + length
    if (end > header.plainBytes) throw tooShort(chunk, plainAt, length)
    const key = reader.keyOf(header.keyEpoch)
    if (length === 0) return
    const { pageBytes } = header
    let first = Math.floor(plainAt / pageBytes)
    let last = Math.floor((end - 1) / pageBytes)
    // Pages of which the request takes only a part stand at its two ends, and may be kept unsealed.
    if (this.#copyKept(chunk, first, plainAt, end, out, outAt)) first++
    if (last > first && this.#copyKept(chunk, last, plainAt, end, out, outAt)) last--
    if (first > last) return
    try {
      this.#readPages(chunk, key, first, last, plainAt, end, out, outAt)
    } catch (error) {
      // It may be put anew, from another copy: the next read opens what stands there then.
      this.forget(id)
      throw error
    }
  }

  /** Epoch of the key that a chunk is sealed with. Hot when it is open. @throws as readSync */
  keyEpochOf(id: ChunkId, driveId: DriveId): KeyEpoch {
    return this.#opened(id, driveId).header.keyEpoch
  }

  /** Where a chunk is that `keyEpochOf` has just opened, or is opened now. @throws as readSync */
  driveOf(id: ChunkId, driveId: DriveId): Drive {
    return this.#opened(id, driveId).drive
  }

  /** The back-pointers given to `put`. @throws as readSync */
  backPointerSync(id: ChunkId, driveId: DriveId, reader: ChunkReader): Buffer {
    const chunk = this.#openUnkept(id, driveId)
    try {
      if (chunk.header.volume !== reader.volume) throw foreign(chunk, reader)
      const key = reader.keyOf(chunk.header.keyEpoch)
      const bytes = chunk.header.backPointerBytes
      const sealed = Buffer.allocUnsafe(bytes)
      const at = chunk.backPointerAt
      const count = readFrom(this.#files, chunk.drive, id, chunk.fd, sealed, bytes, at)
      if (count < bytes) {
        const subject = { chunk: id, drive: driveId, part: 'back-pointer' }
        throw new CorruptError('chunk file ends inside its back-pointers', subject)
      }
      return openBackPointer(chunk.header, sealed, key)
    } finally {
      this.#files.close(chunk.fd)
    }
  }

  /** Is there a file of this name on this drive, or on any where that is no drive of this node? Says nothing about its content. */
  has(id: ChunkId, driveId: DriveId): boolean {
    return this.#isOn(this.#drives.get(driveId) ?? this.#driveWith(id, driveId), id)
  }

  /** When the file was written, in milliseconds since 1970; null when there is none. */
  writtenMs(id: ChunkId, driveId: DriveId): number | null {
    const drive = this.#driveWith(id, driveId)
    try {
      return this.#files.writtenMs(chunkPath(drive, id))
    } catch (error) {
      throw driveFailed(drive, id, 'chunk.stat', error)
    }
  }

  /** What the header says. @throws CorruptError, FsError as readSync */
  statSync(id: ChunkId, driveId: DriveId): ChunkInfo {
    const chunk = this.#openUnkept(id, driveId)
    this.#files.close(chunk.fd)
    const { pageCount, fileBytes } = chunk
    return { ...chunk.header, pageCount, storedBytes: roundUp(fileBytes) }
  }

  /**
   * Who may delete is decided above (design §6.6). @returns false when there was none, also when the record names a drive
   * of another node, or one that is away: what is on that is swept when it is back
   */
  async delete(id: ChunkId, driveId: DriveId): Promise<boolean> {
    this.forget(id)
    for (;;) {
      const drive = this.#find(id, this.#drives.get(driveId))
      if (!drive) return false
      try {
        const removed = await this.#files.remove(chunkPath(drive, id))
        drive.forgetSpace()
        if (removed) return true
      } catch (error) {
        throw driveFailed(drive, id, 'chunk.delete', error)
      }
      // Moved off its drive in between, or never there.
      if (!this.#isElsewhere(id, drive)) return false
    }
  }

  deleteSync(id: ChunkId, driveId: DriveId): boolean {
    this.forget(id)
    for (;;) {
      const drive = this.#find(id, this.#drives.get(driveId))
      if (!drive) return false
      try {
        const removed = this.#files.removeSync(chunkPath(drive, id))
        drive.forgetSpace()
        if (removed) return true
      } catch (error) {
        throw driveFailed(drive, id, 'chunk.delete', error)
      }
      if (!this.#isElsewhere(id, drive)) return false
    }
  }

  /** Another thread deleted or moved it: close our descriptor, which keeps its space taken. */
  forget(id: ChunkId): void {
    this.#open.drop(id)
  }

  /** Every chunk file of a drive, damaged ones and those of a put cut short too. Memory for 1/256 of them. */
  *list(driveId: DriveId): Generator<ChunkId> {
    const drive = this.#driveOf(driveId, null)
    for (const prefix of PREFIXES) {
      for (const name of this.#namesIn(drive, `${chunksDirectory(drive)}/${prefix}`)) {
        if (CHUNK_ID.test(name) && name.startsWith(prefix)) yield name as ChunkId
      }
    }
  }

  /** File names in quarantine: a chunk id, with a number behind it when it was there before. */
  quarantined(driveId: DriveId): string[] {
    const drive = this.#driveOf(driveId, null)
    return this.#namesIn(drive, quarantineDirectory(drive))
  }

  /**
   * Check a whole chunk from the drive: without a reader its checksums, with one each seal as well.
   * Damage is the answer, never an error. @throws FsError EIO when the drive fails; what `keyOf` throws
   */
  async scrub(id: ChunkId, driveId: DriveId, reader: ChunkReader | null): Promise<ScrubReport> {
    const image = this.#idleImages.pop() ?? newImage()
    try {
      for (;;) {
        const drive = this.#driveWith(id, driveId)
        const report = await scrubChunk(this.#files, drive, id, reader, image)
        // Moved off its drive in between.
        if (report.ok || !report.missing || !this.#isElsewhere(id, drive)) return report
      }
    } finally {
      this.#giveBack(image)
    }
  }

  /**
   * Move a damaged chunk to `<drive>/quarantine/`, never deleting nor overwriting anything.
   * @returns its path there, null when there is no such file
   */
  quarantine(id: ChunkId, driveId: DriveId): string | null {
    const drive = this.#driveWith(id, driveId)
    this.forget(id)
    if (!this.has(id, drive.id) && drive.present()) return null
    try {
      this.#files.makeDirectories(drive.dir, [QUARANTINE_NAME])
      return this.#files.moveAside(chunkDirectory(drive, id), id, quarantineDirectory(drive))
    } catch (error) {
      if (codeOf(error) === 'ENOENT' && drive.present()) return null
      throw driveFailed(drive, id, 'chunk.quarantine', error)
    }
  }

  /** Overwrite unsealed pages and read buffers: a volume was locked. */
  wipe(): void {
    wipePageKey()
    this.#pages.wipe()
    this.#widePage?.fill(0)
  }

  close(): void {
    this.#open.clear()
    this.wipe()
    this.#idleImages.length = 0
  }

  /** Descriptors open now, for metrics and tests. */
  get openCount(): number {
    return this.#open.size
  }

  #readPages(
    chunk: OpenChunk,
    key: Buffer,
    first: number,
    last: number,
    plainAt: number,
    end: number,
    out: Buffer,
    outAt: number,
  ): void {
    const { pageBytes, plainBytes } = chunk.header
    const step = Math.max(1, Math.floor(SCRATCH_BYTES / pageBytes))
    const scratch = this.#scratchFor(pageBytes)
    let page = first
    while (page <= last) {
      const from = page
      const to = Math.min(last, from + step - 1)
      const fromAt = from * pageBytes
      const wanted = Math.min((to + 1) * pageBytes, plainBytes) - fromAt
      const at = chunk.dataAt + fromAt
      const count = readFrom(this.#files, chunk.drive, chunk.id, chunk.fd, scratch, wanted, at)
      for (; page <= to; page++) {
        const pageAt = page * pageBytes
        const bytes = Math.min(pageBytes, plainBytes - pageAt)
        if (pageAt - fromAt + bytes > count) throw cutOff(chunk, page)
        if (pageAt >= plainAt && pageAt + bytes <= end) {
          const to = outAt + pageAt - plainAt
          openOne(chunk, key, page, scratch, pageAt - fromAt, bytes, out, to)
        } else {
          this.#openPart(
            chunk,
            key,
            page,
            scratch,
            pageAt - fromAt,
            bytes,
            plainAt,
            end,
            out,
            outAt,
          )
        }
      }
    }
  }

  /** Unseal a page of which only a part is wanted, and keep it for its neighbours. */
  #openPart(
    chunk: OpenChunk,
    key: Buffer,
    page: number,
    scratch: Buffer,
    scratchAt: number,
    bytes: number,
    plainAt: number,
    end: number,
    out: Buffer,
    outAt: number,
  ): void {
    const pageAt = page * chunk.header.pageBytes
    const from = Math.max(plainAt, pageAt)
    const to = Math.min(end, pageAt + bytes)
    if (bytes > this.#pages.slotBytes) {
      this.#widePage ??= Buffer.allocUnsafeSlow(limits.chunkBytesMax)
      openOne(chunk, key, page, scratch, scratchAt, bytes, this.#widePage, 0)
      this.#widePage.copy(out, outAt + from - plainAt, from - pageAt, to - pageAt)
      return
    }
    const slotAt = this.#pages.claim()
    const slots = this.#pages.buffer
    openOne(chunk, key, page, scratch, scratchAt, bytes, slots, slotAt)
    this.#pages.keep(chunk.serial * PAGES_PER_CHUNK_MAX + page)
    slots.copy(out, outAt + from - plainAt, slotAt + from - pageAt, slotAt + to - pageAt)
  }

  /** Serve the part of one page from the unsealed ones. @returns false when it has to be read */
  #copyKept(
    chunk: OpenChunk,
    page: number,
    plainAt: number,
    end: number,
    out: Buffer,
    outAt: number,
  ): boolean {
    const pageAt = page * chunk.header.pageBytes
    const pageEnd = Math.min(pageAt + chunk.header.pageBytes, chunk.header.plainBytes)
    if (pageAt >= plainAt && pageEnd <= end) return false
    const slotAt = this.#pages.find(chunk.serial * PAGES_PER_CHUNK_MAX + page)
    if (slotAt < 0) return false
    const from = Math.max(plainAt, pageAt)
    const to = Math.min(end, pageEnd)
    const slots = this.#pages.buffer
    slots.copy(out, outAt + from - plainAt, slotAt + from - pageAt, slotAt + to - pageAt)
    return true
  }

  #scratchFor(pageBytes: number): Buffer {
    if (this.#scratch === null || this.#scratch.length < pageBytes) {
      this.#scratch = alignedBuffer(Math.max(SCRATCH_BYTES, pageBytes))
    }
    return this.#scratch
  }

  #begin(
    id: ChunkId,
    options: PutOptions,
    plain: Buffer,
    plainBytes: number,
    backPointer: Buffer,
  ): PutInFlight {
    assert(CHUNK_ID.test(id), 'a chunk is put under a chunk id')
    const { cos, urgent = false } = options
    const wish = cos === undefined ? { urgent } : { urgent, cos }
    const image = this.#idleImages.pop() ?? newImage()
    try {
      const fileBytes = sealChunk(image, id, options, plain, plainBytes, backPointer)
      return { id, image, fileBytes, storedBytes: roundUp(fileBytes), wish, refusedBy: [] }
    } catch (error) {
      this.#giveBack(image)
      throw error
    }
  }

  #prepare(drive: Drive): void {
    if (this.#prepared.has(drive)) return
    prepareDrive(this.#files, drive)
    this.#prepared.add(drive)
  }

  #giveBack(image: Buffer): void {
    if (this.#idleImages.length < IDLE_IMAGES_MOST) this.#idleImages.push(image)
  }

  #namesIn(drive: Drive, directory: string): string[] {
    try {
      return this.#files.names(directory)
    } catch (error) {
      throw driveFailed(drive, '' as ChunkId, 'chunk.list', error)
    }
  }

  /** Hot. A chunk that is open is where it is, whatever drive the record names. */
  #opened(id: ChunkId, driveId: DriveId): OpenChunk {
    return this.#open.find(id) ?? this.#openOn(id, driveId, (drive) => this.#open.open(id, drive))
  }

  #openUnkept(id: ChunkId, driveId: DriveId): OpenChunk {
    return this.#openOn(id, driveId, (drive) => this.#open.openUnkept(id, drive))
  }

  #openOn(id: ChunkId, driveId: DriveId, open: (drive: Drive) => OpenChunk): OpenChunk {
    const drive = this.#driveWith(id, driveId)
    try {
      return open(drive)
    } catch (error) {
      // Moved off its drive between the look and the opening; or that drive fails, and was left with what is elsewhere now.
      const isMissing = error instanceof CorruptError && error.subject.missing === true
      const now = isMissing || drive.state !== 'ok' ? this.#find(id, undefined) : null
      if (now === null || now === drive) throw error
      return open(now)
    }
  }

  /**
   * Where a chunk is: on the drive that a record names, or another of this node that has it. The record may have been made on
   * another node; a chunk that was lost here was put back on any drive; and drives are emptied (RawChunks.moveOff). Where
   * nobody has it, the named one.
   */
  #driveWith(id: ChunkId, driveId: DriveId): Drive {
    return this.#find(id, this.#drives.get(driveId)) ?? this.#driveOf(driveId, id)
  }

  /**
   * A drive that cannot be looked at is no reason not to look at the others: they may have it.
   * @throws FsError EIO when none of them does
   */
  #find(id: ChunkId, named: Drive | undefined): Drive | null {
    if (named !== undefined && this.#drives.size === 1 && !this.lookAtDrives()) return named
    const look: Look = { trouble: null }
    if (named !== undefined && this.#isSoundOn(named, id, look)) return named
    // Twice: it may be moved from a drive not yet looked at to one that was.
    for (let round = 0; round < 2; round++) {
      for (const drive of this.#drives.values()) if (this.#isSoundOn(drive, id, look)) return drive
    }
    // Only a drive that fails has it, if any.
    for (const drive of this.#drives.values()) {
      if (drive.state !== 'ok' && this.#isSeenOn(drive, id, look)) return drive
    }
    // Another thread may have it on a drive that has come since.
    if (this.lookAtDrives()) return this.#find(id, undefined)
    if (look.trouble !== null) throw look.trouble
    return null
  }

  #isSoundOn(drive: Drive, id: ChunkId, look: Look): boolean {
    return drive.state === 'ok' && this.#isSeenOn(drive, id, look)
  }

  #isSeenOn(drive: Drive, id: ChunkId, look: Look): boolean {
    try {
      return this.#isOn(drive, id)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      look.trouble ??= error
      return false
    }
  }

  #isElsewhere(id: ChunkId, drive: Drive): boolean {
    return ![null, drive].includes(this.#find(id, undefined))
  }

  #isOn(drive: Drive, id: ChunkId): boolean {
    try {
      return this.#files.exists(chunkPath(drive, id))
    } catch (error) {
      throw driveFailed(drive, id, 'chunk.has', error)
    }
  }

  #driveOf(id: DriveId, chunk: ChunkId | null): Drive {
    const drive = this.#drives.get(id)
    if (drive !== undefined) return drive
    throw new FsError('EIO', 'chunk.drive', {
      drive: id,
      ...(chunk === null ? {} : { chunk }),
      retry: 'later',
      message: `drive ${id} is not attached to this node now`,
    })
  }
}

/** What came of looking for a chunk on one drive after the other. */
interface Look {
  /** Of the first drive that could not be looked at. */
  trouble: FsError | null
}

interface PutInFlight extends Placing {
  readonly image: Buffer
  readonly fileBytes: number
}

function newImage(): Buffer {
  return sharedAlignedBuffer(chunkFileBytesMax)
}

function openOne(
  chunk: OpenChunk,
  key: Buffer,
  page: number,
  sealed: Buffer,
  sealedAt: number,
  bytes: number,
  out: Buffer,
  outAt: number,
): void {
  const { tags, nonceBase } = chunk
  try {
    openPage(out, outAt, sealed, sealedAt, bytes, tags, page * tagBytes, key, nonceBase, page)
  } catch (cause) {
    if (!(cause instanceof CorruptError)) throw cause
    const subject = { chunk: chunk.id, drive: chunk.driveId, page }
    throw new CorruptError('page of a chunk fails its seal', subject, cause)
  }
}

function cutOff(chunk: OpenChunk, page: number): CorruptError {
  const subject = { chunk: chunk.id, drive: chunk.driveId, page }
  return new CorruptError('chunk file ends before this page does', subject)
}

function foreign(chunk: OpenChunk, reader: ChunkReader): CorruptError {
  const { id, driveId, header } = chunk
  const subject = { chunk: id, drive: driveId, part: 'header', volume: header.volume }
  return new CorruptError(`chunk is not of volume ${reader.volume}`, subject)
}

function tooShort(chunk: OpenChunk, plainAt: number, length: number): CorruptError {
  const { id, driveId, header } = chunk
  const subject = { chunk: id, drive: driveId, plainAt, length, plainBytes: header.plainBytes }
  return new CorruptError('chunk is shorter than its extent', subject)
}
