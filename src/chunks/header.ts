import { crc32 } from 'node:zlib'
import {
  assert,
  ByteReader,
  ByteWriter,
  type ChunkId,
  CorruptError,
  type Epoch,
  type KeyEpoch,
  limits,
  type VolumeId,
} from '../base/index.ts'
import { blobOverheadBytes, tagBytes } from '../crypto/index.ts'

/** The first block of a chunk file; byte table in docs/format.md, "Chunk files". */
export interface ChunkHeader {
  readonly id: ChunkId
  readonly volume: VolumeId
  readonly keyEpoch: KeyEpoch
  /** Life of the owner that ordered it (design §6.1). */
  readonly epoch: Epoch
  /** Plain bytes per sealed page; the last page may be shorter. */
  readonly pageBytes: number
  readonly plainBytes: number
  /** Sealed length of the back-pointers. */
  readonly backPointerBytes: number
  /** CRC-32 of everything behind block 0: what a node without the key can check. */
  readonly bodyCrc: number
}

/** Where things stand in the file; follows from the header alone. */
export interface ChunkLayout {
  readonly pageCount: number
  readonly tagsAt: number
  readonly dataAt: number
  readonly backPointerAt: number
  readonly backPointerEnd: number
  /** Whole blocks, zeros behind the back-pointers: written and read past the page cache. */
  readonly fileBytes: number
}

/** Files and pages are cut at this, so that reads line up with the page cache and the drive. */
export const BLOCK_BYTES = 4096

const MAGIC = 'WEFTCHNK'
const VERSION = 1
const CRC_AT = BLOCK_BYTES - 4
/** Fields up to here are bound to the back-pointers as associated data. */
const BOUND_BYTES = 72
const FIELD_BYTES = 84

export function layoutOf(
  plainBytes: number,
  pageBytes: number,
  backPointerBytes: number,
): ChunkLayout {
  const pageCount = Math.ceil(plainBytes / pageBytes)
  const dataAt = BLOCK_BYTES + roundUp(pageCount * tagBytes)
  const backPointerAt = dataAt + plainBytes
  const backPointerEnd = backPointerAt + backPointerBytes
  return {
    pageCount,
    tagsAt: BLOCK_BYTES,
    dataAt,
    backPointerAt,
    backPointerEnd,
    fileBytes: roundUp(backPointerEnd),
  }
}

/** Largest file a header can describe: the longest tag table is that of the smallest pages. */
export const chunkFileBytesMax = layoutOf(
  limits.chunkBytesMax,
  BLOCK_BYTES,
  limits.chunkBackPointerBytesMax + blobOverheadBytes,
).fileBytes

/** Whole blocks, as a drive counts them. */
export function roundUp(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES
}

/** The 72 bytes that are known before anything is sealed: identity and size of the chunk. */
export function boundFields(header: Omit<ChunkHeader, 'backPointerBytes' | 'bodyCrc'>): Buffer {
  const bound = new ByteWriter(BOUND_BYTES)
    .bytes(Buffer.from(MAGIC, 'latin1'))
    .u16(VERSION)
    .u16(0)
    .u32(header.pageBytes)
    .bytes(Buffer.from(header.id, 'hex'))
    .bytes(Buffer.from(header.volume, 'hex'))
    .u32(header.keyEpoch)
    .u32(Math.ceil(header.plainBytes / header.pageBytes))
    .u53(header.epoch)
    .u32(header.plainBytes)
    .u32(0)
    .finish()
  assert(bound.length === BOUND_BYTES, 'bound chunk fields have their length')
  return bound
}

/** Write block 0 into `out` from offset 0. */
export function encodeHeader(header: ChunkHeader, out: Buffer): void {
  const { backPointerAt } = layoutOf(header.plainBytes, header.pageBytes, header.backPointerBytes)
  const bound = boundFields(header)
  out.fill(0, 0, BLOCK_BYTES)
  out.set(bound, 0)
  out.writeUInt32LE(backPointerAt, BOUND_BYTES)
  out.writeUInt32LE(header.backPointerBytes, BOUND_BYTES + 4)
  out.writeUInt32LE(header.bodyCrc, BOUND_BYTES + 8)
  out.writeUInt32LE(crc32(out.subarray(0, CRC_AT)), CRC_AT)
}

/**
 * Read block 0 from the first 4096 bytes of `block`.
 * @param expected the id the file is named by
 * @throws CorruptError when anything is not as encodeHeader writes it
 */
export function decodeHeader(block: Buffer, blockBytes: number, expected: ChunkId): ChunkHeader {
  if (blockBytes < BLOCK_BYTES) throw corrupt(expected, 'the file ends inside it')
  if (block.toString('latin1', 0, MAGIC.length) !== MAGIC) throw corrupt(expected, 'no magic')
  if (block.readUInt32LE(CRC_AT) !== crc32(block.subarray(0, CRC_AT))) {
    throw corrupt(expected, 'its checksum differs')
  }
  const reader = new ByteReader(block, MAGIC.length, FIELD_BYTES)
  const version = reader.u16()
  if (version !== VERSION) throw corrupt(expected, `unknown version ${version}`)
  reader.u16()
  const pageBytes = reader.u32()
  const id = reader.bytes(16).toString('hex') as ChunkId
  const volume = reader.bytes(16).toString('hex') as VolumeId
  const keyEpoch = reader.u32() as KeyEpoch
  const pageCount = reader.u32()
  const epoch = safeEpoch(reader, expected)
  const plainBytes = reader.u32()
  reader.u32()
  const backPointerAt = reader.u32()
  const backPointerBytes = reader.u32()
  const bodyCrc = reader.u32()
  if (id !== expected) throw corrupt(expected, `it is of chunk ${id}`)
  if (pageBytes === 0 || pageBytes % BLOCK_BYTES !== 0 || pageBytes > limits.chunkBytesMax) {
    throw corrupt(expected, `pages of ${pageBytes} bytes`)
  }
  if (plainBytes === 0 || plainBytes > limits.chunkBytesMax) {
    throw corrupt(expected, `${plainBytes} plain bytes`)
  }
  if (
    backPointerBytes < blobOverheadBytes ||
    backPointerBytes > limits.chunkBackPointerBytesMax + blobOverheadBytes
  ) {
    throw corrupt(expected, `back-pointers of ${backPointerBytes} bytes`)
  }
  const layout = layoutOf(plainBytes, pageBytes, backPointerBytes)
  if (pageCount !== layout.pageCount || backPointerAt !== layout.backPointerAt) {
    throw corrupt(expected, 'its lengths contradict each other')
  }
  return { id, volume, keyEpoch, epoch, pageBytes, plainBytes, backPointerBytes, bodyCrc }
}

function safeEpoch(reader: ByteReader, expected: ChunkId): Epoch {
  try {
    return reader.u53() as Epoch
  } catch (cause) {
    throw corrupt(expected, 'its epoch is no number', cause)
  }
}

function corrupt(chunk: ChunkId, why: string, cause?: unknown): CorruptError {
  return new CorruptError(`chunk header: ${why}`, { chunk, part: 'header' }, cause)
}

/**
 * As decodeHeader, but a single flipped bit in block 0 is set right, in a copy: one bit may cost the page it is in, not
 * the whole chunk. The checksum tells which it was: no other change of one bit fits it, and of heavier damage one case
 * in six million would; the seals of pages and back-pointers then still stand between it and any reader.
 * @throws CorruptError as decodeHeader
 */
export function decodeHeaderMended(
  block: Buffer,
  blockBytes: number,
  expected: ChunkId,
): ChunkHeader {
  try {
    return decodeHeader(block, blockBytes, expected)
  } catch (error) {
    if (!(error instanceof CorruptError) || blockBytes < BLOCK_BYTES) throw error
    const mended = Buffer.from(block.subarray(0, BLOCK_BYTES))
    if (!mendBit(mended)) throw error
    return decodeHeader(mended, BLOCK_BYTES, expected)
  }
}

/** Does the checksum of block 0 hold as it stands? */
export function isWholeHeader(block: Buffer): boolean {
  return block.readUInt32LE(CRC_AT) === crc32(block.subarray(0, CRC_AT))
}

/** Sets one bit right so that the checksum holds. False when none does. */
function mendBit(block: Buffer): boolean {
  const stored = block.readUInt32LE(CRC_AT)
  const wrong = (stored ^ crc32(block.subarray(0, CRC_AT))) >>> 0
  if (wrong === 0) return false
  if ((wrong & (wrong - 1)) === 0) {
    // The bit is in the checksum itself.
    block.writeUInt32LE((stored ^ wrong) >>> 0, CRC_AT)
    return true
  }
  // Behind the fields all bytes are zero: what is not, is where it was.
  const stray = block.subarray(FIELD_BYTES, CRC_AT).findIndex((byte) => byte !== 0)
  const [from, to] = stray < 0 ? [0, FIELD_BYTES] : [FIELD_BYTES + stray, FIELD_BYTES + stray + 1]
  for (let at = from; at < to; at++) {
    for (let bit = 1; bit < 256; bit <<= 1) {
      block[at] = (block[at] as number) ^ bit
      if (crc32(block.subarray(0, CRC_AT)) === stored) return true
      block[at] = (block[at] as number) ^ bit
    }
  }
  return false
}
