import { realpathSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { codeOf, type DriveId, FsError, newId, systemRandom } from '../base/index.ts'
import { alignedBuffer, systemDisk } from '../disk/index.ts'
import {
  type BlockDisk,
  blockDiskAt,
  classify,
  type Drive,
  type DriveWorld,
  formatDisk,
  initDrive,
  labelDisk,
  measureDrive,
  mountDisk,
  mountDrive,
  openDrive,
  type ServiceClass,
  unmountDisk,
} from '../drives/index.ts'
import {
  forgetFailure,
  type ListedDisk,
  type ListedDrive,
  listDrive,
  mustBeNew,
  newlyListed,
  readDriveList,
} from './drive-list.ts'
import { type DriveOwner, usOf } from './open-drives.ts'

/** Label a directory as a further drive and remember it; the caller takes it into use, or the next start of the daemon. */
export function addDirectory(
  owner: DriveOwner,
  directory: string,
  cos: ServiceClass,
  driveWorld: DriveWorld,
): Drive {
  const { home, node } = owner
  const dir = resolve(directory)
  mustBeNew(readDriveList(home) ?? { drives: [] }, dir)
  const drive = initDrive(dir, { class: cos, nodeId: node }, systemDisk, driveWorld)
  listDrive(home, newlyListed(dir, null))
  return drive
}

/**
 * Take a drive of this node that failed into use again: a person says that it is sound. From the next start of the daemon on.
 * @param given its directory, or its disk
 * @returns null when that is no drive that failed
 */
export async function takeBack(
  owner: DriveOwner,
  given: { readonly dir?: string | undefined; readonly device?: string | undefined },
): Promise<ListedDrive | null> {
  const { home, disks } = owner
  const failed = (readDriveList(home)?.drives ?? []).filter((one) => one.failed !== null)
  if (failed.length === 0) return null
  const found = given.device && (await blockDiskAt(deviceAt(given.device), usOf(owner), disks))
  const id = found && found.standing.kind === 'drive' ? found.standing.drive : null
  const dir = given.dir === undefined ? null : resolve(given.dir)
  const taken = failed.find((one) => one.dir === dir || (id !== null && one.disk?.drive === id))
  if (!taken) return null
  forgetFailure(home, taken.dir)
  return taken
}

export interface AddDiskOptions {
  /** Of the new drive; random when not given. */
  readonly id?: DriveId
  /** Null: by what the disk is, and what it does in a short measurement. */
  readonly class: ServiceClass | null
  /** Erase what stands on it. */
  readonly force: boolean
  readonly tag: string | null
  readonly signal?: AbortSignal
  readonly progress?: (words: string) => void
}

/**
 * Make a whole disk a further drive: formatted, mounted below the home, measured, labelled, remembered. The caller takes it into
 * use, or the next start of the daemon. One that bears a label of this node, because it was a drive and is not listed any more, is
 * taken as it is.
 * @throws FsError ENODEV when there is no such disk; EEXIST with what stands on it; EBUSY when anything uses it; as formatDisk
 */
export async function addDisk(
  owner: DriveOwner,
  given: string,
  options: AddDiskOptions,
  driveWorld: DriveWorld,
): Promise<Drive> {
  const { home, node, cluster, keys, disks } = owner
  const { signal, progress = () => {} } = options
  const world = { ...disks, ...(signal && { signal }) }
  const path = deviceAt(given)
  const us = usOf(owner)
  const disk = await blockDiskAt(path, us, world)
  if (!disk) throw noDisk(given)
  const { standing } = disk
  if (standing.kind === 'drive' && us.drives.has(standing.drive)) {
    throw new FsError('EEXIST', 'drive.add', {
      message: `${given} is drive ${standing.drive} of this node already`,
      next: 'weft drive list shows them',
    })
  }
  const isOurs = standing.kind === 'drive' && !options.force
  const id = isOurs ? standing.drive : (options.id ?? newId<DriveId>(systemRandom))
  const dir = join(home, 'drives', id)
  if (isOurs) {
    await mountDrive(id, dir, us, world)
    const drive = openDrive(dir, { id, nodeId: node, cluster, keys }, driveWorld)
    listDrive(home, newlyListed(dir, listedDisk(disk, id, options.tag, null)))
    return drive
  }
  progress(`formatting ${disk.path}`)
  await formatDisk(disk, us, { drive: id, force: options.force }, world)
  try {
    await mountDisk(disk.path, dir, world)
    progress(`measuring ${disk.path}`)
    const measured = await measureDrive(dir, alignedBuffer, signal ? { signal } : {})
    const cos = options.class ?? classify(disk, measured)
    const label = { id, class: cos, nodeId: node, cluster, keys }
    const drive = labelDisk(dir, disk, label, systemDisk, driveWorld)
    listDrive(home, newlyListed(dir, listedDisk(disk, id, options.tag, measured)))
    return drive
  } catch (error) {
    await unmountDisk(dir, disks)
    throw error
  }
}

function listedDisk(
  { wwn, serial, model }: BlockDisk,
  drive: DriveId,
  tag: string | null,
  measured: ListedDisk['measured'],
): ListedDisk {
  const kept = measured && {
    syncMs: measured.syncMs,
    bytesPerSecond: Math.round(measured.bytesPerSecond),
  }
  return { drive, wwn, serial, model, tag, measured: kept }
}

function deviceAt(given: string): string {
  try {
    return realpathSync(given)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    throw noDisk(given)
  }
}

function noDisk(given: string): FsError {
  return new FsError('ENODEV', 'drive.add', {
    message: `${given} is no disk of this host that weft could use`,
    next: 'weft drive list --all shows the disks of this host, and why some cannot be used',
  })
}
