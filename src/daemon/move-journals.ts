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
  readonly kept: readonly KeptJournal[]
}

/** Why a journal is still where it was, in words; or why nobody knows of those on a drive. */
export interface KeptJournal {
  readonly drive: Drive
  readonly why: string
}

/** Where it is written down, durably, that a drive has given a journal up which cannot be renamed there. */
export interface GivenUp {
  add(drive: Drive, volume: VolumeId): void
  drop(drive: Drive, volume: VolumeId): void
}

/**
 * Move the journals off the drives that are being emptied, or fail. At the start of a daemon, before anything of them is open:
 * whoever uses the volumes waits meanwhile, and nobody can append to what is being copied.
 *
 * One rename decides: the drive before gives a journal up (`ID` becomes `ID.left`) once it is durable on the next one as
 * `ID.arriving`. Before that the next one's is discarded, after it the old one is never used again; so of two drives that are
 * not always here together never both have the volume. On a drive that fails, and may be read-only, what is written down at home
 * decides as that rename would (Drive.givenUp), until the drive takes it.
 *
 * What is wrong with one drive keeps neither the others' journals nor the daemon's start.
 */
export function moveJournals(
  drives: readonly Drive[],
  disk: Disk,
  log: Log,
  givenUp: GivenUp,
): MovedJournals {
  const moved: { volume: VolumeId; from: Drive; to: Drive }[] = []
  const kept: KeptJournal[] = []
  const here = drives.filter((drive) => drive.state !== 'gone')
  /** One try for each drive, and for each journal. */
  const attempt = (drive: Drive, what: string, work: () => void) => {
    try {
      work()
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      kept.push({ drive, why: `${what}: ${messageOf(error)}` })
      log.error({ op: 'journal.move', drive: drive.id, what, error: messageOf(error) }, 'kept')
    }
  }
  const each = (state: string, work: (volume: VolumeId, drive: Drive) => void) => {
    for (const drive of here) {
      const names: VolumeId[] = []
      attempt(drive, `the journals on drive ${drive.dir}`, () => {
        names.push(...onDrive(drive, () => namesOn(drive, disk, state)))
      })
      for (const volume of names) {
        attempt(drive, `the journal of volume ${volume}`, () => work(volume, drive))
      }
    }
  }
  for (const drive of here) {
    if (drive.state !== 'ok') continue
    for (const volume of [...drive.givenUp]) {
      attempt(drive, `the old journal of volume ${volume}`, () => {
        onDrive(drive, () => markLeft(volume, drive, disk))
        givenUp.drop(drive, volume)
        drive.givenUp.delete(volume)
      })
    }
  }
  each(ARRIVING, (volume, drive) => arrive(volume, drive, here, disk))
  each(LEFT, (volume, drive) => clear(volume, drive, here, disk))
  each('', (volume, from) => {
    if (from.givenUp.has(volume)) return
    const isLeaving = from.draining || from.state !== 'ok'
    const cos = isLeaving ? null : onDrive(from, () => classWanted(volume, from, here, disk))
    if (!isLeaving && cos === null) return
    const to = move(volume, from, cos, here, disk, givenUp)
    moved.push({ volume, from, to })
    log.info({ op: 'journal.move', volume, from: from.id, to: to.id }, 'journal moved')
  })
  return { moved, kept }
}

/** A drive that answers an error gets nothing new. */
function onDrive<T>(drive: Drive, work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof FsError) drive.fail(error)
    throw error
  }
}

/**
 * Volumes whose journal, or what is left of its move, is on a drive.
 * @param drives where what was left may have arrived: then it counts no more
 */
export function journalsOn(drive: Drive, drives: readonly Drive[], disk: Disk): VolumeId[] {
  const others = drives.filter((one) => one !== drive)
  const left = namesOn(drive, disk, LEFT).filter((id) => !hasOn(others, id, '', disk))
  const there = namesOn(drive, disk, '').filter((id) => !drive.givenUp.has(id))
  const undecided = [...drive.givenUp].filter((id) => !hasOn(others, id, '', disk))
  return [...there, ...namesOn(drive, disk, ARRIVING), ...new Set([...left, ...undecided])]
}

/** Whether it has a journal, or anything that a move of one left. */
export function hasJournals(drive: Drive, disk: Disk): boolean {
  return ['', ARRIVING, LEFT].some((state) => namesOn(drive, disk, state).length > 0)
}

/** The drive that a volume's journal is on. */
export function journalDrive(
  volume: VolumeId,
  drives: readonly Drive[],
  disk: Disk,
): Drive | undefined {
  return drives.find((drive) => hasOn([drive], volume, '', disk))
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
  givenUp: GivenUp,
): Drive {
  const source = join(from.dir, VOLUMES_NAME, volume)
  const fit = drives.filter(
    (drive) => drive !== from && takesData(drive) && (cos === null || drive.cos === cos),
  )
  // An old one of this volume: moved over it, both would be lost.
  const others = fit.filter(
    (drive) => !drive.givenUp.has(volume) && !disk.exists(join(drive.dir, VOLUMES_NAME, volume)),
  )
  if (others.length === 0 && fit[0]) {
    throw new FsError('EEXIST', 'journal.move', {
      volume,
      message: `another journal of it is on drive ${fit[0].dir}: which is the right one, nobody knows`,
      next: `look at both in ${VOLUMES_NAME}/${volume}; move the old one away`,
    })
  }
  const bytes = onDrive(from, () => bytesIn(source, disk))
  const to = pickDrive(others, bytes, { cos: from.cos, urgent: true })
  const arriving = join(to.dir, VOLUMES_NAME, volume + ARRIVING)
  try {
    copyDirectory(source, arriving, disk)
    disk.fsyncDirectory(join(to.dir, VOLUMES_NAME))
  } catch (error) {
    removeDirectory(arriving, disk)
    throw error
  }
  giveUp(volume, from, disk, givenUp)
  rename(arriving, join(to.dir, VOLUMES_NAME, volume), disk)
  try {
    removeDirectory(source + LEFT, disk)
  } catch (error) {
    // It counts no more.
    if (!(error instanceof FsError) || from.state === 'ok') throw error
  }
  return to
}

/** What it has given up it says itself from here on. */
function markLeft(volume: VolumeId, drive: Drive, disk: Disk): void {
  const source = join(drive.dir, VOLUMES_NAME, volume)
  if (!disk.exists(source)) return
  removeDirectory(source + LEFT, disk)
  rename(source, source + LEFT, disk)
}

/** From here on the journal is the next drive's. @throws FsError: then it is not, or will be decided at the next start */
function giveUp(volume: VolumeId, from: Drive, disk: Disk, givenUp: GivenUp): void {
  const source = join(from.dir, VOLUMES_NAME, volume)
  try {
    rename(source, source + LEFT, disk)
  } catch (error) {
    if (!(error instanceof FsError)) throw error
    from.fail(error)
    givenUp.add(from, volume)
    from.givenUp.add(volume)
  }
}

/** What a crash left between two steps: complete where the drive before has given it up, else nothing. */
function arrive(volume: VolumeId, drive: Drive, drives: readonly Drive[], disk: Disk): void {
  const arriving = join(drive.dir, VOLUMES_NAME, volume + ARRIVING)
  if (hasOn(drives, volume, '', disk)) onDrive(drive, () => removeDirectory(arriving, disk))
  // Else the drive before is not here: whether it has given it up, nobody knows yet.
  else if (hasOn(drives, volume, LEFT, disk)) {
    onDrive(drive, () => rename(arriving, join(drive.dir, VOLUMES_NAME, volume), disk))
  }
}

function clear(volume: VolumeId, drive: Drive, drives: readonly Drive[], disk: Disk): void {
  const left = join(drive.dir, VOLUMES_NAME, volume + LEFT)
  // Of one that fails nothing needs to go.
  if (drive.state !== 'ok' || !hasOn(drives, volume, '', disk)) return
  onDrive(drive, () => removeDirectory(left, disk))
}

/** A drive that does not answer has it as little as one that is away. */
function hasOn(drives: readonly Drive[], volume: VolumeId, state: string, disk: Disk): boolean {
  return drives.some((drive) => {
    try {
      return onDrive(drive, () => isOn(drive, volume, state, disk))
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      return false
    }
  })
}

function isOn(drive: Drive, volume: VolumeId, state: string, disk: Disk): boolean {
  const isGivenUp = drive.givenUp.has(volume)
  if (state === LEFT && isGivenUp) return true
  if (state === '' && isGivenUp) return false
  return disk.exists(join(drive.dir, VOLUMES_NAME, volume + state))
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
