import { crc32 } from 'node:zlib'
import { type ChunkId, CorruptError, codeOf, type DriveId } from '../base/index.ts'
import { openPage, tagBytes } from '../crypto/index.ts'
import type { ChunkFiles } from '../disk/index.ts'
import type { Drive } from '../drives/index.ts'
import { chunkPath } from './chunk-path.ts'
import {
  BLOCK_BYTES,
  type ChunkHeader,
  type ChunkLayout,
  decodeHeaderMended,
  isWholeHeader,
  layoutOf,
} from './header.ts'
import { driveFailed } from './open-chunks.ts'
import { type ChunkReader, openBackPointer } from './seal-chunk.ts'

/**
 * file: there is none. header: block 0 is not a header of this chunk; unless it is one flipped bit away
 * from it, nothing else could be looked at. volume: it is another volume's. length: the file is longer or shorter than it says.
 * checksum: what is behind block 0 differs from what was stored. pages, back-pointer: their seals.
 */
export type DamagedPart =
  | 'file'
  | 'header'
  | 'volume'
  | 'length'
  | 'checksum'
  | 'pages'
  | 'back-pointer'

export interface ScrubReport {
  readonly chunk: ChunkId
  readonly drive: DriveId
  readonly ok: boolean
  readonly missing: boolean
  /** null when there is none to trust. */
  readonly header: ChunkHeader | null
  /** Pages that fail their seal or are cut off; without a reader only the cut off ones. */
  readonly badPages: readonly number[]
  readonly damage: readonly DamagedPart[]
}

/**
 * Read a whole chunk file and check all of it; nothing is changed.
 * @param image scratch of at least chunkFileBytesMax; holds sealed bytes only, before and after
 */
export async function scrubChunk(
  files: ChunkFiles,
  drive: Drive,
  id: ChunkId,
  reader: ChunkReader | null,
  image: Buffer,
): Promise<ScrubReport> {
  const read = await readWhole(files, drive, id, image)
  if (read === null) return report(drive, id, null, [], ['file'])
  let header: ChunkHeader
  const damage: DamagedPart[] = []
  try {
    const count = Math.min(read.count, BLOCK_BYTES)
    header = decodeHeaderMended(image, count, id)
    if (!isWholeHeader(image)) damage.push('header')
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error
    return report(drive, id, null, [], ['header'])
  }
  const layout = layoutOf(header.plainBytes, header.pageBytes, header.backPointerBytes)
  if (read.fileBytes !== layout.fileBytes) damage.push('length')
  const count = Math.min(read.count, layout.fileBytes)
  if (crc32(image.subarray(BLOCK_BYTES, count)) !== header.bodyCrc) damage.push('checksum')
  if (reader !== null && reader.volume !== header.volume) {
    return report(drive, id, header, [], ['volume', ...damage])
  }
  const key = reader?.keyOf(header.keyEpoch) ?? null
  const badPages = findBadPages(header, layout, image, count, key)
  if (badPages.length > 0) damage.push('pages')
  if (key !== null && !backPointerOpens(header, layout, image, count, key)) {
    damage.push('back-pointer')
  }
  return report(drive, id, header, badPages, damage)
}

function report(
  drive: Drive,
  chunk: ChunkId,
  header: ChunkHeader | null,
  badPages: readonly number[],
  damage: readonly DamagedPart[],
): ScrubReport {
  const missing = damage.includes('file')
  return { chunk, drive: drive.id, ok: damage.length === 0, missing, header, badPages, damage }
}

async function readWhole(
  files: ChunkFiles,
  drive: Drive,
  id: ChunkId,
  image: Buffer,
): Promise<{ fileBytes: number; count: number } | null> {
  try {
    const fd = files.open(chunkPath(drive, id))
    try {
      const fileBytes = files.size(fd)
      const wanted = Math.min(fileBytes, image.length)
      return { fileBytes, count: await files.readAsync(fd, image, 0, wanted, 0) }
    } finally {
      files.close(fd)
    }
  } catch (error) {
    if (codeOf(error) === 'ENOENT' && drive.present()) return null
    throw driveFailed(drive, id, 'chunk.scrub', error)
  }
}

function findBadPages(
  header: ChunkHeader,
  layout: ChunkLayout,
  image: Buffer,
  count: number,
  key: Buffer | null,
): number[] {
  const bad: number[] = []
  const nonceBase = Buffer.from(header.id, 'hex')
  const plain = Buffer.allocUnsafe(header.pageBytes)
  for (let page = 0; page < layout.pageCount; page++) {
    const pageAt = page * header.pageBytes
    const at = layout.dataAt + pageAt
    const tagAt = layout.tagsAt + page * tagBytes
    const bytes = Math.min(header.pageBytes, header.plainBytes - pageAt)
    if (at + bytes > count) {
      bad.push(page)
      continue
    }
    if (key === null) continue
    try {
      openPage(plain, 0, image, at, bytes, image, tagAt, key, nonceBase, page)
    } catch (error) {
      if (!(error instanceof CorruptError)) throw error
      bad.push(page)
    }
  }
  plain.fill(0)
  return bad
}

function backPointerOpens(
  header: ChunkHeader,
  layout: ChunkLayout,
  image: Buffer,
  count: number,
  key: Buffer,
): boolean {
  if (count < layout.fileBytes) return false
  try {
    openBackPointer(header, image.subarray(layout.backPointerAt, layout.backPointerEnd), key)
    return true
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error
    return false
  }
}
