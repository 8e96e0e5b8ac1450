import { join } from 'node:path'
import { QUARANTINE_NAME } from '../chunks/index.ts'
import type { Disk } from '../disk/index.ts'
import { type Drive, pickDrive } from '../drives/index.ts'
import { copyFile } from './move-journals.ts'

/** What was set aside on a drive as damaged. */
export function quarantinedOn(drive: Drive, disk: Disk): string[] {
  const directory = join(drive.dir, QUARANTINE_NAME)
  return disk.exists(directory) ? disk.list(directory) : []
}

/**
 * Move what was set aside on a drive to others: weft never deletes it.
 * @throws FsError ENOSPC when none of them has room; EIO
 */
export function moveQuarantine(drive: Drive, others: readonly Drive[], disk: Disk): void {
  for (const name of quarantinedOn(drive, disk)) {
    const path = join(drive.dir, QUARANTINE_NAME, name)
    const to = pickDrive(others, disk.stat(path)?.bytes ?? 0, { urgent: true })
    const directory = join(to.dir, QUARANTINE_NAME)
    disk.mkdir(directory)
    let target = join(directory, name)
    // One of that name may be there: its own, or one that a crash cut short.
    for (let number = 1; disk.exists(target); number++)
      target = join(directory, `${name}.${number}`)
    copyFile(path, target, disk)
    disk.fsyncDirectory(directory)
    disk.unlink(path)
  }
}
