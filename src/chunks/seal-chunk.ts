import { crc32 } from 'node:zlib'
import {
  assert,
  type ChunkId,
  CorruptError,
  type Epoch,
  FsError,
  type KeyEpoch,
  limits,
  type VolumeId,
} from '../base/index.ts'
import { openBlob, sealBlob, sealPage, tagBytes } from '../crypto/index.ts'
import { BLOCK_BYTES, boundFields, type ChunkHeader, encodeHeader, layoutOf } from './header.ts'

/** What a chunk is sealed for. */
export interface ChunkSeal {
  readonly volume: VolumeId
  readonly keyEpoch: KeyEpoch
  readonly epoch: Epoch
  /** Chunk sub-key of that key epoch; borrowed during the call. */
  readonly key: Buffer
}

/** Who reads: a volume and its keys. */
export interface ChunkReader {
  readonly volume: VolumeId
  /** Chunk sub-key of a key epoch; asked at every read, so that a locked volume answers at once. @throws FsError ENOKEY */
  readonly keyOf: (keyEpoch: KeyEpoch) => Buffer
}

/**
 * Build the whole file of a chunk in `image`, sealing page by page.
 * @param image at least chunkFileBytesMax long, the caller's
 * @param backPointer plain; sealed here, with the chunk's identity and size bound to it
 * @returns length of the file
 * @throws FsError EFBIG or E2BIG when data or back-pointers are over their limit, EINVAL when there is no data
 */
export function sealChunk(
  image: Buffer,
  id: ChunkId,
  seal: ChunkSeal,
  plain: Buffer,
  plainBytes: number,
  backPointer: Buffer,
): number {
  if (plainBytes === 0) throw new FsError('EINVAL', 'chunk.put', { chunk: id, plainBytes })
  if (plainBytes > limits.chunkBytesMax) {
    throw new FsError('EFBIG', 'chunk.put', { chunk: id, plainBytes })
  }
  if (backPointer.length > limits.chunkBackPointerBytesMax) {
    throw new FsError('E2BIG', 'chunk.put', { chunk: id, backPointerBytes: backPointer.length })
  }
  assert(plainBytes <= plain.length, 'the plain bytes are inside their buffer')
  const pageBytes = limits.chunkPageBytes
  const { volume, keyEpoch, epoch, key } = seal
  const identity = { id, volume, keyEpoch, epoch, pageBytes, plainBytes }
  const sealedPointer = sealBlob(key, backPointer, boundFields(identity))
  const layout = layoutOf(plainBytes, pageBytes, sealedPointer.length)
  const { pageCount, tagsAt, dataAt, backPointerAt, backPointerEnd, fileBytes } = layout
  const nonceBase = Buffer.from(id, 'hex')
  for (let page = 0; page < pageCount; page++) {
    const at = page * pageBytes
    const length = Math.min(pageBytes, plainBytes - at)
    const tagAt = tagsAt + page * tagBytes
    sealPage(image, dataAt + at, plain, at, length, image, tagAt, key, nonceBase, page)
  }
  // The image is reused: what an earlier chunk left behind the tags must not be stored again.
  image.fill(0, tagsAt + pageCount * tagBytes, dataAt)
  image.set(sealedPointer, backPointerAt)
  image.fill(0, backPointerEnd, fileBytes)
  const bodyCrc = crc32(image.subarray(BLOCK_BYTES, fileBytes))
  encodeHeader({ ...identity, backPointerBytes: sealedPointer.length, bodyCrc }, image)
  return fileBytes
}

/** @throws CorruptError when the back-pointers, or the identity and size in the header, were changed */
export function openBackPointer(header: ChunkHeader, sealed: Buffer, key: Buffer): Buffer {
  try {
    return openBlob(key, sealed, boundFields(header))
  } catch (cause) {
    if (!(cause instanceof CorruptError)) throw cause
    const subject = { chunk: header.id, part: 'back-pointer' }
    throw new CorruptError('back-pointers fail their seal', subject, cause)
  }
}
