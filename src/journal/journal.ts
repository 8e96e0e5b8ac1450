import {
  assert,
  type ChunkId,
  CorruptError,
  codeOf,
  FsError,
  limits,
  type Position,
  ProtocolError,
  type VolumeId,
} from '../base/index.ts'
import type { Disk, DiskHandle } from '../disk/index.ts'
import { encodeFileHeader, fileHeaderBytes } from './file-header.ts'
import { fileBytes, fileNumbers, filePath, quarantineFile } from './files.ts'
import {
  associatedData,
  bodyCrcHolds,
  chainBytes,
  decodeHeader,
  encodeHeader,
  finishRecord,
  headerBytesAt,
  headerBytesFor,
  headerCrcHolds,
  type JournalHead,
  type RecordFields,
  type RecordSealer,
  recordFixedBytes,
  sealedBytesAt,
  sealOverheadBytes,
  volumeMatches,
} from './record.ts'
import { holdsHead } from './scan.ts'

export interface JournalOptions {
  readonly disk: Disk
  readonly directory: string
  readonly volumeId: VolumeId
  /** Null on a blind replica, which appends sealed records only. */
  readonly sealer: RecordSealer | null
  /** One element, shared by the Journals of all threads: a sync that failed in one stops all (design §6.7). */
  readonly poison?: Int32Array
  /** Three elements, shared as `poison` is: how far the newest file is written (WRITTEN). */
  readonly written?: Float64Array
  /** Newest durable checkpoint, asked for when a file is begun. */
  readonly checkpoint?: () => ChunkId | null
  readonly fileBytesMax?: number
  /** Zeros written behind the newest record, at most 256 KiB. */
  readonly aheadBytes?: number
}

export interface JournalFile {
  readonly file: number
  readonly bytes: number
}

/** A descriptor that must outlive the syncs in flight on it. */
type OpenFile = {
  readonly file: number
  readonly handle: DiskHandle
  syncs: number
  retired: boolean
}

/**
 * Of the newest file: its number, the end of what was written of records, the end of the zeros behind that. A sync of
 * space that is there already has no new size and no new blocks to store: it is half as long (measured).
 */
const WRITTEN = { file: 0, end: 1, zeroEnd: 2 } as const
const zeros = Buffer.alloc(256 * 1024)

/** Records up to this size go through a buffer that is kept. */
const keptBufferBytes = 256 * 1024

/**
 * Makes the journal of a volume: its first file, durable when this returns.
 * @param before the record that the first one will follow, when the copy begins at a checkpoint
 * @throws FsError EEXIST when the directory has a journal
 */
export function createJournal(
  disk: Disk,
  directory: string,
  volumeId: VolumeId,
  before?: Position & { readonly chain: Buffer; readonly checkpoint: ChunkId | null },
): JournalHead {
  disk.mkdir(directory)
  if (fileNumbers(disk, directory).length > 0)
    throw new FsError('EEXIST', 'createJournal', { directory })
  const { epoch, seq, chain, checkpoint } = before ?? noRecord
  const header = encodeFileHeader(volumeId, { file: 1, epoch, seq, chain, checkpoint })
  disk.replaceFile(filePath(directory, 1), header)
  return { epoch, seq, chain, file: 1, offset: fileHeaderBytes }
}

const noRecord = {
  epoch: 0 as Position['epoch'],
  seq: 0 as Position['seq'],
  chain: Buffer.alloc(chainBytes),
  checkpoint: null,
}

/** One thread's hand on a volume's journal. Appends are serialised by the caller, across all threads. */
export class Journal {
  readonly #disk: Disk
  readonly #directory: string
  readonly #volumeId: VolumeId
  readonly #volume: Buffer
  readonly #sealer: RecordSealer | null
  readonly #poison: Int32Array
  readonly #written: Float64Array
  readonly #checkpoint: () => ChunkId | null
  readonly #fileBytesMax: number
  readonly #aheadBytes: number
  #open: OpenFile | null = null
  #buffer = Buffer.allocUnsafe(16 * 1024)

  constructor(options: JournalOptions) {
    this.#disk = options.disk
    this.#directory = options.directory
    this.#volumeId = options.volumeId
    this.#volume = Buffer.from(options.volumeId, 'hex')
    this.#sealer = options.sealer
    this.#poison = options.poison ?? new Int32Array(1)
    this.#written = options.written ?? new Float64Array(3)
    this.#checkpoint = options.checkpoint ?? (() => null)
    this.#fileBytesMax = options.fileBytesMax ?? limits.journalFileBytesMax
    this.#aheadBytes = Math.min(options.aheadBytes ?? zeros.length, zeros.length)
  }

  /** Whether a sync has failed, here or in a thread that shares `poison`. */
  get poisoned(): boolean {
    return Atomics.load(this.#poison, 0) !== 0
  }

  /**
   * Hot. Seals `body` and writes it behind `head` as the next record; not yet durable. What was behind `head` is cut.
   * @returns the head behind it, for the caller to keep with the change it describes
   * @throws FsError ENOSPC, or EIO after a failed sync: the log is as it was; CorruptError when the log ends before `head`
   */
  append(head: JournalHead, fields: RecordFields, body: Buffer): JournalHead {
    const sealer = this.#sealer
    assert(sealer !== null, 'a blind journal appends sealed records only')
    assert(fields.epoch >= head.epoch, 'epochs never fall along a journal')
    assert(fields.confirmed.seq <= head.seq, 'only what is in the journal can be confirmed')
    const idCount = fields.begins.length + fields.ends.length
    const sealedBytes = body.length + sealOverheadBytes
    assert(idCount <= limits.recordChunkIdsMax, 'a record names a bounded number of chunks')
    assert(sealedBytes <= limits.recordBytesMax, 'a record body is bounded')
    this.#refusePoisoned('append')
    const headerBytes = headerBytesFor(idCount, sealedBytes)
    const bytes = headerBytes + sealedBytes
    const record = this.#bufferFor(bytes)
    encodeHeader(record, headerBytes, sealedBytes, this.#volume, head, fields)
    const sealed = sealer.seal(fields.keyEpoch, body, associatedData(record, 0, headerBytes))
    assert(sealed.length === sealedBytes, 'a seal adds nonce and tag')
    sealed.copy(record, headerBytes)
    finishRecord(record, headerBytes, sealedBytes)
    return this.#put(head, fields.epoch, record, bytes)
  }

  /**
   * Writes a record that another copy made, byte for byte, behind `head`.
   * @throws ProtocolError when it is no whole record of this volume that follows `head`; else as append
   */
  appendSealed(head: JournalHead, raw: Buffer): JournalHead {
    this.#refusePoisoned('append')
    const headerBytes = raw.length < recordFixedBytes ? 0 : headerBytesAt(raw, 0)
    const whole =
      headerBytes > 0 &&
      raw.length === headerBytes + sealedBytesAt(raw, 0) &&
      headerCrcHolds(raw, 0, headerBytes) &&
      bodyCrcHolds(raw, 0, headerBytes) &&
      volumeMatches(raw, 0, this.#volume)
    if (!whole) throw new ProtocolError('not a whole journal record of this volume')
    const { epoch, seq, chain } = decodeHeader(raw, 0)
    if (seq !== head.seq + 1 || epoch < head.epoch || !chain.equals(head.chain)) {
      throw new ProtocolError(
        `journal record ${epoch}/${seq} does not follow ${head.epoch}/${head.seq}`,
      )
    }
    return this.#put(head, epoch, raw, raw.length)
  }

  /** Makes all records up to `head` durable. @throws FsError EIO, and then always, when the drive failed */
  sync(head: JournalHead): void {
    this.#refusePoisoned('sync')
    this.#fdatasync(this.#fileAt(head.file).handle)
  }

  /** The same on the thread pool; several may be in flight, and records appended meanwhile are not waited for. */
  async syncAsync(head: JournalHead): Promise<void> {
    this.#refusePoisoned('sync')
    const open = this.#fileAt(head.file)
    open.syncs++
    try {
      await this.#disk.fdatasyncAsync(open.handle)
    } catch (error) {
      throw this.#poisonBy(error)
    } finally {
      open.syncs--
      if (open.retired && open.syncs === 0) this.#disk.close(open.handle)
    }
    // The failure may have been told to another thread's descriptor, and is told once.
    this.#refusePoisoned('sync')
  }

  /**
   * Cuts all behind `head`, durably.
   * @throws CorruptError when the log does not hold `head`
   */
  truncateTo(head: JournalHead): void {
    this.#refusePoisoned('truncate')
    if (!holdsHead(this.#disk, this.#directory, this.#volumeId, head)) {
      const { file, offset, seq } = head
      throw new CorruptError('journal does not hold the record to cut behind', {
        file,
        offset,
        seq,
      })
    }
    for (const file of fileNumbers(this.#disk, this.#directory).reverse()) {
      if (file > head.file) this.#empty(file)
    }
    const { handle } = this.#fileAt(head.file)
    this.#disk.truncate(handle, head.offset)
    this.#fdatasync(handle)
    this.#noteWritten(head.file, head.offset, head.offset)
  }

  /**
   * Ends the file at `head` and begins the next, both durable, so that all files up to here can go. Under the lock.
   * @returns the same place as the start of the new file
   */
  rollOver(head: JournalHead): JournalHead {
    this.#refusePoisoned('append')
    if (head.offset === fileHeaderBytes) return head
    return { ...head, file: this.#beginNext(head), offset: fileHeaderBytes }
  }

  /** Moves a damaged file into `<directory>/quarantine`, durably, never over another. @returns its path there */
  quarantine(file: number): string {
    return quarantineFile(this.#disk, this.#directory, file)
  }

  /** Removes the files before number `file`, oldest first; their space is given back whoever has them open. */
  dropBefore(file: number): void {
    for (const old of fileNumbers(this.#disk, this.#directory)) {
      if (old >= file) break
      const path = filePath(this.#directory, old)
      const handle = this.#disk.open(path, 'write')
      try {
        this.#disk.unlink(path)
        this.#disk.fsyncDirectory(this.#directory)
        this.#disk.truncate(handle, 0)
      } finally {
        this.#disk.close(handle)
      }
    }
  }

  /** The files, oldest first. */
  files(): JournalFile[] {
    return fileNumbers(this.#disk, this.#directory).map((file) => ({
      file,
      bytes: fileBytes(this.#disk, this.#directory, file),
    }))
  }

  /** Bytes of all files. */
  bytes(): number {
    return this.files().reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Gives back the descriptor; the next append or sync takes one again. */
  close(): void {
    this.#retire()
  }

  /** Hot. */
  #put(head: JournalHead, epoch: JournalHead['epoch'], record: Buffer, bytes: number): JournalHead {
    const full = head.offset + bytes > this.#fileBytesMax && head.offset > fileHeaderBytes
    const file = full ? this.#beginNext(head) : head.file
    const offset = full ? fileHeaderBytes : head.offset
    const { handle } = this.#fileAt(file)
    const written = this.#written
    // Another life of the thread, or what a transaction that was not committed left behind.
    if (written[WRITTEN.file] !== file || written[WRITTEN.end] !== offset) {
      const size = this.#disk.size(handle)
      if (size !== offset) this.#cutTo(handle, size, file, offset, head)
      this.#noteWritten(file, offset, offset)
    }
    const end = offset + bytes
    // Before it is: whatever becomes of it, the next append knows that something may stand there.
    written[WRITTEN.end] = end
    try {
      this.#disk.write(handle, record, 0, bytes, offset)
    } catch (error) {
      this.#tryTruncate(handle, offset)
      throw error
    }
    if (end > (written[WRITTEN.zeroEnd] as number)) this.#writeAhead(handle, end)
    const chain = Buffer.allocUnsafe(chainBytes)
    record.copy(chain, 0, bytes - chainBytes, bytes)
    return { epoch, seq: (head.seq + 1) as JournalHead['seq'], chain, file, offset: end }
  }

  #noteWritten(file: number, end: number, zeroEnd: number): void {
    this.#written[WRITTEN.file] = file
    this.#written[WRITTEN.end] = end
    this.#written[WRITTEN.zeroEnd] = zeroEnd
  }

  #writeAhead(handle: DiskHandle, end: number): void {
    this.#written[WRITTEN.zeroEnd] = end
    const bytes = Math.min(this.#aheadBytes, this.#fileBytesMax - end)
    if (bytes <= 0) return
    try {
      this.#disk.write(handle, zeros, 0, bytes, end)
    } catch (error) {
      // The record is there; room for the next is not needed yet, and a full drive says so when it is.
      if (codeOf(error) !== 'ENOSPC') throw error
      return
    }
    this.#written[WRITTEN.zeroEnd] = end + bytes
  }

  /** Cuts, durably, records of a transaction that was not committed. */
  #cutTo(handle: DiskHandle, size: number, file: number, offset: number, head: JournalHead): void {
    if (size < offset) {
      throw new CorruptError('journal ends before its head', { file, offset, size, seq: head.seq })
    }
    // Their transaction may have begun further files; seen behind a shorter log, those would look like a loss.
    for (const later of fileNumbers(this.#disk, this.#directory).reverse()) {
      if (later > file) this.#empty(later)
    }
    this.#disk.truncate(handle, offset)
    // A sync may have made them durable: torn over them, the next records would not look like a torn tail.
    this.#fdatasync(handle)
  }

  /** Not removed: other threads may have it open, and the number comes again. */
  #empty(file: number): void {
    const handle = this.#openFile(file)
    try {
      this.#disk.truncate(handle, 0)
      this.#fdatasync(handle)
    } finally {
      this.#disk.close(handle)
    }
  }

  /** Makes the file that ends at `head` durable and begins the next one, durable too. Returns its number. */
  #beginNext(head: JournalHead): number {
    const old = this.#fileAt(head.file).handle
    // What a transaction that was not committed left behind would make the file end in something else than `head`.
    const size = this.#disk.size(old)
    if (size !== head.offset) this.#cutTo(old, size, head.file, head.offset, head)
    this.#fdatasync(old)
    const file = head.file + 1
    const { epoch, seq, chain } = head
    const checkpoint = this.#checkpoint()
    const header = encodeFileHeader(this.#volumeId, { file, epoch, seq, chain, checkpoint })
    const handle = this.#disk.open(filePath(this.#directory, file), 'create')
    try {
      this.#disk.truncate(handle, 0)
      this.#disk.write(handle, header, 0, header.length, 0)
    } catch (error) {
      this.#tryTruncate(handle, 0)
      this.#disk.close(handle)
      throw error
    }
    this.#retire()
    this.#open = { file, handle, syncs: 0, retired: false }
    this.#noteWritten(file, fileHeaderBytes, fileHeaderBytes)
    this.#fdatasync(handle)
    try {
      this.#disk.fsyncDirectory(this.#directory)
    } catch (error) {
      throw this.#poisonBy(error)
    }
    return file
  }

  #fileAt(file: number): OpenFile {
    if (this.#open?.file === file) return this.#open
    this.#retire()
    this.#open = { file, handle: this.#openFile(file), syncs: 0, retired: false }
    return this.#open
  }

  #openFile(file: number): DiskHandle {
    try {
      return this.#disk.open(filePath(this.#directory, file), 'write')
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
      throw new CorruptError('journal file missing', { file }, error)
    }
  }

  #retire(): void {
    const open = this.#open
    this.#open = null
    if (!open) return
    open.retired = true
    if (open.syncs === 0) this.#disk.close(open.handle)
  }

  #fdatasync(handle: DiskHandle): void {
    try {
      this.#disk.fdatasync(handle)
    } catch (error) {
      throw this.#poisonBy(error)
    }
  }

  /** The failure being reported is the one to know; the half-written record is no record, and the next append cuts it. */
  #tryTruncate(handle: DiskHandle, bytes: number): void {
    try {
      this.#disk.truncate(handle, bytes)
    } catch {
      // As said above.
    }
  }

  #poisonBy(cause: unknown): FsError {
    Atomics.store(this.#poison, 0, 1)
    return new FsError('EIO', 'sync', { directory: this.#directory, cause })
  }

  #refusePoisoned(op: 'append' | 'sync' | 'truncate'): void {
    if (!this.poisoned) return
    throw new FsError('EIO', op, {
      directory: this.#directory,
      message: `${op}: an earlier sync of the journal in ${this.#directory} failed; this copy has left`,
    })
  }

  #bufferFor(bytes: number): Buffer {
    if (bytes <= this.#buffer.length) return this.#buffer
    const buffer = Buffer.allocUnsafe(Math.max(bytes, Math.min(keptBufferBytes, bytes * 2)))
    if (bytes <= keptBufferBytes) this.#buffer = buffer
    return buffer
  }
}
