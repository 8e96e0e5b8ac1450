import { join } from 'node:path'
import { codeOf, type VolumeId } from '../base/index.ts'
import { ARRIVING_NAME, CHUNKS_NAME, QUARANTINE_NAME } from '../chunks/index.ts'
import type { Disk } from '../disk/index.ts'
import { DRAINING_NAME, type Drive, LABEL_NAME } from '../drives/index.ts'
import { VOLUMES_NAME } from './move-journals.ts'
import { quarantinedAs } from './move-quarantine.ts'

/** A file of a journal, which may be given up, or is. */
const OLD_JOURNAL = new RegExp(`^${VOLUMES_NAME}/(?<id>[0-9a-f]{32})(?<left>\\.left)?/`)

/** What weft makes on a drive, besides the label and the mark of one that is being emptied. */
export const DRIVE_DIRECTORIES = [CHUNKS_NAME, VOLUMES_NAME, QUARANTINE_NAME]

/**
 * Files of weft's on a drive that was taken out, and on none of those that stay: what was written after it had been found empty.
 * One that fails keeps what was copied off it.
 * @param givenUp as ListedDrive.givenUp
 * @returns paths below the drive @throws FsError EIO when it does not answer: then nobody knows
 */
export function leftOnlyOn(
  dir: string,
  givenUp: readonly VolumeId[],
  staying: readonly Drive[],
  disk: Disk,
): string[] {
  if (!disk.exists(join(dir, LABEL_NAME))) return []
  const left: string[] = []
  for (const path of DRIVE_DIRECTORIES.flatMap((name) => filesBelow(dir, name, disk))) {
    // Of a chunk of another node that was cut short while it came: its owner was told nothing of it.
    if (path.startsWith(`${CHUNKS_NAME}/${ARRIVING_NAME}/`)) continue
    const bytes = disk.stat(join(dir, path))?.bytes ?? 0
    const volume = path.match(OLD_JOURNAL)?.groups ?? {}
    const isOld = volume.left !== undefined || givenUp.some((id) => id === volume.id)
    const isElsewhere = isOld
      ? staying.some((drive) => disk.exists(join(drive.dir, VOLUMES_NAME, volume.id ?? '')))
      : staying.some((drive) => hasCopy(drive, path, bytes, disk))
    if (!isElsewhere) left.push(path)
  }
  return left
}

function hasCopy(drive: Drive, path: string, bytes: number, disk: Disk): boolean {
  // A journal is on one drive alone, whatever another has under its name.
  if (path.startsWith(`${VOLUMES_NAME}/`)) return false
  if (disk.stat(join(drive.dir, path))?.bytes === bytes) return true
  if (!path.startsWith(`${QUARANTINE_NAME}/`)) return false
  const name = path.slice(QUARANTINE_NAME.length + 1)
  return quarantinedAs(drive, name, disk).some((one) => disk.stat(one)?.bytes === bytes)
}

function filesBelow(dir: string, name: string, disk: Disk): string[] {
  const directory = join(dir, name)
  if (!disk.exists(directory)) return []
  return disk.list(directory).flatMap((one) => {
    const path = `${name}/${one}`
    return disk.stat(join(dir, path))?.kind === 'directory' ? filesBelow(dir, path, disk) : [path]
  })
}

/**
 * Take away what weft made on an empty drive, the label last: done again after a crash it goes on. A directory that is not
 * empty stays. @throws FsError
 */
export function clearDrive(dir: string, disk: Disk): void {
  if (!disk.exists(join(dir, LABEL_NAME))) return
  for (const name of DRIVE_DIRECTORIES) removeEmpty(join(dir, name), disk)
  for (const name of [DRAINING_NAME, LABEL_NAME]) {
    if (disk.exists(join(dir, name))) disk.unlink(join(dir, name))
    disk.fsyncDirectory(dir)
  }
}

function removeEmpty(directory: string, disk: Disk): void {
  if (!disk.exists(directory)) return
  for (const name of disk.list(directory)) {
    const path = join(directory, name)
    if (disk.stat(path)?.kind === 'directory') removeEmpty(path, disk)
  }
  try {
    disk.rmdir(directory)
  } catch (error) {
    if (codeOf(error) !== 'ENOTEMPTY') throw error
  }
}
