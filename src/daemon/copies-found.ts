import { join } from 'node:path'
import { type DriveId, type Epoch, FsError, type RecordSeq, type VolumeId } from '../base/index.ts'
import { systemDisk } from '../disk/index.ts'
import type { Drive } from '../drives/index.ts'
import type { CopyFound } from './cluster-rebuild.ts'
import type { CopyStatus } from './copies.ts'

const VOLUME_ID = /^[0-9a-f]{32}$/
const nothing = { epoch: 0 as Epoch, seq: 0 as RecordSeq }

/** What lies on the drives of this node: copies, and journals of volumes that have no other copy. */
export function copiesOn(drives: readonly Drive[], copies: readonly CopyStatus[]): CopyFound[] {
  const found = copies.map(
    ({ volume, copy, drive, epoch, end, damaged }): CopyFound => ({
      ...{ volume, copy, drive, end, damaged },
      promised: epoch,
    }),
  )
  const isCopy = (volume: string, drive: DriveId) =>
    copies.some((copy) => copy.volume === volume && copy.drive === drive)
  for (const { id, dir } of drives) {
    for (const volume of journalsIn(join(dir, 'volumes'))) {
      if (isCopy(volume, id)) continue
      found.push({
        volume: volume as VolumeId,
        copy: null,
        drive: id,
        promised: nothing.epoch,
        end: nothing,
        damaged: null,
      })
    }
  }
  return found
}

function journalsIn(directory: string): string[] {
  try {
    if (!systemDisk.exists(directory)) return []
    return systemDisk.list(directory).filter((name) => VOLUME_ID.test(name))
  } catch (error) {
    // A drive that does not answer has nothing to show.
    if (error instanceof FsError) return []
    throw error
  }
}
