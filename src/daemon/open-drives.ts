import { join } from 'node:path'
import { type DriveId, FsError, isBug, type Log, messageOf, type NodeId } from '../base/index.ts'
import { systemDisk } from '../disk/index.ts'
import {
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
  type Us,
  unmountDisk,
} from '../drives/index.ts'
import { clearDrive } from './clear-drive.ts'
import { type ListedDrive, readDriveList, writeDriveList } from './drive-list.ts'

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
): Promise<OpenedDrives> {
  const { home, node } = owner
  if (readDriveList(home) === null) {
    const dir = join(home, 'drives', 'default')
    systemDisk.mkdir(dir)
    initDrive(dir, { class: 2, nodeId: node }, systemDisk)
    writeDriveList(home, { drives: [{ dir, disk: null }], leaving: [] })
  }
  await clearLeaving(owner, log)
  const drives: Drive[] = []
  const missing: MissingDrive[] = []
  for (const listed of readDriveList(home)?.drives ?? []) {
    const { dir, disk } = listed
    if (disk === null) {
      drives.push(openDrive(dir, { nodeId: node }, { onFail }))
      continue
    }
    try {
      drives.push(await openDisk(listed, disk.drive, owner, { onFail }))
    } catch (error) {
      if (isBug(error)) throw error
      const why = messageOf(error)
      log.error({ op: 'drive.open', drive: disk.drive, why }, 'a disk is not used')
      missing.push({ id: disk.drive, listed, why })
    }
  }
  if (drives.length === 0) {
    throw new FsError('ENODEV', 'drives', {
      message: `no drive of this node is here: ${missing.map(({ why }) => why).join('; ')}`,
      next: 'bring one back; lsblk -o PATH,SERIAL,UUID shows the disks of this machine',
    })
  }
  return { drives, missing }
}

/** Mounted at its directory, under today's name, with a label that is ours. */
async function openDisk(
  listed: ListedDrive,
  id: DriveId,
  owner: DriveOwner,
  world: DriveWorld,
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
    await mountDrive(id, listed.dir, usOf(owner), disks)
    drive = openDrive(listed.dir, expected, world)
  }
  return cluster === null ? drive : relabel(drive, cluster, keys, systemDisk, world)
}

/** What weft made on drives that were taken out goes, and their disks come off. Nothing of them is open any more. */
async function clearLeaving({ home, disks }: DriveOwner, log: Log): Promise<void> {
  const { drives, leaving } = readDriveList(home) ?? { drives: [], leaving: [] }
  if (leaving.length === 0) return
  const staying: ListedDrive[] = []
  for (const listed of leaving) {
    try {
      // One that fails may be read-only: it comes off all the same.
      try {
        clearDrive(listed.dir, systemDisk)
      } finally {
        if (listed.disk !== null) await takeOff(listed.dir, disks)
      }
    } catch (error) {
      if (isBug(error)) throw error
      log.warn({ op: 'drive.remove', dir: listed.dir, why: messageOf(error) }, 'not cleared')
      if (error instanceof FsError && error.code === 'EBUSY') staying.push(listed)
    }
  }
  writeDriveList(home, { drives, leaving: staying })
}

/** The disk is free for others behind it. @throws FsError EBUSY with who uses it; EIO when it cannot be erased */
async function takeOff(dir: string, disks: DiskWorld): Promise<void> {
  const device = mountAt(dir, disks)?.source
  await unmountDisk(dir, disks)
  if (systemDisk.exists(dir)) systemDisk.rmdir(dir)
  if (device !== undefined) await eraseDisk(device, disks)
}
