import { join } from 'node:path'
import { codeOf } from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import type { DriveSet } from './messages.ts'

const pathIn = (directory: string) => join(directory, 'whole')
const DRIVE_SET = /^[0-9a-f]{32}$/

/** The copy had every chunk in use while its node had these drives: `<journal directory>/whole`, their name. On stable storage. */
export function writeWhole(disk: Disk, directory: string, drives: DriveSet): void {
  disk.replaceFile(pathIn(directory), Buffer.from(drives))
}

/** Null where that is not known: then the owner has the copy looked through. @throws what the disk throws */
export function readWhole(disk: Disk, directory: string): DriveSet | null {
  try {
    const drives = disk.readFile(pathIn(directory)).toString()
    return DRIVE_SET.test(drives) ? drives : null
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw error
  }
}
