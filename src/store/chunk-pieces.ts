import {
  ByteReader,
  ByteWriter,
  type ChunkId,
  CorruptError,
  type DriveId,
  type Ino,
  type KeyEpoch,
} from '../base/index.ts'
import type { LocalVolume } from './local-volume.ts'
import { SET_CHANGED } from './replicas.ts'

/** Bytes [offset, offset + length) of a file, and where they start in the chunk's plain bytes. */
export interface ChunkPiece {
  ino: Ino
  offset: number
  length: number
  at: number
}

/** A chunk that is durable and that no record names yet. */
export interface SealedChunk {
  id: ChunkId
  drive: DriveId
  keyEpoch: KeyEpoch
  plainBytes: number
  storedBytes: number
}

/**
 * Seal bytes of files into one chunk and make it durable on a drive, and on every other copy of the volume. Its back-pointer names the pieces, so that a tree
 * can be rebuilt when all metadata is lost, and so that reclaim finds who may still use it.
 * @param urgent may use the headroom: what wins space back, and checkpoints
 */
export async function putPieces(
  volume: LocalVolume,
  id: ChunkId,
  plain: Buffer,
  plainBytes: number,
  pieces: readonly ChunkPiece[],
  urgent = false,
): Promise<SealedChunk> {
  const keyEpoch = volume.keys.newest
  const { cos } = volume.shared
  const { drive, storedBytes } = await volume.chunks.put(
    id,
    {
      volume: volume.id,
      keyEpoch,
      epoch: volume.shared.epoch,
      key: volume.chunkKey(keyEpoch),
      urgent,
      ...(cos === null ? {} : { cos }),
      ...(volume.replicas ? { lend: (file: Buffer) => volume.confirm(id, file) } : {}),
    },
    plain,
    plainBytes,
    encodeBackPointer(pieces),
  )
  return { id, drive, keyEpoch, plainBytes, storedBytes }
}

/** `commit` appends records that name the chunk; done again each time that the set of copies was another by then. */
export async function nameChunk(
  volume: LocalVolume,
  chunk: SealedChunk,
  commit: () => void,
): Promise<void> {
  await nameChunks(volume, [chunk], commit)
}

/** As `nameChunk`, of several that one record names. */
export async function nameChunks(
  volume: LocalVolume,
  chunks: readonly { readonly id: ChunkId; readonly drive: DriveId }[],
  commit: () => void,
): Promise<void> {
  for (;;) {
    try {
      commit()
      return
    } catch (error) {
      if (error !== SET_CHANGED) throw error
      for (const { id } of chunks) await volume.confirmAnew(id)
    }
  }
}

const BACK_POINTER_VERSION = 1

/** docs/format.md §4. */
export function encodeBackPointer(pieces: readonly ChunkPiece[]): Buffer {
  const writer = new ByteWriter(5 + pieces.length * 24).u8(BACK_POINTER_VERSION).u32(pieces.length)
  for (const { ino, offset, length, at } of pieces) writer.u53(ino).u53(offset).u32(length).u32(at)
  return writer.finish()
}

/** @throws CorruptError */
export function decodeBackPointer(bytes: Buffer): ChunkPiece[] {
  const reader = new ByteReader(bytes)
  if (reader.u8() !== BACK_POINTER_VERSION) throw new CorruptError('unknown back-pointer version')
  const count = reader.u32()
  if (reader.left !== count * 24) throw new CorruptError('back-pointer has a wrong length')
  return Array.from({ length: count }, () => ({
    ino: reader.u53() as Ino,
    offset: reader.u53(),
    length: reader.u32(),
    at: reader.u32(),
  }))
}
