import { mkdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { codeOf, type DriveId, FsError } from '../base/index.ts'
import { type BlockDisk, findDisk } from './block-disks.ts'
import { type DiskWorld, type FullDiskWorld, fullWorld } from './disk-world.ts'
import { driveError } from './drive-error.ts'
import type { Us } from './judge-disk.ts'
import { deviceName, type MountLine, mountOn, parseMountinfo } from './mountinfo.ts'
import { type Expected, openDrive } from './open-drive.ts'
import { withPeek } from './peek-disk.ts'
import { whoUses } from './who-uses.ts'

/** Chunks are data, never devices or programs, and nobody asks when one was read. */
const OPTIONS = 'noatime,nodev,nosuid,noexec'
/** XFS replays its log at a mount: bounded by the log's size, 2 GiB at most, which a slow disk reads in some 20 s. */
const MOUNT_MS_MAX = 5 * 60_000

/**
 * Find the disk of a drive, whatever its name is today, and mount it at a directory, which is made when missing. Mounting
 * it again where it is changes nothing. The label is not looked at: openDrive with what is expected comes next.
 *
 * Propagation is left as the parent mount has it. A private mount would gain nothing: whether other namespaces get a copy is
 * the parent's affair, and with it their copies go away at our umount too.
 * @param look as findDisk
 * @returns the disk that is mounted there now
 * @throws FsError as findDisk; EBUSY when it is mounted elsewhere, or something else is at the directory;
 *   EIO with the words of mount(8); ENOENT without it
 */
export async function mountDrive(
  drive: DriveId,
  directory: string,
  us: Us,
  world: DiskWorld = {},
  look?: () => Promise<readonly BlockDisk[]>,
): Promise<BlockDisk> {
  const disk = await findDisk(drive, us, world, look)
  await mountDisk(disk.path, directory, world)
  return disk
}

/**
 * Whether a drive's disk can be read and bears the label that is expected, without mounting it where drives are used: what was
 * mounted there before it went away may still be held. Nothing is changed.
 * @throws FsError as findDisk; EIO when it cannot be mounted; as openDrive of its label
 */
export async function tryDrive(
  drive: DriveId,
  us: Us,
  expect: Expected,
  world: DiskWorld = {},
): Promise<void> {
  const { path, standing } = await findDisk(drive, us, world)
  // Its filesystem has shut down, and the disk answers: only a mount after an umount tells more.
  if (standing.kind === 'drive' && standing.mountedAt !== null) return
  // Which the kernel still knows from the mount of before.
  const more = ['nouuid']
  await withPeek(
    path,
    fullWorld(world),
    (dir) => openUnlessUnseen(dir, { ...expect, id: drive }),
    more,
  )
}

/** Of a drive that is some seconds old the label may be in the log of its filesystem still, which is not replayed here. */
function openUnlessUnseen(dir: string, expect: Expected): void {
  try {
    openDrive(dir, expect)
  } catch (error) {
    if (codeOf(error) !== 'ENODEV') throw error
  }
}

/** As mountDrive, of a device that is known, such as one just formatted. */
export async function mountDisk(
  path: string,
  directory: string,
  world: DiskWorld = {},
): Promise<void> {
  const full = fullWorld(world)
  const at = realPathOf(directory)
  const device = deviceOf(path)
  const lines = mounts(full)
  const there = mountOn(lines, at)
  if (there?.device === device) return
  if (there !== undefined) {
    throw new FsError('EBUSY', 'drive.mount', {
      path,
      at,
      message: `${path} is not mounted at ${at}: ${there.source} is mounted there${isDead(there, full) ? ', a disk that went away' : ''}`,
      next: `umount ${at}`,
    })
  }
  const elsewhere = lines.find((line) => line.device === device && line.root === '/')
  if (elsewhere !== undefined) {
    throw new FsError('EBUSY', 'drive.mount', {
      path,
      at,
      message: `${path} is not mounted at ${at}: it is mounted at ${elsewhere.at}`,
      next: `umount ${elsewhere.at}`,
    })
  }
  try {
    mkdirSync(at, { recursive: true })
  } catch (error) {
    throw driveError('drive.mount', at, error)
  }
  const { code, stderr } = await full.run('mount', ['-t', 'xfs', '-o', OPTIONS, path, at], {
    signal: full.signal,
    deadlineMs: MOUNT_MS_MAX,
  })
  if (code === 0) return
  throw new FsError('EIO', 'drive.mount', {
    path,
    at,
    message: `${path} cannot be mounted at ${at}: ${stderr}`,
    next: 'dmesg | tail says why: "duplicate UUID" when the same drive is still mounted from a disk that went away (umount it first), "corrupt" when xfs_repair is needed',
  })
}

/**
 * Take the filesystem off a directory; what was written to it is on the disk then. Where nothing is mounted, nothing is done.
 * Never lazy: a lazy umount ends well while writes go on, and the disk would be pulled under them.
 * @throws FsError EBUSY with who holds it, as far as /proc tells; EIO; ENOENT without umount(8)
 */
export async function unmountDisk(directory: string, world: DiskWorld = {}): Promise<void> {
  const full = fullWorld(world)
  const at = realPathOf(directory)
  if (mountOn(mounts(full), at) === undefined) return
  const { code, stderr } = await full.run('umount', [at], {
    signal: full.signal,
    deadlineMs: MOUNT_MS_MAX,
  })
  if (code === 0) return
  if (!/busy/.test(stderr)) {
    throw new FsError('EIO', 'drive.unmount', { at, message: `${at} stays mounted: ${stderr}` })
  }
  const users = whoUses(at, full)
  throw new FsError('EBUSY', 'drive.unmount', {
    at,
    retry: 'later',
    message: `${at} stays mounted: ${users.length > 0 ? `used by ${users.join(', ')}` : 'used by something that /proc does not show, such as a mount in another namespace'}`,
    next: 'end what uses it, then try again',
  })
}

/** What is mounted at this very directory, undefined when nothing is. */
export function mountAt(directory: string, world: DiskWorld = {}): MountLine | undefined {
  return mountOn(mounts(fullWorld(world)), realPathOf(directory))
}

function mounts({ procDir }: FullDiskWorld): MountLine[] {
  return parseMountinfo(readFileSync(join(procDir, 'self/mountinfo'), 'utf8'))
}

function isDead({ device }: MountLine, { sysDir }: FullDiskWorld): boolean {
  return statSync(join(sysDir, 'dev/block', device), { throwIfNoEntry: false }) === undefined
}

/** As mountinfo names it, without links on the way; also when what is mounted there answers no more, or nothing is there yet. */
function realPathOf(directory: string): string {
  for (const [dir, rest] of [
    [directory, ''],
    [dirname(directory), basename(directory)],
  ] as const) {
    try {
      return join(realpathSync(dir), rest)
    } catch {
      // the parent next
    }
  }
  return resolve(directory)
}

function deviceOf(path: string): string {
  try {
    return deviceName(statSync(path).rdev)
  } catch (error) {
    throw driveError('drive.mount', path, error)
  }
}
