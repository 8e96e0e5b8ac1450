import { type DriveId, FsError, messageOf } from '../base/index.ts'
import { type DiskFacts, lookAtDisks } from './disk-facts.ts'
import { type DiskWorld, type FullDiskWorld, fullWorld } from './disk-world.ts'
import { systemDriveFiles } from './drive-files.ts'
import {
  driveOn,
  judgeDisk,
  judgeLabel,
  judgeNoLabel,
  type Standing,
  type Us,
} from './judge-disk.ts'
import type { DriveLabel } from './label.ts'
import { withPeek } from './peek-disk.ts'
import { readLabel } from './read-label.ts'

/** A whole disk of this host. */
export interface BlockDisk {
  /** /dev/sdb: another one after the next boot, so it is never stored. */
  readonly path: string
  /** Name below /sys/block. */
  readonly name: string
  /** Names that stay: paths below the by-id directory. */
  readonly links: readonly string[]
  /** Lower-case hex without 0x; '' when it has none. So are `serial`, `model` and `transport`. */
  readonly wwn: string
  readonly serial: string
  readonly model: string
  /** sas, sata, nvme, usb, virtio, …, as lsblk says. */
  readonly transport: string
  readonly sizeBytes: number
  readonly media: 'hdd' | 'ssd' | 'nvme'
  readonly standing: Standing
}

/**
 * Every whole disk of this host, with what may be done with it. Changes nothing: the label of a drive that the node does not
 * know is read by mounting it for a moment, read-only and without replaying its log.
 * A disk that vanishes meanwhile is left out. Partly blind without root, and says so of each disk.
 * @throws FsError ENOENT when lsblk, wipefs or mount is not installed, with the package in `next`
 */
export async function blockDisks(us: Us, world: DiskWorld = {}): Promise<BlockDisk[]> {
  return judgeAll(await lookAtDisks(fullWorld(world)), us, fullWorld(world))
}

/** The disk at a path as it is now, undefined when there is none. @throws as blockDisks */
export async function blockDiskAt(
  path: string,
  us: Us,
  world: DiskWorld = {},
): Promise<BlockDisk | undefined> {
  const full = fullWorld(world)
  const [disk] = await judgeAll(await lookAtDisks(full, path), us, full)
  return disk
}

/**
 * The disk a drive of this node is on, whatever its name is today.
 * @param look at the disks of the host; who looks for several drives at a time looks once
 * @throws FsError ENODEV when no disk is it, EBUSY when two disks say they are or the one is otherwise in use,
 *   ESTALE when its label is somebody else's, EIO when it is failing; as blockDisks
 */
export async function findDisk(
  drive: DriveId,
  us: Us,
  world: DiskWorld = {},
  look: () => Promise<readonly BlockDisk[]> = () => blockDisks(us, world),
): Promise<BlockDisk> {
  const disks = await look()
  const found = disks.filter(({ standing }) => nameOf(standing) === drive)
  const [disk, ...others] = found
  if (disk === undefined) {
    throw new FsError('ENODEV', 'drive.find', {
      drive,
      retry: 'later',
      message: `none of the ${disks.length} disks of this host is drive ${drive}`,
      next: 'look whether the disk is plugged in and powered: its filesystem has the drive id as UUID, lsblk -o PATH,SERIAL,UUID',
    })
  }
  if (others.length > 0) {
    const paths = found.map(({ path, serial }) => `${path} (serial ${serial || 'unknown'})`)
    throw new FsError('EBUSY', 'drive.find', {
      drive,
      message: `${paths.join(' and ')} all say they are drive ${drive}: one is a copy of the other, and nothing is mounted`,
      next: 'detach the copy, or erase it with wipefs -a once you know which one it is',
    })
  }
  const { standing } = disk
  if (standing.kind === 'foreign-drive') {
    throw new FsError('ESTALE', 'drive.find', {
      drive,
      message: `${disk.path} is drive ${drive}, but not this node's: ${standing.why}`,
    })
  }
  if (standing.kind === 'unusable' && !standing.isForceable) {
    throw new FsError(standing.code, 'drive.find', {
      drive,
      message: `${disk.path} is drive ${drive}, but cannot be used: ${standing.why}`,
    })
  }
  return disk
}

/** The drive that a disk says it is; also when its label was not seen. Who asks by id then opens it, which reads the label. */
function nameOf(standing: Standing): DriveId | null {
  if (standing.kind === 'free') return null
  return standing.kind === 'unusable' ? driveOn(standing.signatures) : standing.drive
}

async function judgeAll(
  facts: readonly DiskFacts[],
  us: Us,
  world: FullDiskWorld,
): Promise<BlockDisk[]> {
  const disks: BlockDisk[] = []
  for (const of of facts) {
    const { row, links, identity, media } = of
    disks.push({
      path: row.path,
      name: row.name,
      links,
      ...identity,
      transport: row.transport,
      sizeBytes: row.sizeBytes,
      media,
      standing: await judge(of, us, world),
    })
  }
  return disks
}

const UNSEEN =
  'no label is seen on it: labelling it was interrupted, or after a power cut the label is still in the log of the filesystem, which mounting it replays'

async function judge(facts: DiskFacts, us: Us, world: FullDiskWorld): Promise<Standing> {
  const judged = judgeDisk(facts, us)
  if (!('ask' in judged)) return judged
  try {
    return judgeLabel(facts, judged.ask, await labelOn(facts, world), us)
  } catch (error) {
    if (!(error instanceof FsError) || error.code === 'ECANCELED') throw error
    const why = error.code === 'ENODEV' ? UNSEEN : messageOf(error)
    return judgeNoLabel(facts, judged.ask, why)
  }
}

async function labelOn(facts: DiskFacts, world: FullDiskWorld): Promise<DriveLabel> {
  const at = facts.mountedAt.at(-1)
  if (at !== undefined) return readLabel(at, systemDriveFiles)
  return await withPeek(facts.row.path, world, (dir) => readLabel(dir, systemDriveFiles))
}
