import { opendir, realpath } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { codeOf, FsError } from '../base/index.ts'
import type { Drive } from '../drives/index.ts'
import { isWeftMount, type MountEntry, mountTable } from '../fuse/index.ts'

/**
 * Directories that a person names for a drive or a mount, looked at before anything is done with them. Asked without a
 * synchronous call: the place may lie on a mount that this process serves.
 */

/**
 * @param create make the directory later on if it is missing
 * @throws FsError EINVAL on weft itself, ENOENT when it is missing and shall not be made, ENOTDIR
 */
export async function checkDrivePlace(dir: string, create: boolean): Promise<void> {
  const { path, missing } = await realPlace(dir)
  const entry = mountOf(path, mountTable())
  if (entry !== undefined && isWeftMount(entry)) {
    throw new FsError('EINVAL', 'drive.add', {
      dir,
      message: `${dir} lies on weft itself, mounted at ${entry.mountPoint}: a drive holds what weft stores, and would wait for itself for ever`,
      next: 'name a directory on a disk of this machine: weft drive add DIR',
    })
  }
  if (!missing || create) return
  throw new FsError('ENOENT', 'drive.add', {
    dir,
    message: `${dir} does not exist; if a disk belongs there, it is not mounted`,
    next: `mount its disk, or have the directory made where it is now: weft drive add ${dir} --create`,
  })
}

/** What a person has to know of a drive that shares a filesystem with another one; empty when it does not. */
export function sharedDiskNotes(drive: Drive, others: readonly Drive[]): string[] {
  return others
    .filter((other) => other.id !== drive.id && other.device === drive.device)
    .slice(0, 1)
    .map(
      (other) =>
        `${drive.dir} is on the same filesystem as drive ${other.dir}: it adds no space, and one failing disk takes both`,
    )
}

/**
 * A mount point that is missing or no directory is left to whoever mounts, and so is a place that is a mount already.
 * @throws FsError EINVAL for a place inside a mount of weft, ENOTEMPTY
 */
export async function checkMountPoint(op: string, target: string, nonempty: boolean) {
  const { path, missing } = await realPlace(target)
  const table = mountTable()
  if (table.some((entry) => entry.mountPoint === path)) return
  const entry = mountOf(path, table)
  if (entry !== undefined && isWeftMount(entry)) {
    throw new FsError('EINVAL', op, {
      target,
      message: `${target} is inside weft, which is mounted at ${entry.mountPoint}`,
      next: 'name an empty directory outside of it, as in: mkdir -p /mnt/other',
    })
  }
  if (missing || nonempty) return
  const name = await firstNameIn(path)
  if (name === null) return
  throw new FsError('ENOTEMPTY', op, {
    target,
    message: `${target} is not empty (it has ${JSON.stringify(name)}): the mount would hide what is in it`,
    next: 'name an empty directory, or say --nonempty to hide what is there',
  })
}

/** The mount that a path without symbolic links lies on: the last made of the deepest. */
export function mountOf(path: string, table: readonly MountEntry[]): MountEntry | undefined {
  let found: MountEntry | undefined
  for (const entry of table) {
    const { mountPoint } = entry
    const inside = mountPoint === '/' || path === mountPoint || path.startsWith(`${mountPoint}/`)
    if (inside && mountPoint.length >= (found?.mountPoint.length ?? 0)) found = entry
  }
  return found
}

/** The path without symbolic links, as far as it exists. A part that cannot be looked at is left as it is spelled. */
async function realPlace(given: string): Promise<{ path: string; missing: boolean }> {
  let at = resolve(given)
  let rest = ''
  for (;;) {
    try {
      return { path: join(await realpath(at), rest), missing: rest !== '' }
    } catch (error) {
      if (codeOf(error) !== 'ENOENT' || at === '/') return { path: join(at, rest), missing: false }
    }
    rest = join(basename(at), rest)
    at = dirname(at)
  }
}

/** null for an empty directory, and for what cannot be listed: who mounts says why. */
async function firstNameIn(path: string): Promise<string | null> {
  try {
    const directory = await opendir(path)
    try {
      return (await directory.read())?.name ?? null
    } finally {
      await directory.close()
    }
  } catch (error) {
    if (codeOf(error) === '') throw error
    return null
  }
}
