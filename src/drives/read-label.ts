import { join } from 'node:path'
import { codeOf, FsError } from '../base/index.ts'
import { driveError } from './drive-error.ts'
import type { DriveFiles } from './drive-files.ts'
import { type DriveLabel, decodeLabel, LABEL_NAME } from './label.ts'

/**
 * The label at the top of a directory.
 * @throws FsError ENOENT (no such directory), ENODEV (no label: not a drive, or not mounted), EUCLEAN (damaged label),
 *   ENOTSUP (newer weft), EIO and others with the path
 */
export function readLabel(dir: string, files: DriveFiles): DriveLabel {
  const path = join(dir, LABEL_NAME)
  let text: string
  try {
    text = files.readFile(path).toString()
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw driveError('drive.open', path, error)
    const there = existsDirectory(dir, files)
    throw new FsError(there ? 'ENODEV' : 'ENOENT', 'drive.open', {
      path,
      cause: error,
      message: there
        ? `${dir} has no ${LABEL_NAME}: it is not a drive of weft, or the drive is not mounted there`
        : `${dir} does not exist`,
    })
  }
  return decodeLabel(text, path)
}

function existsDirectory(dir: string, files: DriveFiles): boolean {
  try {
    files.list(dir)
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw driveError('drive.open', dir, error)
  }
}
