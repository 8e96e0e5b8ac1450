import type { DiskInfo, DriveControl, DriveDrainPlan, DriveInfo } from '../api/index.ts'
import { type DriveId, FsError, messageOf } from '../base/index.ts'
import { systemDisk } from '../disk/index.ts'
import {
  type BlockDisk,
  blockDisks,
  capacityOf,
  type Drive,
  findDisk,
  locateDisk,
  takesData,
} from '../drives/index.ts'
import { describeBytes } from '../volumes/index.ts'
import { addDirectory, addDisk, takeBack } from './add-drive.ts'
import {
  forgetDrive,
  type ListedDisk,
  type ListedDrive,
  newlyListed,
  readDriveList,
  unlistDrive,
} from './drive-list.ts'
import { journalsOn } from './move-journals.ts'
import type { Node } from './node.ts'
import { type MissingDrive, usOf } from './open-drives.ts'
import { checkDrivePlace, sharedDiskNotes } from './places.ts'

/**
 * What people ask of this node's drives. What has to do with journals, or with a drive that fails, is done at the start of a life
 * of the daemon: it is restarted under its mounts then.
 */
export function driveControl(node: Node): DriveControl {
  const world = { onFail: node.onDriveFail }
  return {
    list: () => driveInfos(node),
    disks: async () =>
      (await blockDisks(usOf(node.driveOwner), node.driveOwner.disks)).map(diskInfo),
    status: async (name) => {
      const missing = node.missingDrives.find(({ id }) => id === name)
      return missing ? missingInfo(missing) : await driveInfo(node, driveNamed(node, name))
    },
    add: async ({ dir, device, class: cos, create = false, force = false }) => {
      const back = force ? null : await takeBack(node.driveOwner, { dir, device })
      if (back) {
        const drive = node.drives.find((one) => one.dir === back.dir)
        await node.restart(null)
        const info = drive
          ? await driveInfo(node, drive)
          : missingInfo({ id: back.disk?.drive ?? ('' as DriveId), listed: back, why: '' })
        return { ...info, notes: ['it is taken into use again, with what is on it'] }
      }
      if (device !== undefined) {
        const options = { class: cos ?? null, force, tag: null }
        const drive = await addDisk(node.driveOwner, device, options, world)
        await takeIn(node, drive)
        return { ...(await driveInfo(node, drive)), notes: measuredNotes(node, drive) }
      }
      if (dir === undefined) {
        throw new FsError('EINVAL', 'drive.add', { message: 'neither a directory nor a device' })
      }
      await checkDrivePlace(dir, create)
      const drive = addDirectory(node.driveOwner, dir, cos ?? 2, world)
      await takeIn(node, drive)
      return { ...(await driveInfo(node, drive)), notes: sharedDiskNotes(drive, node.drives) }
    },
    locate: async (name, on) => {
      const { disk, dir } = listedOf(listOf(node), driveNamed(node, name))
      if (disk === null) {
        throw new FsError('ENOTSUP', 'drive.locate', {
          message: `drive ${dir} is a directory: which disk it is on, weft does not know`,
          next: `findmnt -T ${dir}`,
        })
      }
      const found = await findDisk(disk.drive, usOf(node.driveOwner), node.driveOwner.disks)
      return { bay: locateDisk(found, on, node.driveOwner.disks) }
    },
    drain: async (name, { plan, stop }) => {
      const drive = driveNamed(node, name)
      const planned = await drainPlan(node, drive, stop)
      if (plan || stop !== drive.draining) return { ...planned, accepted: !plan }
      // One that fails is emptied by itself, and may take no mark. Its journals go at the start of a life.
      if (drive.state !== 'ok') {
        if (!stop && planned.journals > 0) {
          mustGo(node, drive)
          await node.restart(null)
        }
        return { ...planned, accepted: !stop }
      }
      await node.drain(drive, !stop)
      return { ...planned, accepted: true }
    },
    remove: async (name, { lost }) => {
      const away = node.missingDrives.find(({ id, listed }) => {
        return id === name || nameOf(listed) === name || listed.dir === name
      })
      if (away) {
        if (!lost) throw notHere(away.id, away.why)
        forgetDrive(node.home, away.listed.dir)
        await node.restart(null)
        return missingInfo(away)
      }
      const drive = driveNamed(node, name)
      mustNotBeAlone(node, drive, 'drive.remove')
      if (drive.state === 'gone') throw notHere(drive.id, String(drive.failure ?? ''))
      if (takesData(drive)) {
        throw new FsError('EBUSY', 'drive.remove', {
          drive: drive.id,
          message: `drive ${drive.dir} is in use`,
          next: `weft drive drain ${drive.id}; then remove it`,
        })
      }
      node.drains.mustBeEmpty(drive)
      const info = await driveInfo(node, drive)
      unlistDrive(node.home, drive.dir)
      if (!(await node.clear(drive))) await node.restart(null)
      return info
    },
  }
}

/** It is listed: the next life of the daemon takes it if this one cannot. */
async function takeIn(node: Node, drive: Drive): Promise<void> {
  if (!(await node.comes(drive))) await node.restart(null)
}

/** What was on it alone is lost with it: that is said, not found out later. */
function notHere(id: DriveId, why: string): FsError {
  return new FsError('ENODEV', 'drive.remove', {
    drive: id,
    message: `drive ${id} is not here, and cannot be emptied: ${why}`,
    next: 'put it back. If it is lost for good: weft down; weft up; weft drive remove DRIVE --lost. What was on it alone is lost then: weft fsck says which files, and volumes with a copy on another node have all of theirs',
  })
}

export async function driveInfos(node: Node): Promise<DriveInfo[]> {
  const listed = listOf(node)
  const infos = await Promise.all(
    node.drives.map((drive) => driveInfo(node, drive, listedOf(listed, drive))),
  )
  return [...infos, ...node.missingDrives.map(missingInfo)]
}

async function driveInfo(
  node: Node,
  drive: Drive,
  { disk } = listedOf(listOf(node), drive),
): Promise<DriveInfo> {
  const { totalBytes, freeBytes } = capacityOf([drive])
  return {
    id: drive.id,
    name: nameOf({ dir: drive.dir, disk }),
    dir: drive.dir,
    kind: drive.kind,
    class: drive.cos,
    state: drive.state,
    totalBytes,
    freeBytes,
    usedBytes: await node.driveUse.bytes(drive),
    drain: node.drains.state(drive),
    disk: disk && diskOf(disk),
    why: drive.failure === null ? '' : messageOf(drive.failure),
  }
}

/** A disk that is not here: what it has, nobody can say. */
function missingInfo({ id, listed, why }: MissingDrive): DriveInfo {
  return {
    id,
    name: nameOf(listed),
    dir: listed.dir,
    kind: 'block',
    class: 1,
    state: 'gone',
    totalBytes: 0,
    freeBytes: 0,
    usedBytes: 0,
    drain: null,
    disk: listed.disk && diskOf(listed.disk),
    why,
  }
}

function diskOf({ wwn, serial, model, tag, measured }: ListedDisk): DriveInfo['disk'] {
  return { wwn, serial, model, tag, measured }
}

/** A disk is told by its serial number, as on its sticker. */
function nameOf({ dir, disk }: Pick<ListedDrive, 'dir' | 'disk'>): string {
  return disk?.serial || (dir.split('/').at(-1) ?? dir)
}

function listOf({ home }: Node): readonly ListedDrive[] {
  return readDriveList(home)?.drives ?? []
}

function listedOf(list: readonly ListedDrive[], { dir }: Drive): ListedDrive {
  return list.find((one) => one.dir === dir) ?? newlyListed(dir, null)
}

function measuredNotes(node: Node, drive: Drive): string[] {
  const measured = listedOf(listOf(node), drive).disk?.measured
  if (!measured) return ['it bore the label of this node, and is taken with what is on it']
  const { syncMs, bytesPerSecond } = measured
  const rate = Math.round(bytesPerSecond / 1e6)
  return [`measured: ${syncMs.toFixed(2)} ms for a durable 4 KiB, ${rate} MB/s; class ${drive.cos}`]
}

function diskInfo({ standing, links, ...disk }: BlockDisk): DiskInfo {
  const { path, name, wwn, serial, model, transport, sizeBytes, media } = disk
  const facts = { id: wwn || serial || name, name, path, wwn, serial, model, transport, sizeBytes }
  const more = { media, link: links[0] ?? path }
  switch (standing.kind) {
    case 'free':
      return { ...facts, ...more, standing: 'free', why: '' }
    case 'drive':
      return { ...facts, ...more, standing: 'drive', why: `drive ${standing.drive}` }
    case 'foreign-drive':
      return { ...facts, ...more, standing: 'foreign', why: standing.why }
    case 'unusable':
      return { ...facts, ...more, standing: 'unusable', why: standing.why }
  }
}

/** @param name id or the beginning of it, directory, or the last part of that. @throws FsError ENOENT; EINVAL for several */
function driveNamed(node: Node, name: string): Drive {
  const { drives } = node
  const listed = listOf(node)
  const bears = (dir: string) => listed.some((one) => one.dir === dir && nameOf(one) === name)
  const found = drives.filter(
    ({ id, dir }) => id === name || dir === name || dir.split('/').at(-1) === name || bears(dir),
  )
  const begun = name.length >= 4 ? drives.filter(({ id }) => id.startsWith(name)) : []
  const [drive, second] = found.length > 0 ? found : begun
  if (drive && !second) return drive
  throw new FsError(drive ? 'EINVAL' : 'ENOENT', 'drive', {
    message: drive
      ? `${name} is the name of several drives of this node`
      : `this node has no drive ${name}`,
    next: 'weft drive list shows their ids and directories',
  })
}

async function drainPlan(
  node: Node,
  drive: Drive,
  stop: boolean,
): Promise<Omit<DriveDrainPlan, 'accepted'>> {
  if (stop) {
    return {
      what: `drive ${drive.dir} takes data again`,
      chunks: 0,
      journals: 0,
      bytes: 0,
      freeBytes: 0,
    }
  }
  mustNotBeAlone(node, drive, 'drive.drain')
  const others = node.drives.filter((one) => one !== drive)
  const { freeBytes } = capacityOf(others)
  const bytes = await node.driveUse.bytes(drive)
  if (bytes > freeBytes) {
    throw new FsError('ENOSPC', 'drive.drain', {
      drive: drive.id,
      message: `drive ${drive.dir} has ${describeBytes(bytes)}, and the others have room for ${describeBytes(freeBytes)}`,
      next: 'weft drive add DIR, or delete files; weft node drain moves the copies of this node to other nodes',
    })
  }
  const journals = journalsOn(drive, node.drives, systemDisk).length
  const restarts =
    journals > 0 ? '; for its journals the daemon restarts once under its mounts' : ''
  return {
    what: `what is on drive ${drive.dir} goes to the other drives of this node while it is in use${restarts}`,
    chunks: node.drains.chunksOn(drive),
    journals,
    bytes,
    freeBytes,
  }
}

/** It was tried at the start of this life, with the drive as it is. */
function mustGo({ drains }: Node, drive: Drive): void {
  const kept = drains.kept(drive)
  if (kept.length === 0) return
  throw new FsError('EIO', 'drive.drain', {
    drive: drive.id,
    message: `drive ${drive.dir} fails, and does not give all of its journals: ${kept.join('; ')}`,
    next: 'copy the disk to a sound one while it answers (ddrescue), and put that in its place. If it is lost: weft down; unplug it; weft up; weft drive remove DRIVE --lost. Volumes with a copy on another node are made whole from that; the others come back from a backup',
  })
}

function mustNotBeAlone({ drives }: Node, drive: Drive, op: string): void {
  if (drives.some((one) => one !== drive && takesData(one))) return
  throw new FsError('EBUSY', op, {
    drive: drive.id,
    message: `drive ${drive.dir} is the only one of this node that takes data`,
    next: 'weft drive add DIR gives it another; weft node drain empties the whole node',
  })
}
