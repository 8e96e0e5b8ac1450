import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import {
  ByteReader,
  ByteWriter,
  type ChunkId,
  CorruptError,
  type Epoch,
  FsError,
  limits,
  type Position,
  ProtocolError,
  type RecordSeq,
  type VolumeId,
} from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import { chainBytes } from './record.ts'

/** Behind a record: its position and its seal tag, which stands for the whole log up to it. */
export interface LogPlace extends Position {
  readonly chain: Buffer
}

/** What `<journal directory>/checkpoint` says: of two dumps of the view, or one, as far as a node without the key must know. */
export interface Checkpoint {
  /** Where the newest dump was taken. */
  readonly newest: LogPlace
  /** The log is kept from here on: where the dump before it was taken, or the newest where there is none before. */
  readonly oldest: LogPlace
  /** Chunks of the dumps. */
  readonly chunks: readonly ChunkId[]
  /** Which chunk is what: for those who hold the key. Sealed together with all of the above. */
  readonly manifest: Buffer
}

const MAGIC = Buffer.from('WFCP')
const VERSION = 1
const ID_BYTES = 16
const CRC_BYTES = 4
/** 36 bytes of manifest and 16 in clear for each chunk, and some more. */
export const checkpointFileBytesMax = limits.recordChunkIdsMax * 64 + 4096
const NAME = 'checkpoint'

export function checkpointPath(directory: string): string {
  return join(directory, NAME)
}

/** All in front of the manifest, which its seal is bound to. */
export function checkpointFront(volume: VolumeId, front: Omit<Checkpoint, 'manifest'>): Buffer {
  const { newest, oldest, chunks } = front
  const to = new ByteWriter(128 + ID_BYTES * chunks.length).bytes(MAGIC).u16(VERSION).u16(0)
  to.bytes(Buffer.from(volume, 'hex'))
  for (const { epoch, seq, chain } of [newest, oldest]) to.u53(epoch).u53(seq).bytes(chain)
  to.u32(chunks.length)
  for (const id of chunks) to.bytes(Buffer.from(id, 'hex'))
  return to.finish()
}

/** docs/format.md §5. */
export function encodeCheckpoint(volume: VolumeId, checkpoint: Checkpoint): Buffer {
  const front = checkpointFront(volume, checkpoint)
  const to = new ByteWriter(front.length + checkpoint.manifest.length + 8)
  const bytes = to.bytes(front).sized(checkpoint.manifest).finish()
  const crc = Buffer.alloc(CRC_BYTES)
  crc.writeUInt32LE(crc32(bytes))
  return Buffer.concat([bytes, crc])
}

/** @throws CorruptError for what encodeCheckpoint does not make of this volume; FsError ENOTSUP when a newer weft made it */
export function decodeCheckpoint(volume: VolumeId, bytes: Buffer): Checkpoint {
  try {
    return decode(volume, bytes)
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    throw new CorruptError(`checkpoint file: ${error.message}`, { volume }, error)
  }
}

function decode(volume: VolumeId, bytes: Buffer): Checkpoint {
  const end = bytes.length - CRC_BYTES
  const from = new ByteReader(bytes, 0, Math.max(0, end))
  if (!from.bytes(MAGIC.length).equals(MAGIC)) throw new ProtocolError('not one')
  const version = from.u16()
  if (version > VERSION) {
    throw new FsError('ENOTSUP', 'checkpoint', {
      message: `checkpoint of volume ${volume}: written by a newer weft (version ${version}, this build reads ${VERSION}): run that build`,
    })
  }
  if (bytes.readUInt32LE(end) !== crc32(bytes.subarray(0, end))) {
    throw new ProtocolError('its checksum differs')
  }
  from.u16()
  if (from.bytes(ID_BYTES).toString('hex') !== volume) throw new ProtocolError('of another volume')
  const newest = place(from)
  const oldest = place(from)
  const count = from.u32()
  if (count > limits.recordChunkIdsMax || count * ID_BYTES > from.left) {
    throw new ProtocolError(`${count} chunks in ${from.left} bytes`)
  }
  const chunks = Array.from(
    { length: count },
    () => from.bytes(ID_BYTES).toString('hex') as ChunkId,
  )
  const manifest = Buffer.from(from.sized(checkpointFileBytesMax))
  if (from.left > 0) throw new ProtocolError(`${from.left} bytes too many`)
  if (oldest.seq > newest.seq) throw new ProtocolError('its places are in the wrong order')
  return { newest, oldest, chunks, manifest }
}

function place(from: ByteReader): LogPlace {
  const epoch = from.u53() as Epoch
  const seq = from.u53() as RecordSeq
  return { epoch, seq, chain: Buffer.from(from.bytes(chainBytes)) }
}

/** On stable storage when it returns. */
export function writeCheckpoint(
  disk: Disk,
  directory: string,
  volume: VolumeId,
  checkpoint: Checkpoint,
): void {
  disk.replaceFile(checkpointPath(directory), encodeCheckpoint(volume, checkpoint))
}

/** Null where there is none. @throws as decodeCheckpoint */
export function readCheckpoint(disk: Disk, directory: string, volume: VolumeId): Checkpoint | null {
  const path = checkpointPath(directory)
  if (!disk.exists(path)) return null
  return decodeCheckpoint(volume, disk.readFile(path, checkpointFileBytesMax))
}
