import { CorruptError, type Epoch, type RecordSeq, type VolumeId } from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import { encodeFileHeader, fileHeaderBytes } from './file-header.ts'
import { FileWindow } from './file-window.ts'
import { fileNumbers, filePath, quarantineFile, readFileHeader } from './files.ts'
import {
  chainBytes,
  decodeHeader,
  type JournalHead,
  type RecordHeader,
  recordAlignBytes,
} from './record.ts'

/** Behind damage a scan cannot go on by itself; fsck does, to see how far the damage reaches. */

export interface Resumed {
  /** Where a scan can go on. */
  readonly head: JournalHead
  /** Sequence of the first record that is whole again; what lies between it and the damage is lost. */
  readonly firstWhole: RecordSeq
}

/**
 * The first place behind damage at `at` from which the log is whole again: behind the next whole record of this file,
 * or at the start of a later one. Null when nothing whole follows.
 */
export function resumeAfter(
  disk: Disk,
  directory: string,
  volumeId: VolumeId,
  at: { readonly file: number; readonly offset: number },
): Resumed | null {
  for (const file of fileNumbers(disk, directory)) {
    if (file < at.file) continue
    if (file > at.file) {
      const header = readFileHeader(disk, directory, volumeId, file)
      if (header) {
        const { epoch, seq, chain } = header
        const head = { epoch, seq, chain, file, offset: fileHeaderBytes }
        return { head, firstWhole: (seq + 1) as RecordSeq }
      }
    }
    const from = file === at.file ? Math.max(at.offset, fileHeaderBytes) : fileHeaderBytes
    const found = nextWhole(disk, directory, volumeId, file, from)
    if (found) return found
  }
  return null
}

function nextWhole(
  disk: Disk,
  directory: string,
  volumeId: VolumeId,
  file: number,
  from: number,
): Resumed | null {
  const volume = Buffer.from(volumeId, 'hex')
  const window = new FileWindow(disk, filePath(directory, file))
  try {
    for (let at = window.nextMagic(from); at >= 0; at = window.nextMagic(at + recordAlignBytes)) {
      const bytes = window.recordBytes(at, volume)
      if (bytes === 0) continue
      const start = window.ensure(at, bytes)
      const header = readHeader(window.buffer, start)
      if (!header) continue
      const end = start + bytes
      const chain = Buffer.from(window.buffer.subarray(end - chainBytes, end))
      const { epoch, seq } = header
      return { head: { epoch, seq, chain, file, offset: at + bytes }, firstWhole: seq }
    }
    return null
  } finally {
    window.close()
  }
}

function readHeader(buffer: Buffer, at: number): RecordHeader | null {
  try {
    return decodeHeader(buffer, at)
  } catch (error) {
    if (error instanceof CorruptError) return null
    throw error
  }
}

/**
 * Begin a new journal behind `before`, the last record that a whole view holds, and put every older file aside. Only when
 * the log has nothing behind that record: the caller has looked.
 * @returns the place where the new journal starts, and the paths of the old files
 */
export function beginAnew(
  disk: Disk,
  directory: string,
  volumeId: VolumeId,
  before: { readonly epoch: Epoch; readonly seq: RecordSeq; readonly chain: Buffer },
): { head: JournalHead; aside: string[] } {
  const files = fileNumbers(disk, directory)
  const file = (files.at(-1) ?? 0) + 1
  const { epoch, seq, chain } = before
  const header = encodeFileHeader(volumeId, { file, epoch, seq, chain, checkpoint: null })
  disk.replaceFile(filePath(directory, file), header)
  const aside = files.map((old) => quarantineFile(disk, directory, old))
  return { head: { epoch, seq, chain, file, offset: fileHeaderBytes }, aside }
}
