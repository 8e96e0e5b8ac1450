import { CorruptError, FsError, limits, type RecordSeq, type VolumeId } from '../base/index.ts'
import { type Disk, sectorBytes } from '../disk/index.ts'
import { fileHeaderBytes } from './file-header.ts'
import { FileWindow } from './file-window.ts'
import { fileBytes, fileNumbers, filePath, readFileHeader } from './files.ts'
import {
  associatedData,
  chainBytes,
  decodeHeader,
  type JournalHead,
  type RecordHeader,
  type RecordSealer,
  recordAlignBytes,
} from './record.ts'

export interface ScannedRecord {
  readonly header: RecordHeader
  /** Plain body; null when no sealer was given. */
  readonly body: Buffer | null
  /** The record as stored, for shipping. Only borrowed until the next step of the scan. */
  readonly raw: Buffer
  /** The place behind it. */
  readonly head: JournalHead
}

export interface ScanOptions {
  /** Sequence up to which records are known to have been durable: one missing there is damage, never a torn tail. */
  readonly confirmed?: RecordSeq
  /** Stop behind this record: what lies further is being written by others. */
  readonly upTo?: RecordSeq
  /** `from` is a place that resumeAfter found: the header of its file may be damaged, and it is not asked again. */
  readonly resumed?: boolean
}

/** Search for records behind damage gives up beyond this much reading and checking, and calls it damage. */
const surveyBytesMax = 16 * limits.journalFileBytesMax

/**
 * Place before the oldest record kept. Null when there is no journal.
 * @throws CorruptError when the header of its first file is damaged
 */
export function firstHead(disk: Disk, directory: string, volumeId: VolumeId): JournalHead | null {
  const file = fileNumbers(disk, directory)[0]
  if (file === undefined) return null
  const header = readFileHeader(disk, directory, volumeId, file)
  if (!header) throw new CorruptError('journal file header damaged', { file, offset: 0 })
  const { epoch, seq, chain } = header
  return { epoch, seq, chain, file, offset: fileHeaderBytes }
}

/**
 * Start of the file that holds what follows record `seq`: older files can go when nothing before it is needed. Null when
 * the log begins behind it. Reads headers alone.
 */
export function startOfFile(
  disk: Disk,
  directory: string,
  volumeId: VolumeId,
  seq: RecordSeq,
): JournalHead | null {
  for (const file of fileNumbers(disk, directory).reverse()) {
    const header = readFileHeader(disk, directory, volumeId, file)
    if (!header || header.seq > seq) continue
    const { epoch, chain } = header
    return { epoch, seq: header.seq, chain, file, offset: fileHeaderBytes }
  }
  return null
}

/** Whether the log has the record that `head` stands behind, judged by its seal tag. */
export function holdsHead(
  disk: Disk,
  directory: string,
  volumeId: VolumeId,
  head: JournalHead,
): boolean {
  const { file, offset, chain } = head
  if (offset < fileHeaderBytes || offset % recordAlignBytes !== 0) return false
  if (fileBytes(disk, directory, file) < offset) return false
  const header = readFileHeader(disk, directory, volumeId, file)
  if (!header) return false
  if (offset === fileHeaderBytes) return header.seq === head.seq && header.chain.equals(chain)
  const tag = Buffer.alloc(chainBytes)
  const handle = disk.open(filePath(directory, file), 'read')
  try {
    disk.read(handle, tag, 0, chainBytes, offset - chainBytes)
  } finally {
    disk.close(handle)
  }
  return tag.equals(chain)
}

/**
 * The place behind record `seq`; null when the log does not reach so far, or no longer so far back. Reads one file.
 * @throws CorruptError at damage before it
 */
export function placeBehind(
  disk: Disk,
  directory: string,
  volumeId: VolumeId,
  seq: RecordSeq,
): JournalHead | null {
  return placesBehind(disk, directory, volumeId, [seq])[0] ?? null
}

/** As placeBehind, of several records in rising order: each file is read once. */
export function placesBehind(
  disk: Disk,
  directory: string,
  volumeId: VolumeId,
  seqs: readonly RecordSeq[],
): (JournalHead | null)[] {
  let head: JournalHead | null = null
  return seqs.map((seq) => {
    const start = startOfFile(disk, directory, volumeId, seq)
    if (!start) return null
    // Further on in the file where the one before was found.
    let at: JournalHead = head && head.seq > start.seq ? head : start
    const options = { upTo: seq, resumed: true }
    for (const record of scan(disk, directory, volumeId, at, null, options)) at = record.head
    head = at
    return at.seq === seq ? at : null
  })
}

/**
 * Records behind `from` (null: from the oldest kept) in order, each checked; returns the end of the log.
 *
 * The log may end in a torn tail: a record that is not whole, with nothing behind it that was ever promised. It then ends
 * before it; what follows is cut by the next append, or by Journal.truncateTo. All else is damage.
 * @param sealer opens the bodies; null on a blind replica, which checks CRCs and chain alone
 * @throws CorruptError {file, offset, seq} at damage, and when the log does not hold `from`; ProtocolError when a newer
 *   weft wrote it; FsError ENOENT when there is no journal; what sealer.open throws for a missing key
 */
export function* scan(
  disk: Disk,
  directory: string,
  volumeId: VolumeId,
  from: JournalHead | null,
  sealer: RecordSealer | null,
  options: ScanOptions = {},
): Generator<ScannedRecord, JournalHead, undefined> {
  const start = from ?? firstHead(disk, directory, volumeId)
  if (!start)
    throw new FsError('ENOENT', 'scan', { directory, message: `no journal in ${directory}` })
  if (from && !options.resumed && !holdsHead(disk, directory, volumeId, from)) {
    throw new CorruptError('journal does not hold the record to go on from', damageAt(from, 'head'))
  }
  const volume = Buffer.from(volumeId, 'hex')
  const upTo = options.upTo ?? Number.MAX_SAFE_INTEGER
  let head = start
  while (head.seq < upTo) {
    const window = new FileWindow(disk, filePath(directory, head.file))
    try {
      while (head.offset < window.size && head.seq < upTo) {
        const record = recordAfter(head, window, volume, sealer)
        if (!record) {
          judgeTail(disk, directory, volumeId, head, window, options)
          return head
        }
        head = record.head
        yield record
      }
    } finally {
      window.close()
    }
    if (head.seq >= upTo) break
    const next = nextFile(disk, directory, volumeId, head, options)
    if (!next) break
    head = next
  }
  return head
}

/** The record at `head`, null when there is none that is whole and follows. @throws CorruptError when its seal is broken */
function recordAfter(
  head: JournalHead,
  window: FileWindow,
  volume: Buffer,
  sealer: RecordSealer | null,
): ScannedRecord | null {
  const bytes = window.recordBytes(head.offset, volume)
  if (bytes === 0) return null
  const at = window.ensure(head.offset, bytes)
  const header = decodeHeader(window.buffer, at)
  const { epoch, seq, keyEpoch } = header
  if (seq !== head.seq + 1 || epoch < head.epoch || !header.chain.equals(head.chain)) return null
  const raw = window.buffer.subarray(at, at + bytes)
  const after: JournalHead = {
    epoch,
    seq,
    chain: Buffer.from(raw.subarray(bytes - chainBytes)),
    file: head.file,
    offset: head.offset + bytes,
  }
  if (!sealer) return { header, body: null, raw, head: after }
  const headerBytes = raw.readUInt32LE(8)
  try {
    const body = sealer.open(
      keyEpoch,
      raw.subarray(headerBytes),
      associatedData(raw, 0, headerBytes),
    )
    return { header, body, raw, head: after }
  } catch (error) {
    // The checksum holds, so these bytes were written so: no torn tail.
    if (!(error instanceof CorruptError)) throw error
    throw new CorruptError('journal record fails its seal', damageAt(head, 'seal'), error)
  }
}

/**
 * The bytes at `head` are no record that follows. Returns when they are a torn tail, throws when they are damage.
 *
 * A power cut loses unsynced sectors in any order, so whole records may stand behind a hole of lost ones. That is a tail,
 * not damage, when none of them says that the hole had been confirmed and the hole has a sector of zeros, as new space of
 * a file reads when it was never written (ciphertext is never 512 zeros, and a flipped bit makes none).
 */
function judgeTail(
  disk: Disk,
  directory: string,
  volumeId: VolumeId,
  head: JournalHead,
  window: FileWindow,
  options: ScanOptions,
): void {
  refuseLoss(disk, directory, volumeId, head, options)
  const behind = survey(window, head, head.offset, volumeId, head.seq + 1)
  if (behind.first === null) return
  if (behind.confirmed > head.seq) throw damage(head, 'confirmed')
  if (!hasLostSector(window, head.offset, behind.first)) throw damage(head, 'record')
}

/** Start of the file after the one that ends whole at `head`; null when the log ends there. */
function nextFile(
  disk: Disk,
  directory: string,
  volumeId: VolumeId,
  head: JournalHead,
  options: ScanOptions,
): JournalHead | null {
  const file = head.file + 1
  const bytes = fileBytes(disk, directory, file)
  const header = bytes === 0 ? null : readFileHeader(disk, directory, volumeId, file)
  // Not the epoch: an owner may begin the file under its own, which is newer than the last record's.
  if (header && header.seq === head.seq && header.chain.equals(head.chain)) {
    return { ...head, file, offset: fileHeaderBytes }
  }
  refuseLoss(disk, directory, volumeId, head, options)
  if (bytes === 0) return null
  // Begun, but its header never became durable; or begun behind records of a transaction that was not committed.
  const window = new FileWindow(disk, filePath(directory, file))
  try {
    const behind = survey(window, head, fileHeaderBytes, volumeId, head.seq)
    if (header ? behind.confirmed > head.seq : behind.first !== null) throw damage(head, 'file')
  } finally {
    window.close()
  }
  return null
}

/** @throws CorruptError when it is known from elsewhere than the bytes behind `head` that the log went on there */
function refuseLoss(
  disk: Disk,
  directory: string,
  volumeId: VolumeId,
  head: JournalHead,
  { confirmed = 0 as RecordSeq }: ScanOptions,
): void {
  if (confirmed > head.seq) throw damage(head, 'confirmed')
  for (const file of fileNumbers(disk, directory)) {
    if (file <= head.file) continue
    const header = readFileHeader(disk, directory, volumeId, file)
    // A file is begun only when all before it is durable.
    if (header && header.seq > head.seq) throw damage(head, 'file')
  }
}

/**
 * Whole records of the volume from `offset` on with a sequence above `above`: where the first one is, and the highest
 * confirmed sequence that any of them names. Others are left over from a tail that was cut.
 */
function survey(
  window: FileWindow,
  head: JournalHead,
  offset: number,
  volumeId: VolumeId,
  above: number,
): { first: number | null; confirmed: number } {
  const volume = Buffer.from(volumeId, 'hex')
  const workBytesMax = window.workBytes + surveyBytesMax
  let first: number | null = null
  let confirmed = 0
  let at = window.nextMagic(offset)
  while (at >= 0) {
    const bytes = window.recordBytes(at, volume)
    if (window.workBytes > workBytesMax) throw damage(head, 'unclear')
    if (bytes > 0) {
      const header = decodeHeader(window.buffer, window.ensure(at, bytes))
      if (header.seq > above && header.epoch >= head.epoch) {
        first ??= at
        confirmed = Math.max(confirmed, header.confirmed.seq)
      }
    }
    at = window.nextMagic(at + Math.max(bytes, recordAlignBytes))
  }
  return { first, confirmed }
}

/** Whether a whole sector's part of [from, to) is zero. Records begin aligned, so a part is never a few bytes. */
function hasLostSector(window: FileWindow, from: number, to: number): boolean {
  let sector = from - (from % sectorBytes)
  for (; sector + sectorBytes <= to; sector += sectorBytes) {
    if (window.isZero(Math.max(sector, from), sector + sectorBytes)) return true
  }
  return false
}

/** What told that this is damage: head, seal, record, confirmed, file; unclear when the search was given up. */
type Sign = 'head' | 'seal' | 'record' | 'confirmed' | 'file' | 'unclear'

function damage(head: JournalHead, sign: Sign): CorruptError {
  return new CorruptError('journal damaged', damageAt(head, sign))
}

function damageAt(head: JournalHead, sign: Sign) {
  const seq = sign === 'head' ? head.seq : head.seq + 1
  return { file: head.file, offset: head.offset, seq, sign }
}
