import { basename, join } from 'node:path'
import type { VolumeId } from '../base/index.ts'
import type { Disk, DiskHandle } from '../disk/index.ts'
import { decodeFileHeader, type FileHeader, fileHeaderBytes } from './file-header.ts'

/** Names of journal files, and what can be said of one without reading its records. */

const namePattern = /^(\d{10})\.journal$/

export function filePath(directory: string, file: number): string {
  return join(directory, `${String(file).padStart(10, '0')}.journal`)
}

/** Numbers of the files that are not empty, ascending. An empty one was cut away, or its first write was lost. */
export function fileNumbers(disk: Disk, directory: string): number[] {
  return journalNames(disk, directory).filter((file) => fileBytes(disk, directory, file) > 0)
}

/** Numbers of all files, the empty ones too, ascending. */
export function journalNames(disk: Disk, directory: string): number[] {
  const numbers: number[] = []
  for (const name of disk.list(directory)) {
    const digits = namePattern.exec(name)?.[1]
    if (digits !== undefined) numbers.push(Number(digits))
  }
  return numbers
}

/** 0 when there is none. */
export function fileBytes(disk: Disk, directory: string, file: number): number {
  return disk.stat(filePath(directory, file))?.bytes ?? 0
}

/** Null when the header is not whole. @throws ProtocolError when a newer weft wrote it; FsError ENOENT */
export function readFileHeader(
  disk: Disk,
  directory: string,
  volumeId: VolumeId,
  file: number,
): FileHeader | null {
  const handle = disk.open(filePath(directory, file), 'read')
  try {
    return headerOf(disk, handle, volumeId, file)
  } finally {
    disk.close(handle)
  }
}

/** Damaged journal files, moved aside and never deleted by weft. */
const quarantineName = 'quarantine'

export function quarantineFile(disk: Disk, directory: string, file: number): string {
  const quarantine = join(directory, quarantineName)
  disk.mkdir(quarantine)
  const name = basename(filePath(directory, file))
  let to = join(quarantine, name)
  for (let number = 1; disk.exists(to); number++) to = join(quarantine, `${name}.${number}`)
  disk.rename(filePath(directory, file), to)
  disk.fsyncDirectory(quarantine)
  disk.fsyncDirectory(directory)
  return to
}

export function headerOf(
  disk: Disk,
  handle: DiskHandle,
  volumeId: VolumeId,
  file: number,
): FileHeader | null {
  const bytes = Buffer.alloc(fileHeaderBytes)
  if (disk.read(handle, bytes, 0, fileHeaderBytes, 0) < fileHeaderBytes) return null
  return decodeFileHeader(bytes, volumeId, file)
}
