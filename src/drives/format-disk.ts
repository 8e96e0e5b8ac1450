import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { codeOf, type DriveId, FsError } from '../base/index.ts'
import { type BlockDisk, blockDiskAt } from './block-disks.ts'
import { type DiskWorld, type FullDiskWorld, fullWorld } from './disk-world.ts'
import { driveError } from './drive-error.ts'
import { FILESYSTEM_LABEL, type Us, uuidOf } from './judge-disk.ts'

export interface FormatOptions {
  /** Random; becomes the filesystem's UUID, so that blkid finds the drive under any name without mounting it. */
  readonly drive: DriveId
  /** Erase what stands on the disk: signatures, partitions that nothing uses, a drive of somebody else. */
  readonly force?: boolean
}

/** mkfs.xfs discards the whole device first, which a slow SSD may take long over. */
const MKFS_MS_MAX = 30 * 60_000

/**
 * What differs from the defaults of mkfs.xfs, and why. reflink is off: weft writes a chunk once and never shares blocks, and
 * the space reserved for counting shared blocks is 0.6 % of the disk (measured: 13.1 of 2198 GB, xfsprogs 6.1). The defaults
 * that we count on: crc (checksums of the metadata), finobt (chunks come and go by the million), sparse inodes, and discard,
 * which tells an SSD or a thin LUN that it is empty.
 */
const XFS_FEATURES = 'reflink=0'

/**
 * Make a whole disk an empty filesystem of this drive. What stands on the disk is lost, so it is looked at again first, and
 * refused when it is not the same disk any more. Stopped by the signal or by a crash it leaves a disk without a usable
 * filesystem; formatting again, with force, puts that right.
 * @param disk as blockDisks told it
 * @throws FsError ENODEV when the disk is gone or its path is another disk now; EBUSY when anything uses it; EEXIST with what is
 *   there when something is, and force was not given (or the drive is one the node uses); EROFS, ENOSPC (too small), EIO (failing), EACCES
 *   whatever force says; ENOENT when a tool is missing; ECANCELED, ETIMEDOUT
 */
export async function formatDisk(
  disk: BlockDisk,
  us: Us,
  options: FormatOptions,
  world: DiskWorld = {},
): Promise<void> {
  const full = fullWorld(world)
  const now = await blockDiskAt(disk.path, us, world)
  if (now === undefined || !isSameDisk(disk, now)) throw anotherDisk(disk, now)
  const holdsSomething = refuseUnlessAllowed(now, us, options.force ?? false)
  await refuseUnlessFree(now.path)
  // Both programs open the device exclusively themselves: who has come in between is not overwritten.
  if (holdsSomething) await finish(full, 'wipefs', ['--all', now.path])
  const identity = ['-m', `uuid=${uuidOf(options.drive)}`, '-L', FILESYSTEM_LABEL]
  await finish(full, 'mkfs.xfs', ['-q', '-m', XFS_FEATURES, ...identity, now.path])
}

/** Take what stands on a disk off it, so that it is free again. @throws FsError EBUSY when anything uses it; EIO; ENOENT */
export async function eraseDisk(path: string, world: DiskWorld = {}): Promise<void> {
  await refuseUnlessFree(path)
  await finish(fullWorld(world), 'wipefs', ['--all', path])
}

function isSameDisk(a: BlockDisk, b: BlockDisk): boolean {
  return a.wwn === b.wwn && a.serial === b.serial && a.sizeBytes === b.sizeBytes
}

function anotherDisk(disk: BlockDisk, now: BlockDisk | undefined): FsError {
  const is = now === undefined ? 'gone' : `a disk with serial ${now.serial || 'unknown'} now`
  return new FsError('ENODEV', 'drive.format', {
    path: disk.path,
    message: `${disk.path} was a disk with serial ${disk.serial || 'unknown'} and is ${is}: nothing was written`,
    next: 'list the disks again',
  })
}

/** @returns whether there is something to erase */
function refuseUnlessAllowed(disk: BlockDisk, us: Us, force: boolean): boolean {
  const { standing, path } = disk
  if (standing.kind === 'free') return false
  if (standing.kind === 'unusable') {
    if (!standing.isForceable) throw refusal(standing.code, path, standing.why)
    if (!force) throw refusal('EEXIST', path, standing.why, FORCE)
    return true
  }
  const { kind, drive, mountedAt } = standing
  const what = `it is drive ${drive}: ${kind === 'drive' ? "this node's" : standing.why}`
  if (mountedAt !== null) {
    throw refusal('EBUSY', path, `${what}, mounted at ${mountedAt}`, `umount ${mountedAt}`)
  }
  if (us.drives.has(drive)) {
    throw refusal(
      'EEXIST',
      path,
      `${what}, and the node uses it`,
      'remove that drive from the node first',
    )
  }
  if (!force) throw refusal('EEXIST', path, what, FORCE)
  return true
}

const FORCE = 'if nothing on it is needed: weft drive add DISK --force, which erases it'

function refusal(code: FsError['code'], path: string, why: string, next?: string): FsError {
  return new FsError(code, 'drive.format', {
    path,
    message: `${path} is not formatted: ${why}`,
    ...(next === undefined ? {} : { next }),
  })
}

/** Held by somebody whom neither mountinfo nor /sys tells, such as a mount in another namespace. Source: open(2), O_EXCL */
async function refuseUnlessFree(path: string): Promise<void> {
  try {
    const device = await open(path, constants.O_RDWR | constants.O_EXCL)
    await device.close()
  } catch (error) {
    if (codeOf(error) !== 'EBUSY') throw driveError('drive.format', path, error)
    throw refusal(
      'EBUSY',
      path,
      'something has it open for itself alone',
      'look for mounts in other namespaces (lsns -t mnt), lvm, mdadm, multipath',
    )
  }
}

async function finish(
  { run, signal }: FullDiskWorld,
  tool: 'wipefs' | 'mkfs.xfs',
  args: readonly string[],
): Promise<void> {
  const { code, stdout, stderr } = await run(tool, args, { signal, deadlineMs: MKFS_MS_MAX })
  if (code === 0) return
  const said = stderr || stdout.trim() || `it ended with ${code}`
  throw new FsError(/busy|in use/i.test(said) ? 'EBUSY' : 'EIO', 'drive.format', {
    path: args.at(-1),
    message: `${tool} of ${args.at(-1)} failed: ${said}`,
    next: 'look in the kernel log (dmesg) whether the disk answers, then format it again with force',
  })
}
