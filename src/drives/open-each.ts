import { FsError } from '../base/index.ts'
import type { Drive } from './drive.ts'
import { type DriveWorld, type Expected, openDrive } from './open-drive.ts'

/** A drive that cannot be opened now. */
export interface LostDrive {
  readonly dir: string
  readonly error: FsError
}

/** Drives of a node for one more thread. One that cannot be opened is left out. */
export function openEach(directories: readonly string[]): { drives: Drive[]; lost: LostDrive[] } {
  const lost: LostDrive[] = []
  const drives = directories.flatMap((dir) => openOr(dir, {}, {}, lost) ?? [])
  return { drives, lost }
}

/** @param lost takes one that cannot be opened; null then */
export function openOr(
  dir: string,
  expect: Expected,
  world: DriveWorld,
  lost: LostDrive[],
): Drive | null {
  try {
    return openDrive(dir, expect, world)
  } catch (error) {
    if (!(error instanceof FsError)) throw error
    lost.push({ dir, error })
    return null
  }
}
