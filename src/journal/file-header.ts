import { crc32 } from 'node:zlib'
import type { ChunkId, Epoch, RecordSeq, VolumeId } from '../base/index.ts'
import { chainBytes, getU53, putU53, refuseNewer } from './record.ts'

/** Head of a journal file: docs/format.md, journal file. A sector of its own, so no later write touches it. */

export const fileHeaderBytes = 512
const fileMagic = Buffer.from('WFJF')
const fileVersion = 1
const crcAt = fileHeaderBytes - 4
const noCheckpoint = '0'.repeat(32)

export interface FileHeader {
  readonly file: number
  /** Epoch, sequence and chain of the last record before this file. */
  readonly epoch: Epoch
  readonly seq: RecordSeq
  readonly chain: Buffer
  /** Newest durable checkpoint when the file was begun. */
  readonly checkpoint: ChunkId | null
}

export function encodeFileHeader(volumeId: VolumeId, header: FileHeader): Buffer {
  const into = Buffer.alloc(fileHeaderBytes)
  fileMagic.copy(into, 0)
  into.writeUInt16LE(fileVersion, 4)
  into.writeUInt32LE(header.file, 8)
  into.write(volumeId, 16, 16, 'hex')
  putU53(into, header.epoch, 32)
  putU53(into, header.seq, 40)
  header.chain.copy(into, 48)
  into.write(header.checkpoint ?? noCheckpoint, 64, 16, 'hex')
  into.writeUInt32LE(crc32(into.subarray(0, crcAt)), crcAt)
  return into
}

/**
 * Null when the bytes are no whole header of this volume and file number.
 * @throws ProtocolError when a newer weft wrote it
 */
export function decodeFileHeader(
  bytes: Buffer,
  volumeId: VolumeId,
  file: number,
): FileHeader | null {
  if (bytes.length < fileHeaderBytes || bytes.compare(fileMagic, 0, 4, 0, 4) !== 0) return null
  if (crc32(bytes.subarray(0, crcAt)) !== bytes.readUInt32LE(crcAt)) return null
  refuseNewer('file', bytes.readUInt16LE(4), fileVersion)
  if (bytes.toString('hex', 16, 32) !== volumeId || bytes.readUInt32LE(8) !== file) return null
  const checkpoint = bytes.toString('hex', 64, 80)
  return {
    file,
    epoch: getU53(bytes, 32) as Epoch,
    seq: getU53(bytes, 40) as RecordSeq,
    chain: Buffer.from(bytes.subarray(48, 48 + chainBytes)),
    checkpoint: checkpoint === noCheckpoint ? null : (checkpoint as ChunkId),
  }
}
