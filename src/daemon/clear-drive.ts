import { join } from 'node:path'
import { codeOf } from '../base/index.ts'
import { CHUNKS_NAME, QUARANTINE_NAME } from '../chunks/index.ts'
import type { Disk } from '../disk/index.ts'
import { DRAINING_NAME, LABEL_NAME } from '../drives/index.ts'
import { VOLUMES_NAME } from './move-journals.ts'

/** What weft makes on a drive, besides the label and the mark of one that is being emptied. */
export const DRIVE_DIRECTORIES = [CHUNKS_NAME, VOLUMES_NAME, QUARANTINE_NAME]

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
