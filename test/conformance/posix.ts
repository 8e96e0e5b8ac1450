import { directories } from './posix/directories.ts'
import { files } from './posix/files.ts'
import { locks } from './posix/locks.ts'
import { mapping } from './posix/mapping.ts'
import { names } from './posix/names.ts'
import { permissions } from './posix/permissions.ts'
import { type Area, Place, type PosixOptions } from './posix/place.ts'
import { times } from './posix/times.ts'
import { xattrs } from './posix/xattrs.ts'

export type { PosixOptions } from './posix/place.ts'

export interface ConformanceCase {
  /** Area and behaviour: `files: O_TRUNC empties the file and keeps the inode`. */
  readonly name: string
  run(): Promise<void>
}

const AREAS: Readonly<Record<string, Area>> = {
  files,
  names,
  directories,
  times,
  permissions,
  xattrs,
  locks,
  mapping,
}

/**
 * What every POSIX filesystem on Linux does, as cases that each work in a fresh directory below `dir` and remove it again.
 * Needs root (users, devices, trusted attributes) and Debian's python3 for calls that Node has not. `dir` is entered by user 1000
 * too, so every directory above it lets others pass. Served mounts are served by another process: cases call synchronously.
 * Kernels' own filesystems, Linux 6.18: tmpfs passes all; XFS fails two (symlinks end at 1,023 bytes; EEXIST for rename onto a full
 * directory, which POSIX allows); ext4 one (attributes end at 4 KiB); gocryptfs 2.3 fails 24.
 */
export function posix(dir: string, options: Partial<PosixOptions> = {}): ConformanceCase[] {
  const all: PosixOptions = {
    zeroRange: true,
    directIo: true,
    exactHoles: true,
    userXattrs: true,
    ...options,
  }
  return Object.entries(AREAS).flatMap(([area, cases]) =>
    Object.entries(cases).map(([title, body]) => ({
      name: `${area}: ${title}`,
      async run() {
        const at = new Place(dir, all)
        try {
          await body(at)
        } catch (error) {
          // Removal is part of the case, but must not hide why it failed.
          try {
            at.close()
          } catch {
            // the first error says more
          }
          throw error
        }
        at.close()
      },
    })),
  )
}
