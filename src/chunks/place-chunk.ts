import { type ChunkId, codeOf, FsError } from '../base/index.ts'
import type { ChunkFiles } from '../disk/index.ts'
import { type Drive, type PickOptions, pickDrive } from '../drives/index.ts'
import { CHUNKS_NAME, chunksDirectory, PREFIXES } from './chunk-path.ts'
import { driveFailed } from './open-chunks.ts'

/** A chunk file on its way to a drive. */
export interface Placing {
  readonly id: ChunkId
  readonly storedBytes: number
  readonly wish: Omit<PickOptions, 'except'>
  /** Drives that turned out full, or failed. */
  readonly refusedBy: Drive[]
}

/** The drive to try next, its bytes set aside: the caller releases them. @throws FsError ENOSPC, EIO as pickDrive */
export function reserveDrive(drives: Iterable<Drive>, placing: Placing): Drive {
  const { storedBytes, wish, refusedBy } = placing
  const drive = pickDrive(drives, storedBytes, { ...wish, except: refusedBy })
  drive.reserve(storedBytes)
  return drive
}

/** A drive that turns out full, or fails, is left for another; what is not the drive's is the caller's. */
export function passOver(placing: Placing, drive: Drive, error: unknown): void {
  const code = codeOf(error)
  if (code === 'EEXIST') throw error
  if (code !== 'ENOSPC') {
    const failed = driveFailed(drive, placing.id, 'chunk.put', error)
    if (drive.state === 'ok') throw failed
  }
  placing.refusedBy.push(drive)
}

/** Make the directories of a drive's chunks. @throws FsError ENODEV when it is not mounted, and others */
export function prepareDrive(files: ChunkFiles, drive: Drive): void {
  // The mount point of a drive that is not mounted is a directory too, on another filesystem.
  if (!drive.present()) throw new FsError('ENODEV', 'chunk.put', { drive: drive.id })
  files.makeDirectories(drive.dir, [CHUNKS_NAME])
  files.makeDirectories(chunksDirectory(drive), PREFIXES)
}
