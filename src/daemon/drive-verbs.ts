import { join } from 'node:path'
import type { DriveControl, DriveDrainPlan, DriveInfo } from '../api/index.ts'
import { FsError } from '../base/index.ts'
import { systemDisk } from '../disk/index.ts'
import { capacityOf, DRAINING_NAME, type Drive } from '../drives/index.ts'
import { describeBytes } from '../volumes/index.ts'
import { addDrive, leaveDrive } from './drive-list.ts'
import { journalsOn } from './move-journals.ts'
import type { Node } from './node.ts'
import { checkDrivePlace, sharedDiskNotes } from './places.ts'

/**
 * What people ask of this node's drives. A drive that comes, goes, or is to be emptied is known to every thread from the next
 * life of the daemon on: it is restarted under its mounts.
 */
export function driveControl(node: Node): DriveControl {
  return {
    list: () => Promise.all(node.drives.map((drive) => driveInfo(node, drive))),
    status: (name) => driveInfo(node, driveNamed(node, name)),
    add: async (dir, options) => {
      await checkDrivePlace(dir, options.create ?? false)
      const drive = addDrive(node.home, node.identity.id, dir, options.class ?? 2)
      await node.restart(null)
      return { ...(await driveInfo(node, drive)), notes: sharedDiskNotes(drive, node.drives) }
    },
    drain: async (name, { plan, stop }) => {
      const drive = driveNamed(node, name)
      const planned = await drainPlan(node, drive, stop)
      if (plan || stop !== drive.draining) return { ...planned, accepted: !plan }
      const mark = join(drive.dir, DRAINING_NAME)
      if (stop) {
        systemDisk.unlink(mark)
        systemDisk.fsyncDirectory(drive.dir)
      } else systemDisk.replaceFile(mark, Buffer.alloc(0))
      await node.restart(null)
      return { ...planned, accepted: true }
    },
    remove: async (name) => {
      const drive = driveNamed(node, name)
      mustNotBeAlone(node, drive, 'drive.remove')
      if (!drive.draining) {
        throw new FsError('EBUSY', 'drive.remove', {
          drive: drive.id,
          message: `drive ${drive.dir} is in use`,
          next: `weft drive drain ${drive.id}; then remove it`,
        })
      }
      node.drains.mustBeEmpty(drive)
      const info = await driveInfo(node, drive)
      leaveDrive(node.home, drive)
      await node.restart(null)
      return info
    },
  }
}

export async function driveInfo(node: Node, drive: Drive): Promise<DriveInfo> {
  const { totalBytes, freeBytes } = capacityOf([drive])
  return {
    id: drive.id,
    name: drive.dir.split('/').at(-1) ?? drive.dir,
    dir: drive.dir,
    kind: drive.kind,
    class: drive.cos,
    state: drive.state,
    totalBytes,
    freeBytes,
    usedBytes: await node.driveUse.bytes(drive),
    drain: node.drains.state(drive),
  }
}

/** @param name id or the beginning of it, directory, or the last part of that. @throws FsError ENOENT; EINVAL for several */
function driveNamed({ drives }: Node, name: string): Drive {
  const found = drives.filter(
    ({ id, dir }) => id === name || dir === name || dir.split('/').at(-1) === name,
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
  let chunks = 0
  for (const _ of node.chunks.on(drive)) chunks++
  if (bytes > freeBytes) {
    throw new FsError('ENOSPC', 'drive.drain', {
      drive: drive.id,
      message: `drive ${drive.dir} has ${describeBytes(bytes)}, and the others have room for ${describeBytes(freeBytes)}`,
      next: 'weft drive add DIR, or delete files; weft node drain moves the copies of this node to other nodes',
    })
  }
  return {
    what: `what is on drive ${drive.dir} goes to the other drives of this node while it is in use; the daemon restarts once under its mounts`,
    chunks,
    journals: journalsOn(drive, systemDisk).length,
    bytes,
    freeBytes,
  }
}

function mustNotBeAlone({ drives }: Node, drive: Drive, op: string): void {
  if (drives.some((one) => one !== drive && one.state === 'ok' && !one.draining)) return
  throw new FsError('EBUSY', op, {
    drive: drive.id,
    message: `drive ${drive.dir} is the only one of this node that takes data`,
    next: 'weft drive add DIR gives it another; weft node drain empties the whole node',
  })
}
