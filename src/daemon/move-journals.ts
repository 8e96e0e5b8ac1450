import { basename, join } from 'node:path'
import { assert, FsError, type Log, messageOf, type VolumeId } from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import { type Drive, pickDrive, type ServiceClass, takesData } from '../drives/index.ts'

/** `DRIVE/volumes/<volume>/`: a journal with its checkpoint, and the promise of a copy. */
export const VOLUMES_NAME = 'volumes'
const VOLUME_ID = /^[0-9a-f]{32}$/
/** On the next drive, until it is complete and the one before has given it up. */
const ARRIVING = '.arriving'
/** On the drive before, once it is given up. */
const LEFT = '.left'
const COPY_BYTES = 1024 * 1024
/** Beside a journal that is wanted on a drive of another class: its digit. */
const CLASS_NAME = 'class'

export interface MovedJournals {
  readonly moved: readonly { readonly volume: VolumeId; readonly from: Drive; readonly to: Drive }[]
  /** Why some are still where they were, in words. */
  readonly kept: readonly string[]
}

/**
 * Move the journals off the drives that are being emptied. At the start of a daemon, before anything of them is open: whoever
 * uses the volumes waits meanwhile, and nobody can append to what is being copied.
 *
 * One rename decides: the drive before gives a journal up (`ID` becomes `ID.left`) once it is durable on the next one as
 * `ID.arriving`. Before that the next one's is discarded, after it the old one is never used again; so of two drives that are
 * not always here together never both have the volume.
 */
export function moveJournals(drives: readonly Drive[], disk: Disk, log: Log): MovedJournals {
  const usable = drives.filter((drive) => drive.state === 'ok')
  for (const drive of usable)
    for (const id of namesOn(drive, disk, ARRIVING)) arrive(id, drive, usable, disk)
  for (const drive of usable)
    for (const id of namesOn(drive, disk, LEFT)) clear(id, drive, usable, disk)
  const moved: { volume: VolumeId; from: Drive; to: Drive }[] = []
  const kept: string[] = []
  for (const from of usable) {
    for (const volume of namesOn(from, disk, '')) {
      const cos = from.draining ? null : classWanted(volume, from, usable, disk)
      if (!from.draining && cos === null) continue
      try {
        const to = move(volume, from, cos, usable, disk)
        moved.push({ volume, from, to })
        log.info({ op: 'journal.move', volume, from: from.id, to: to.id }, 'journal moved')
      } catch (error) {
        if (!(error instanceof FsError)) throw error
        kept.push(`the journal of volume ${volume}: ${messageOf(error)}`)
        log.error({ op: 'journal.move', volume, from: from.id, error: messageOf(error) }, 'kept')
      }
    }
  }
  return { moved, kept }
}

/** Volumes whose journal, or what is left of its move, is on a drive. */
export function journalsOn(drive: Drive, disk: Disk): VolumeId[] {
  return ['', ARRIVING, LEFT].flatMap((state) => namesOn(drive, disk, state))
}

/** The drive that a volume's journal is on. */
export function journalDrive(
  volume: VolumeId,
  drives: readonly Drive[],
  disk: Disk,
): Drive | undefined {
  return drives.find(({ dir }) => disk.exists(join(dir, VOLUMES_NAME, volume)))
}

/** Have a journal on a drive of this class from the next start of the daemon on. */
export function markClass(volume: VolumeId, on: Drive, cos: ServiceClass, disk: Disk): void {
  disk.replaceFile(join(on.dir, VOLUMES_NAME, volume, CLASS_NAME), Buffer.from(String(cos)))
}

/** Null unless its journal is wanted on another class, and there is a drive of that. */
function classWanted(
  volume: VolumeId,
  on: Drive,
  drives: readonly Drive[],
  disk: Disk,
): ServiceClass | null {
  const path = join(on.dir, VOLUMES_NAME, volume, CLASS_NAME)
  if (!disk.exists(path)) return null
  const cos = Number(disk.readFile(path).toString())
  const there = drives.find((one) => one.cos === cos && one !== on && takesData(one))
  return there && there.cos !== on.cos ? there.cos : null
}

/** @param cos of the drive that it must go to; null for the best there is */
function move(
  volume: VolumeId,
  from: Drive,
  cos: ServiceClass | null,
  drives: readonly Drive[],
  disk: Disk,
): Drive {
  const source = join(from.dir, VOLUMES_NAME, volume)
  const others = drives.filter(
    (drive) => drive !== from && takesData(drive) && (cos === null || drive.cos === cos),
  )
  const to = pickDrive(others, bytesIn(source, disk), { cos: from.cos, urgent: true })
  const arriving = join(to.dir, VOLUMES_NAME, volume + ARRIVING)
  try {
    copyDirectory(source, arriving, disk)
    disk.fsyncDirectory(join(to.dir, VOLUMES_NAME))
  } catch (error) {
    removeDirectory(arriving, disk)
    throw error
  }
  rename(source, source + LEFT, disk)
  rename(arriving, join(to.dir, VOLUMES_NAME, volume), disk)
  removeDirectory(source + LEFT, disk)
  return to
}

/** What a crash left between two steps: complete where the drive before has given it up, else nothing. */
function arrive(volume: VolumeId, drive: Drive, drives: readonly Drive[], disk: Disk): void {
  const arriving = join(drive.dir, VOLUMES_NAME, volume + ARRIVING)
  const has = (state: string) =>
    drives.some((one) => disk.exists(join(one.dir, VOLUMES_NAME, volume + state)))
  if (has('')) removeDirectory(arriving, disk)
  // Else the drive before is not here: whether it has given it up, nobody knows yet.
  else if (has(LEFT)) rename(arriving, join(drive.dir, VOLUMES_NAME, volume), disk)
}

function clear(volume: VolumeId, drive: Drive, drives: readonly Drive[], disk: Disk): void {
  const arrived = drives.some((one) => disk.exists(join(one.dir, VOLUMES_NAME, volume)))
  if (arrived) removeDirectory(join(drive.dir, VOLUMES_NAME, volume + LEFT), disk)
}

function namesOn(drive: Drive, disk: Disk, state: string): VolumeId[] {
  const directory = join(drive.dir, VOLUMES_NAME)
  if (!disk.exists(directory)) return []
  return disk
    .list(directory)
    .filter(
      (name) => name.endsWith(state) && VOLUME_ID.test(name.slice(0, name.length - state.length)),
    )
    .map((name) => name.slice(0, name.length - state.length) as VolumeId)
}

function rename(from: string, to: string, disk: Disk): void {
  disk.rename(from, to)
  disk.fsyncDirectory(join(to, '..'))
}

function bytesIn(directory: string, disk: Disk): number {
  let bytes = 0
  for (const name of disk.list(directory)) {
    const path = join(directory, name)
    const stat = disk.stat(path)
    bytes += stat?.kind === 'directory' ? bytesIn(path, disk) : (stat?.bytes ?? 0)
  }
  return bytes
}

/** Durable but for its own name. */
function copyDirectory(from: string, to: string, disk: Disk): void {
  removeDirectory(to, disk)
  disk.mkdir(to)
  for (const name of disk.list(from)) {
    const path = join(from, name)
    if (disk.stat(path)?.kind === 'directory') copyDirectory(path, join(to, name), disk)
    else copyFile(path, join(to, name), disk)
  }
  disk.fsyncDirectory(to)
}

/** A new file with the same bytes; its name is durable once its directory is synced. */
export function copyFile(from: string, to: string, disk: Disk): void {
  const source = disk.open(from, 'read')
  try {
    const target = disk.open(to, 'createNew')
    try {
      const piece = Buffer.allocUnsafe(COPY_BYTES)
      for (let at = 0; ; ) {
        const count = disk.read(source, piece, 0, piece.length, at)
        if (count === 0) break
        disk.write(target, piece, 0, count, at)
        at += count
      }
      disk.fdatasync(target)
    } finally {
      disk.close(target)
    }
  } finally {
    disk.close(source)
  }
}

function removeDirectory(directory: string, disk: Disk): void {
  if (!disk.exists(directory)) return
  assert(!VOLUME_ID.test(basename(directory)), 'a journal that counts is never removed')
  removeTree(directory, disk)
}

function removeTree(directory: string, disk: Disk): void {
  for (const name of disk.list(directory)) {
    const path = join(directory, name)
    if (disk.stat(path)?.kind === 'directory') removeTree(path, disk)
    else disk.unlink(path)
  }
  disk.rmdir(directory)
}
