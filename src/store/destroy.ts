import { rmSync } from 'node:fs'
import { CorruptError, codeOf, FsError, type VolumeId } from '../base/index.ts'
import { ChunkStore } from '../chunks/index.ts'
import { type Drive, openEach } from '../drives/index.ts'

/** Where a volume may have left anything on this node. */
export interface VolumeTraces {
  driveDirectories: string[]
  /** Journal, view and staging. */
  directories: string[]
}

/**
 * Delete a volume that a tombstone names: its chunks by their headers, so that a lost view hides none, and its
 * directories. Begun again after a crash it goes on. A drive that does not answer keeps what it has, as one that is away: the
 * volume is gone all the same.
 * @param failed told of such a drive, by its directory
 * @returns chunks deleted
 * @throws FsError EIO of a drive that answers otherwise
 */
export function destroyVolume(
  volume: VolumeId,
  traces: VolumeTraces,
  failed: (dir: string, error: FsError) => void = () => {},
): number {
  const { drives, lost } = openEach(traces.driveDirectories)
  const silent = new Map(lost.map(({ dir, error }) => [dir, error]))
  let deleted = 0
  for (const drive of drives) {
    try {
      deleted += destroyOn(drive, volume)
    } catch (error) {
      if (!(error instanceof FsError) || drive.state === 'ok') throw error
      silent.set(drive.dir, error)
    }
  }
  for (const [dir, error] of silent) failed(dir, error)
  for (const directory of traces.directories) {
    if ([...silent.keys()].some((dir) => directory.startsWith(`${dir}/`))) continue
    rmSync(directory, { recursive: true, force: true })
  }
  return deleted
}

function destroyOn(drive: Drive, volume: VolumeId): number {
  // Of this drive alone: the same chunk may be on another too.
  const chunks = new ChunkStore([drive])
  let deleted = 0
  try {
    for (const id of chunks.list(drive.id)) {
      try {
        if (chunks.statSync(id, drive.id).volume !== volume) continue
      } catch (error) {
        // A damaged header says nothing of whose chunk it is: fsck quarantines it.
        if (error instanceof CorruptError || codeOf(error) === 'ENOENT') continue
        throw error
      }
      chunks.deleteSync(id, drive.id)
      deleted++
    }
  } finally {
    chunks.close()
  }
  return deleted
}
