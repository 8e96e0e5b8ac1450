import { FsError } from '../base/index.ts'
import type { Drive } from './drive.ts'
import { type DriveWorld, openDrive } from './open-drive.ts'

/** A drive that cannot be opened now. */
export interface LostDrive {
  readonly dir: string
  readonly error: FsError
}

/** Why drives fail, in words, by their directories. */
export type FailingDrives = Readonly<Record<string, string>>

/** What a thread that opens drives anew has to know of them: `failing` get nothing new, and one that is gone is not opened. */
export function toldOf(drives: Iterable<Drive>): {
  driveDirectories: string[]
  failing: FailingDrives
} {
  const here = [...drives].filter(({ state }) => state !== 'gone')
  const fail = here.filter(({ state }) => state === 'failing')
  return {
    driveDirectories: here.map(({ dir }) => dir),
    failing: Object.fromEntries(fail.map(({ dir, failure }) => [dir, wordsOf(failure)])),
  }
}

/**
 * Drives of a node for one more thread. One that cannot be opened is left out: what is on it alone answers EIO, and the others
 * serve what they have. One that fails already gets nothing new from this thread either.
 */
export function openEach(
  directories: readonly string[],
  failing: FailingDrives = {},
  world: DriveWorld = {},
): { drives: Drive[]; lost: LostDrive[] } {
  const drives: Drive[] = []
  const lost: LostDrive[] = []
  for (const dir of directories) {
    try {
      const drive = openDrive(dir, {}, world)
      const why = failing[dir]
      if (why !== undefined) drive.fail(new FsError('EIO', 'drive', { dir, message: why }))
      drives.push(drive)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      lost.push({ dir, error })
    }
  }
  return { drives, lost }
}

function wordsOf(failure: unknown): string {
  return failure instanceof Error ? failure.message : 'it answered an error'
}
