import { join } from 'node:path'
import { FsError } from '../base/index.ts'
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
 * Move what was set aside on a drive to others: weft never deletes it. One that cannot be read stops no other.
 * @param copied names that are on another drive, and that this one does not let go of: kept by the caller for this function
 * @throws FsError ENOSPC when none of them has room; EIO; the first of several
 */
export function moveQuarantine(
  drive: Drive,
  others: readonly Drive[],
  disk: Disk,
  copied: Set<string>,
): void {
  const errors: FsError[] = []
  for (const name of quarantinedOn(drive, disk)) {
    if (copied.has(name)) continue
    try {
      const path = join(drive.dir, QUARANTINE_NAME, name)
      if (!others.some((other) => hasSame(other, name, path, disk))) copy(path, name, others, disk)
      copied.add(name)
      disk.unlink(path)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      // It is elsewhere: a drive that is read-only keeps what it has.
      if (copied.has(name)) drive.fail(error)
      else errors.push(error)
    }
  }
  if (errors[0]) throw errors[0]
}

/** @throws FsError: nothing of it is there then */
function copy(path: string, name: string, others: readonly Drive[], disk: Disk): void {
  const to = pickDrive(others, disk.stat(path)?.bytes ?? 0, { urgent: true })
  const directory = join(to.dir, QUARANTINE_NAME)
  disk.mkdir(directory)
  let target = join(directory, name)
  // One of that name may be there: its own, or one that a crash cut short.
  for (let number = 1; disk.exists(target); number++) target = join(directory, `${name}.${number}`)
  try {
    copyFile(path, target, disk)
    disk.fsyncDirectory(directory)
  } catch (error) {
    if (disk.exists(target)) disk.unlink(target)
    throw error
  }
}

/** Copied in an earlier life, from a drive that did not let go of it. */
function hasSame(drive: Drive, name: string, path: string, disk: Disk): boolean {
  const bytes = disk.stat(path)?.bytes ?? 0
  return quarantinedAs(drive, name, disk).some((other) => {
    return disk.stat(other)?.bytes === bytes && disk.readFile(other).equals(disk.readFile(path))
  })
}

/** Paths of what was set aside on a drive under this name, or with a number behind it where that was taken. */
export function quarantinedAs(drive: Drive, name: string, disk: Disk): string[] {
  return quarantinedOn(drive, disk)
    .filter((one) => one === name || one.startsWith(`${name}.`))
    .map((one) => join(drive.dir, QUARANTINE_NAME, one))
}
