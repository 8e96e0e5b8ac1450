import { rmSync } from 'node:fs'
import { CorruptError, codeOf, type VolumeId } from '../base/index.ts'
import { ChunkStore } from '../chunks/index.ts'
import { openDrive } from '../drives/index.ts'

/** Where a volume may have left anything on this node. */
export interface VolumeTraces {
  driveDirectories: string[]
  /** Journal, view and staging. */
  directories: string[]
}

/**
 * Delete a volume that a tombstone names: its chunks by their headers, so that a lost view hides none, and its
 * directories. Begun again after a crash it goes on.
 * @returns chunks deleted
 */
export function destroyVolume(volume: VolumeId, traces: VolumeTraces): number {
  const drives = traces.driveDirectories.map((directory) => openDrive(directory))
  const chunks = new ChunkStore(drives)
  let deleted = 0
  for (const drive of drives) {
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
  }
  chunks.close()
  for (const directory of traces.directories) rmSync(directory, { recursive: true, force: true })
  return deleted
}
