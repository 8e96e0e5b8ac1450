import { join } from 'node:path'
import {
  type Clock,
  codeOf,
  type DriveId,
  FsError,
  isBug,
  type Log,
  messageOf,
  type NodeId,
  systemClock,
  wallMs,
} from '../base/index.ts'
import { systemDisk } from '../disk/index.ts'
import {
  type BlockDisk,
  blockDisks,
  type DiskWorld,
  type Drive,
  type DriveWorld,
  eraseDisk,
  initDrive,
  type LabelKeys,
  mountAt,
  mountDrive,
  openDrive,
  relabel,
  takesData,
  type Us,
  unmountDisk,
} from '../drives/index.ts'
import { clearDrive, leftOnlyOn } from './clear-drive.ts'
import {
  forgetFailure,
  forgetLeaving,
  type ListedDrive,
  listAgain,
  newlyListed,
  readDriveList,
  writeDriveList,
} from './drive-list.ts'

/** Whose drives are opened, and how they are looked for. */
export interface DriveOwner {
  readonly home: string
  readonly node: NodeId
  /** Null in no cluster. */
  readonly cluster: string | null
  readonly keys: LabelKeys
  readonly disks: DiskWorld
}

/** A disk of this node that was not there at the start, or could not be used. */
export interface MissingDrive {
  readonly id: DriveId
  readonly listed: ListedDrive
  readonly why: string
}

/**
 * A drive whose disk went away within this time of its first error was pulled: nothing is wrong with it. One that failed for
 * longer stays failing, also when it went away since.
 */
export const PULLED_MS = 60_000

export interface OpenedDrives {
  readonly drives: readonly Drive[]
  readonly missing: readonly MissingDrive[]
}

export function usOf({ home, node, cluster, keys }: DriveOwner): Us {
  const { drives = [], leaving = [] } = readDriveList(home) ?? {}
  const known = [...drives, ...leaving].flatMap(({ disk }) => (disk ? [disk.drive] : []))
  return { nodeId: node, cluster, keys, drives: new Set(known) }
}

/**
 * The drives of a home: <home>/drives.json names them. The first start makes one, <home>/drives/default. Disks are found
 * under whatever name they have today, and mounted. One that is not there is waited for by nobody.
 * @throws FsError of openDrive when a directory is not there or not ours, or when nothing is left; CorruptError
 */
export async function openDrives(
  owner: DriveOwner,
  log: Log,
  onFail: NonNullable<DriveWorld['onFail']>,
  clock: Clock = systemClock(),
): Promise<OpenedDrives> {
  const { home, node } = owner
  if (readDriveList(home) === null) {
    const dir = join(home, 'drives', 'default')
    systemDisk.mkdir(dir)
    initDrive(dir, { class: 2, nodeId: node }, systemDisk)
    writeDriveList(home, { drives: [newlyListed(dir, null)], leaving: [] })
  }
  const drives: Drive[] = []
  const missing: MissingDrive[] = []
  // After a boot all of them are looked for: each look runs a program for each disk of the host.
  let looked: Promise<readonly BlockDisk[]> | null = null
  const look = () => (looked ??= blockDisks(usOf(owner), owner.disks))
  const open = async (listed: ListedDrive) => {
    const { dir, disk, failed } = listed
    try {
      drives.push(await openListed(listed, owner, { onFail }, look))
    } catch (error) {
      if (isBug(error) || disk === null) throw error
      const why = messageOf(error)
      log.error({ op: 'drive.open', drive: disk.drive, why }, 'a disk is not used')
      missing.push({ id: disk.drive, listed, why })
      if (failed === null || codeOf(error) !== 'ENODEV') return
      if (wallMs(clock) - Date.parse(failed.at) < PULLED_MS) forgetFailure(home, dir)
    }
  }
  for (const listed of readDriveList(home)?.drives ?? []) await open(listed)
  for (const listed of await clearLeaving(owner, drives.filter(takesData), log)) await open(listed)
  if (drives.length === 0) {
    throw new FsError('ENODEV', 'drives', {
      message: `no drive of this node is here: ${missing.map(({ why }) => why).join('; ')}`,
      next: 'bring one back; lsblk -o PATH,SERIAL,UUID shows the disks of this machine',
    })
  }
  return { drives, missing }
}

/** @throws FsError as openDrive of a directory, as openDisk of a disk */
export async function openListed(
  listed: ListedDrive,
  owner: DriveOwner,
  world: DriveWorld,
  look?: () => Promise<readonly BlockDisk[]>,
): Promise<Drive> {
  const { dir, disk, failed } = listed
  const drive =
    disk === null
      ? openDrive(dir, { nodeId: owner.node }, world)
      : await openDisk(listed, disk.drive, owner, world, look)
  for (const volume of listed.givenUp) drive.givenUp.add(volume)
  if (failed !== null) drive.fail(failedBefore(listed, failed.why, failed.at))
  return drive
}

function failedBefore({ dir }: ListedDrive, why: string, at: string): FsError {
  return new FsError('EIO', 'drive', {
    dir,
    message: `it failed on ${at}: ${why}; it gets nothing new until somebody says that it is sound: weft drive add ${dir}`,
  })
}

/**
 * Mounted at its directory, under today's name, with a label that is ours. Where that fails nothing of it stays mounted: a
 * person may have to look at it.
 */
export async function openDisk(
  listed: ListedDrive,
  id: DriveId,
  owner: DriveOwner,
  world: DriveWorld,
  look?: () => Promise<readonly BlockDisk[]>,
): Promise<Drive> {
  const { node, cluster, keys, disks } = owner
  const expected = { id, nodeId: node, cluster, keys }
  let drive: Drive
  try {
    drive = openDrive(listed.dir, expected, world)
  } catch (error) {
    if (isBug(error)) throw error
    // Not mounted, or what is mounted there is of a disk that went away: nobody of before has it open any more.
    await unmountDisk(listed.dir, disks)
    await mountDrive(id, listed.dir, usOf(owner), disks, look)
    try {
      drive = openDrive(listed.dir, expected, world)
    } catch (refused) {
      // Why it is refused is what is told.
      await unmountDisk(listed.dir, disks).catch(() => {})
      throw refused
    }
  }
  return cluster === null ? drive : relabel(drive, cluster, keys, systemDisk, world)
}

/**
 * What weft made on drives that were taken out goes, and their disks come off. Nothing of them is open any more. One that has
 * something which no other has is never erased: it was written after the drive had been found empty.
 * @param staying drives that take data, open
 * @returns drives that are listed again, to be opened
 */
export async function clearLeaving(
  owner: DriveOwner,
  staying: readonly Drive[],
  log: Log,
): Promise<ListedDrive[]> {
  const { home } = owner
  const back: ListedDrive[] = []
  for (const listed of readDriveList(home)?.leaving ?? []) {
    const why = await whyNotCleared(listed, owner, staying, log)
    if (why === null) continue
    log.error({ op: 'drive.remove', dir: listed.dir, why }, 'it is a drive of this node again')
    back.push(listed)
    listAgain(home, listed)
  }
  return back
}

/** @returns why it is to stay a drive, in words; null when it is off, or is tried again at the next start */
async function whyNotCleared(
  listed: ListedDrive,
  owner: DriveOwner,
  staying: readonly Drive[],
  log: Log,
): Promise<string | null> {
  const { home, disks } = owner
  const { dir, disk } = listed
  try {
    if (disk !== null) await mountLeaving(dir, disk.drive, owner)
    const left = leftOnlyOn(dir, listed.givenUp, staying, systemDisk)
    if (left.length > 0) return `${left.length} files are on it alone, such as ${left[0]}`
  } catch (error) {
    if (isBug(error)) throw error
    // Not here: nothing of it is erased either.
    if (codeOf(error) !== 'ENODEV') return `what is on it cannot be looked at: ${messageOf(error)}`
    log.warn({ op: 'drive.remove', dir, why: messageOf(error) }, 'not cleared')
    forgetLeaving(home, listed.dir)
    return null
  }
  try {
    // One that fails may be read-only: it comes off all the same.
    try {
      clearDrive(dir, systemDisk)
    } finally {
      if (disk !== null) await takeOff(dir, disks)
    }
  } catch (error) {
    if (isBug(error)) throw error
    log.warn({ op: 'drive.remove', dir, why: messageOf(error) }, 'not cleared')
    if (codeOf(error) === 'EBUSY') return null
  }
  forgetLeaving(home, listed.dir)
  return null
}

/** After a boot it is not mounted any more. Where clearing has begun it was mounted last, and has no label. */
async function mountLeaving(dir: string, id: DriveId, owner: DriveOwner): Promise<void> {
  if (mountAt(dir, owner.disks)) return
  await mountDrive(id, dir, usOf(owner), owner.disks)
}

/** The disk is free for others behind it. @throws FsError EBUSY with who uses it; EIO when it cannot be erased */
async function takeOff(dir: string, disks: DiskWorld): Promise<void> {
  const device = mountAt(dir, disks)?.source
  await unmountDisk(dir, disks)
  if (systemDisk.exists(dir)) systemDisk.rmdir(dir)
  if (device !== undefined) await eraseDisk(device, disks)
}
