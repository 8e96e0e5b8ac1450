import { crc32 } from 'node:zlib'
import {
  assert,
  type ChunkId,
  CorruptError,
  type Epoch,
  type KeyEpoch,
  limits,
  type Position,
  ProtocolError,
  type RecordSeq,
} from '../base/index.ts'

/** Record codec: docs/format.md, journal record. Little-endian throughout. */

export const recordMagic = Buffer.from('WFJR')
export const recordVersion = 1
/** Header bytes before the chunk ids. */
export const recordFixedBytes = 104
export const chainBytes = 16
/** Records begin at multiples of this, which makes looking for one behind damage cheap. */
export const recordAlignBytes = 8
/** What RecordSealer.seal adds: nonce 24, tag 16. */
export const sealOverheadBytes = 40
const idBytes = 16
const crcsBytes = 8
const flagRequestId = 1
export const headerBytesMax =
  recordFixedBytes + limits.recordChunkIdsMax * idBytes + crcsBytes + recordAlignBytes

/** Place in the log behind the last record: where the next one goes, and what it must follow. */
export interface JournalHead {
  readonly epoch: Epoch
  readonly seq: RecordSeq
  /** Seal tag of the last record, 16 bytes; zeros before the first. */
  readonly chain: Buffer
  readonly file: number
  readonly offset: number
}

/** Who asked for the change, so that a request seen again is answered, not done again (design §6.12). */
export interface RequestId {
  /** Number of the mount, unique for the volume's life. */
  readonly mount: number
  /** fuse_in_header.unique without the resend bit, low and high 32 bits. */
  readonly uniqueLo: number
  readonly uniqueHi: number
}

export interface RecordFields {
  readonly epoch: Epoch
  readonly keyEpoch: KeyEpoch
  /** What every member of the in-sync set had durably when this record was made. */
  readonly confirmed: Position
  /** Chunks that this record begins to use. */
  readonly begins: readonly ChunkId[]
  /** Chunks that this record stops using. */
  readonly ends: readonly ChunkId[]
  readonly requestId?: RequestId | null | undefined
}

export interface RecordHeader extends RecordFields {
  readonly seq: RecordSeq
  /** Seal tag of the record before. */
  readonly chain: Buffer
  readonly requestId: RequestId | null
}

/** Seals bodies under the journal key of a key epoch: nonce (24) || ciphertext || tag (16). */
export interface RecordSealer {
  /** Both buffers are borrowed; the answer is only used until the next call. */
  seal(keyEpoch: KeyEpoch, plain: Buffer, ad: Buffer): Buffer
  /** @throws CorruptError when the seal is broken; FsError ENOKEY when there is no such key */
  open(keyEpoch: KeyEpoch, sealed: Buffer, ad: Buffer): Buffer
}

/** Header bytes with padding: the body then ends at a multiple of recordAlignBytes. */
export function headerBytesFor(chunkIds: number, sealedBytes: number): number {
  const bytes = recordFixedBytes + chunkIds * idBytes + crcsBytes
  return bytes + (-(bytes + sealedBytes) & (recordAlignBytes - 1))
}

/** Hot. Writes all of the header but its checksums; what precedes those is the body's associated data. */
export function encodeHeader(
  into: Buffer,
  headerBytes: number,
  sealedBytes: number,
  volume: Buffer,
  before: JournalHead,
  fields: RecordFields,
): void {
  const { begins, ends, requestId } = fields
  recordMagic.copy(into, 0)
  into.writeUInt16LE(recordVersion, 4)
  into.writeUInt16LE(requestId ? flagRequestId : 0, 6)
  into.writeUInt32LE(headerBytes, 8)
  into.writeUInt32LE(sealedBytes, 12)
  volume.copy(into, 16)
  into.writeUInt32LE(fields.keyEpoch, 32)
  into.writeUInt32LE(begins.length, 36)
  into.writeUInt32LE(ends.length, 40)
  into.writeUInt32LE(requestId ? requestId.mount : 0, 44)
  into.writeUInt32LE(requestId ? requestId.uniqueLo : 0, 48)
  into.writeUInt32LE(requestId ? requestId.uniqueHi : 0, 52)
  putU53(into, fields.epoch, 56)
  putU53(into, before.seq + 1, 64)
  putU53(into, fields.confirmed.epoch, 72)
  putU53(into, fields.confirmed.seq, 80)
  before.chain.copy(into, 88)
  let at = recordFixedBytes
  for (let i = 0; i < begins.length; i++) at = putId(into, begins[i] as ChunkId, at)
  for (let i = 0; i < ends.length; i++) at = putId(into, ends[i] as ChunkId, at)
  into.fill(0, at, headerBytes - crcsBytes)
}

/** Bytes of the header that are bound to the body: all but the two checksums. */
export function associatedData(record: Buffer, at: number, headerBytes: number): Buffer {
  return record.subarray(at, at + headerBytes - crcsBytes)
}

/** Hot. Writes both checksums of a record that stands at the start of `record` with its sealed body in place. */
export function finishRecord(record: Buffer, headerBytes: number, sealedBytes: number): void {
  const bodyCrc = crc32(record.subarray(headerBytes, headerBytes + sealedBytes))
  record.writeUInt32LE(bodyCrc, headerBytes - 8)
  record.writeUInt32LE(crc32(record.subarray(0, headerBytes - 4)), headerBytes - 4)
}

/** Bytes of the header that stands at `at`, if its fixed part can be one; 0 otherwise. Nothing is verified yet. */
export function headerBytesAt(buffer: Buffer, at: number): number {
  if (buffer.compare(recordMagic, 0, 4, at, at + 4) !== 0) return 0
  const headerBytes = buffer.readUInt32LE(at + 8)
  const sealedBytes = sealedBytesAt(buffer, at)
  if (headerBytes < recordFixedBytes + crcsBytes || headerBytes > headerBytesMax) return 0
  if (sealedBytes < sealOverheadBytes || sealedBytes > limits.recordBytesMax) return 0
  return (headerBytes + sealedBytes) % recordAlignBytes === 0 ? headerBytes : 0
}

export function sealedBytesAt(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at + 12)
}

export function headerCrcHolds(buffer: Buffer, at: number, headerBytes: number): boolean {
  const crcAt = at + headerBytes - 4
  return crc32(buffer.subarray(at, crcAt)) === buffer.readUInt32LE(crcAt)
}

export function bodyCrcHolds(buffer: Buffer, at: number, headerBytes: number): boolean {
  const bodyAt = at + headerBytes
  const body = buffer.subarray(bodyAt, bodyAt + sealedBytesAt(buffer, at))
  return crc32(body) === buffer.readUInt32LE(bodyAt - 8)
}

export function volumeMatches(buffer: Buffer, at: number, volume: Buffer): boolean {
  return buffer.compare(volume, 0, 16, at + 16, at + 32) === 0
}

/**
 * Cuts a run of records, one behind the other as they are shipped, into single ones; nothing but lengths is looked at.
 * @throws ProtocolError when the bytes do not end with a record
 */
export function* splitRecords(run: Buffer): Generator<Buffer> {
  let at = 0
  while (at < run.length) {
    const headerBytes = run.length - at < recordFixedBytes ? 0 : headerBytesAt(run, at)
    const bytes = headerBytes === 0 ? 0 : headerBytes + sealedBytesAt(run, at)
    if (bytes === 0 || at + bytes > run.length) {
      throw new ProtocolError(
        `not a run of whole journal records: ${run.length} bytes, broken at ${at}`,
      )
    }
    yield run.subarray(at, at + bytes)
    at += bytes
  }
}

/** Seal tag of a record: what the next one names as its chain. */
export function tagOfRecord(raw: Buffer): Buffer {
  return raw.subarray(raw.length - chainBytes)
}

/**
 * Decodes a header whose checksum holds.
 * @throws ProtocolError when a newer weft wrote it; CorruptError when its fields contradict each other
 */
export function decodeHeader(buffer: Buffer, at: number): RecordHeader {
  const version = buffer.readUInt16LE(at + 4)
  refuseNewer('record', version, recordVersion)
  const beginCount = buffer.readUInt32LE(at + 36)
  const endCount = buffer.readUInt32LE(at + 40)
  const headerBytes = buffer.readUInt32LE(at + 8)
  const idCount = beginCount + endCount
  if (
    version === 0 ||
    idCount > limits.recordChunkIdsMax ||
    headerBytes !== headerBytesFor(idCount, sealedBytesAt(buffer, at))
  ) {
    throw new CorruptError('journal record header contradicts itself', {
      version,
      idCount,
      headerBytes,
    })
  }
  const requestId: RequestId | null =
    (buffer.readUInt16LE(at + 6) & flagRequestId) === 0
      ? null
      : {
          mount: buffer.readUInt32LE(at + 44),
          uniqueLo: buffer.readUInt32LE(at + 48),
          uniqueHi: buffer.readUInt32LE(at + 52),
        }
  const idsAt = at + recordFixedBytes
  return {
    keyEpoch: buffer.readUInt32LE(at + 32) as KeyEpoch,
    epoch: getU53(buffer, at + 56) as Epoch,
    seq: getU53(buffer, at + 64) as RecordSeq,
    confirmed: {
      epoch: getU53(buffer, at + 72) as Epoch,
      seq: getU53(buffer, at + 80) as RecordSeq,
    },
    chain: Buffer.from(buffer.subarray(at + 88, at + 88 + chainBytes)),
    begins: idsFrom(buffer, idsAt, beginCount),
    ends: idsFrom(buffer, idsAt + beginCount * idBytes, endCount),
    requestId,
  }
}

/** @throws ProtocolError when bytes whose checksum holds are of a version that this build does not read */
export function refuseNewer(what: string, version: number, known: number): void {
  if (version <= known) return
  throw new ProtocolError(
    `journal ${what} written by a newer weft (version ${version}, this build reads ${known}): run that build`,
  )
}

export function putU53(into: Buffer, value: number, at: number): void {
  into.writeUInt32LE(value % 0x1_0000_0000, at)
  into.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4)
}

/** @throws CorruptError above 2^53 - 1, which no weft wrote */
export function getU53(buffer: Buffer, at: number): number {
  const high = buffer.readUInt32LE(at + 4)
  if (high > 0x1f_ffff) throw new CorruptError('journal number above 2^53 - 1', { at })
  return high * 0x1_0000_0000 + buffer.readUInt32LE(at)
}

function putId(into: Buffer, id: ChunkId, at: number): number {
  assert(into.write(id, at, idBytes, 'hex') === idBytes, 'a chunk id is 32 hex digits')
  return at + idBytes
}

function idsFrom(buffer: Buffer, at: number, count: number): ChunkId[] {
  const ids: ChunkId[] = []
  for (let i = 0; i < count; i++) {
    ids.push(buffer.toString('hex', at + i * idBytes, at + (i + 1) * idBytes) as ChunkId)
  }
  return ids
}
