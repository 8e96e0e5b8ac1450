import { closeSync, constants, fstatSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { resolve } from 'node:path'
import { codeOf, FsError, messageOf } from '../base/errors.ts'
import { isWeftMount, type MountEntry, mountAt, mountTable } from './mount-table.ts'
import { type CommandResult, runCommand } from './run-command.ts'
import { servedByKeeper } from './run-dir.ts'

export interface MountFuseOptions {
  /** What df and mount show in the first column. */
  readonly source?: string
  /** Further options of mount(8), each one word without a comma: ro, nosuid, nodev, noexec, noatime, max_read=N. */
  readonly options?: readonly string[]
}

export interface MountedFuse {
  /** Canonical mount point, as mountinfo names it. */
  readonly target: string
  readonly mountId: number
  /** "major:minor" of the superblock; also the name under /sys/fs/fuse/connections (its minor). */
  readonly dev: string
}

const OPTION = /^[a-z_]+(=[^,\s]+)?$/
/** How long a mount of ours that nobody claims may take to show that it is dead. A dead one answers at once. */
const PROBE_MS = 1000

/**
 * A fresh /dev/fuse. Until it is mounted, read and write on it give EPERM; one descriptor serves one mount, once.
 * @param options nonBlocking: read gives EAGAIN when there is no request
 * @throws FsError ENODEV without the fuse module, EPERM without the right
 */
export function openFuse({ nonBlocking = false } = {}): number {
  try {
    const fd = openSync('/dev/fuse', constants.O_RDWR | (nonBlocking ? constants.O_NONBLOCK : 0))
    if (fstatSync(fd).rdev === FUSE_RDEV) return fd
    closeSync(fd)
  } catch (cause) {
    const code = codeOf(cause)
    if (code === 'ENOENT' || code === 'ENODEV' || code === 'ENXIO') {
      throw new FsError('ENODEV', 'open-fuse', {
        cause,
        message: '/dev/fuse is absent: the kernel has no fuse; run: modprobe fuse',
      })
    }
    if (code === 'EACCES' || code === 'EPERM') {
      throw new FsError('EPERM', 'open-fuse', {
        cause,
        message:
          'no right to open /dev/fuse; run as root, or give the container --device /dev/fuse',
      })
    }
    throw new FsError('EIO', 'open-fuse', { cause, message: `/dev/fuse: ${messageOf(cause)}` })
  }
  throw new FsError('ENODEV', 'open-fuse', {
    message:
      '/dev/fuse is not the fuse device; run: rm /dev/fuse && mknod -m 666 /dev/fuse c 10 229',
  })
}

/** Character device 10:229. Source: linux Documentation/admin-guide/devices.txt; major and minor are below 256. */
const FUSE_RDEV = 10 * 256 + 229

/**
 * Mount an open /dev/fuse on a directory. Returns when mount(2) has; INIT waits in the descriptor by then, and
 * whoever reads it may do so while this still runs (before mount(2) reads give EPERM).
 * A dead mount of ours at the target (its daemon and keeper are gone) is taken away first.
 * @throws FsError ENOENT, ENOTDIR, EBUSY (a mount is there already), EPERM, EINVAL (bad option), ETIMEDOUT, EIO
 */
export async function mountFuse(
  fd: number,
  target: string,
  { source = 'weft', options = [] }: MountFuseOptions = {},
): Promise<MountedFuse> {
  for (const option of options) {
    if (!OPTION.test(option)) {
      throw new FsError('EINVAL', 'mount', {
        message: `not a mount option: ${JSON.stringify(option)}`,
      })
    }
  }
  const point = await freeMountPoint(target)
  const wanted = [
    'fd=3,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other',
    ...options,
  ]
  const done = await runCommand(
    'mount',
    ['-i', '-c', '-t', 'fuse.weft', '-o', wanted.join(','), '--', source, point],
    { fds: [fd] },
  )
  if (done.code !== 0) throw mountError(done, point)
  return mounted(point)
}

/** FUSE_DEV_IOC_CLONE, _IOR(229, 0, uint32_t). Source: linux include/uapi/linux/fuse.h */
const IOC_CLONE = 0x8004_e500
/** Node has no ioctl(2); perl-base is on every Debian. The child finds the bare descriptor as 3 and the mounted one as 4. */
const CLONE_SCRIPT = `my $of = pack("L", 4); open(my $bare, "+<&=", 3) or die $!; ioctl($bare, ${IOC_CLONE}, $of) or die $!`

/**
 * Connect a fresh /dev/fuse to the mount of another one: both read its requests, each answers those it has read, and the
 * mount lives until both are closed.
 * @throws FsError ENOENT without perl, EIO when the kernel refuses
 */
export async function cloneFuse(fd: number, bareFd: number): Promise<void> {
  const done = await runCommand('perl', ['-e', CLONE_SCRIPT], { fds: [bareFd, fd] })
  if (done.code !== 0) throw new FsError('EIO', 'clone-fuse', { message: done.stderr })
}

/** Flags that each place of one filesystem has for itself. Source: linux fs/namespace.c, MNT_USER_SETTABLE_MASK */
const PLACE_FLAGS = [
  ['ro', 'rw'],
  ['nosuid', 'suid'],
  ['nodev', 'dev'],
  ['noexec', 'exec'],
  ['nodiratime', 'diratime'],
] as const
/** The kernel's default is the last. */
const ATIME_FLAGS = ['noatime', 'strictatime', 'relatime']

/** Of some mount options those that a second place of a mount cannot have for itself: they are the filesystem's. */
export function notOfOnePlace(options: readonly string[]): string[] {
  const known = [...PLACE_FLAGS.flat(), ...ATIME_FLAGS] as readonly string[]
  return options.filter((option) => !known.includes(option))
}

/**
 * Show the tree of one mount at a second place. Same superblock, same daemon; of `options` exactly those that are given hold
 * there, whatever the first place has. For the instant between two mount(2) it has those of the first.
 * @throws as mountFuse; EINVAL for an option that a place cannot have for itself
 */
export async function bindMount(
  source: string,
  target: string,
  options: readonly string[] = [],
): Promise<MountedFuse> {
  const [foreign] = notOfOnePlace(options)
  if (foreign !== undefined) {
    throw new FsError('EINVAL', 'mount', { message: `a bind mount cannot have option ${foreign}` })
  }
  const point = await freeMountPoint(target)
  const places = ['--', resolve(source), point]
  const done = await runCommand('mount', ['-i', '-c', '--bind', ...places])
  if (done.code !== 0) throw mountError(done, point)
  const flags = PLACE_FLAGS.map(([set, clear]) => (options.includes(set) ? set : clear))
  const atime = ATIME_FLAGS.find((flag) => options.includes(flag)) ?? 'relatime'
  // With both places named, mount(8) merges nothing from fstab or the mount table (man 8 mount, remount).
  const words = ['remount', 'bind', ...flags, atime].join(',')
  const again = await runCommand('mount', ['-i', '-c', '-o', words, ...places])
  if (again.code !== 0) {
    await unmountEntry(point, true, 10_000)
    throw mountError(again, point)
  }
  return mounted(point)
}

/**
 * Take a mount of ours away. Not lazy: the kernel writes dirty pages first, so its daemon must be serving.
 * Lazy: gone from the tree at once; open files keep it alive.
 * @throws FsError EINVAL (no fuse mount there), EBUSY, EPERM, ETIMEDOUT, EIO
 */
export async function unmountFuse(
  target: string,
  { lazy = false, deadlineMs = 30_000 }: { lazy?: boolean; deadlineMs?: number } = {},
): Promise<void> {
  const plain = resolve(target)
  const entry = mountAt(plain) ?? mountAt(await canonical(plain))
  if (entry === undefined) {
    throw new FsError('EINVAL', 'unmount', { message: `${plain} is not a mount point` })
  }
  if (!entry.fsType.startsWith('fuse')) {
    throw new FsError('EINVAL', 'unmount', {
      message: `${plain} is a mount of ${entry.fsType}, not of weft`,
    })
  }
  await unmountEntry(entry.mountPoint, lazy, deadlineMs)
}

/**
 * Write what the kernel holds dirty for the filesystem at `target`, before a lazy unmount.
 * @throws FsError EIO, ETIMEDOUT
 */
export async function syncMount(target: string, deadlineMs: number): Promise<void> {
  const done = await runCommand('sync', ['-f', '--', target], { deadlineMs })
  if (done.code !== 0) throw new FsError('EIO', 'sync', { message: done.stderr })
}

/** umount(8) of an exact mount point, of any type. Errors as unmountFuse. */
export async function unmountEntry(
  point: string,
  lazy: boolean,
  deadlineMs: number,
): Promise<void> {
  const args = ['-i', '-c', ...(lazy ? ['-l'] : []), '--', point]
  const done = await runCommand('umount', args, { deadlineMs })
  if (done.code === 0) return
  if (/busy/.test(done.stderr)) {
    throw new FsError('EBUSY', 'unmount', {
      message: `${point} is in use; see: fuser -vm ${point}`,
      retry: 'later',
    })
  }
  if (/not mounted|no mount point/.test(done.stderr)) {
    throw new FsError('EINVAL', 'unmount', { message: `${point} is not a mount point` })
  }
  if (/must be superuser|not permitted|permission denied/i.test(done.stderr)) {
    throw new FsError('EPERM', 'unmount', { message: `no right to unmount ${point}; run as root` })
  }
  throw new FsError('EIO', 'unmount', { message: `umount ${point}: ${done.stderr}` })
}

/**
 * What a descriptor of /dev/fuse is good for, found without reading from it (a read takes requests, and blocks).
 * fresh: never mounted · live: its superblock exists, perhaps no longer in any tree · ended: gone for good.
 * A reply that is too short gives EPERM on an unmounted descriptor (fuse_dev_write, fuse_get_dev). An
 * INVAL_INODE of the root with offset -1 drops its attributes from the cache and nothing else; ENOENT means that
 * no superblock is left (fuse_reverse_inval_inode, fuse_ilookup). A connection aborted by hand counts as live
 * until it is unmounted: only a read tells (ENODEV).
 */
export function probeFuse(fd: number): 'fresh' | 'live' | 'ended' {
  const notice = Buffer.alloc(40)
  notice.writeUInt32LE(40, 0)
  notice.writeInt32LE(FUSE_NOTIFY_INVAL_INODE, 4)
  notice.writeUInt32LE(FUSE_ROOT_ID, 16)
  notice.writeBigInt64LE(-1n, 24)
  try {
    writeSync(fd, notice)
    return 'live'
  } catch (error) {
    const code = codeOf(error)
    if (code === 'EPERM') return 'fresh'
    return code === 'ENOENT' || code === 'ENODEV' ? 'ended' : 'live'
  }
}

const FUSE_NOTIFY_INVAL_INODE = 2
const FUSE_ROOT_ID = 1

/** Canonical path of a directory that can be mounted on. Looks only through children: the path may be ours. */
async function freeMountPoint(target: string): Promise<string> {
  if (process.getuid?.() !== 0) {
    throw new FsError('EPERM', 'mount', {
      message: `mounting ${target} through the kernel driver needs root; without it: --driver fuse-native`,
    })
  }
  const plain = resolve(target)
  await clearStale(plain)
  const point = await canonical(plain)
  if (point !== plain) await clearStale(point)

  const stat = await runCommand('stat', ['-L', '-c', '%f', '--', point])
  if (stat.code !== 0) throw statError(stat.stderr, point)
  if ((Number.parseInt(stat.stdout, 16) & 0o170000) !== 0o040000) throw notDirectory(point)
  return point
}

/** @throws FsError EBUSY when a mount is there that is not a dead one of ours */
async function clearStale(point: string): Promise<void> {
  // Dead mounts may lie in a stack, each hidden by the next.
  for (;;) {
    const entry = mountAt(point)
    if (entry === undefined) return
    if (!isWeftMount(entry)) {
      throw new FsError('EBUSY', 'mount', {
        message: `${point} is already a mount of ${entry.source} (${entry.fsType}); unmount it first or take another directory`,
      })
    }
    if (!(await isStale(entry))) {
      throw new FsError('EBUSY', 'mount', {
        message: `${point} is already a mount of ${entry.source}; weft umount it first`,
      })
    }
    await unmountEntry(point, true, 10_000)
  }
}

/** A mount that a living keeper claims is not touched at all; any other is stale if stat says ENOTCONN. */
async function isStale(entry: MountEntry): Promise<boolean> {
  if (servedByKeeper(entry)) return false
  try {
    const stat = await runCommand('stat', ['-L', '-c', '%f', '--', entry.mountPoint], {
      deadlineMs: PROBE_MS,
    })
    return stat.code !== 0 && /Transport endpoint is not connected/.test(stat.stderr)
  } catch (error) {
    if (codeOf(error) === 'ETIMEDOUT') return false
    throw error
  }
}

/** Symlinks resolved as far as the path exists; never fails on what is missing or dead. */
async function canonical(path: string): Promise<string> {
  const done = await runCommand('realpath', ['-m', '--', path])
  return done.code === 0 ? done.stdout.replace(/\n$/, '') : path
}

function mounted(point: string): MountedFuse {
  const entry = mountAt(point, mountTable())
  if (entry === undefined) {
    throw new FsError('EIO', 'mount', {
      message: `mount said nothing, but ${point} is not mounted`,
    })
  }
  return { target: point, mountId: entry.id, dev: entry.dev }
}

function notDirectory(point: string): FsError {
  return new FsError('ENOTDIR', 'mount', { message: `mount point ${point} is not a directory` })
}

function statError(stderr: string, point: string): FsError {
  if (/No such file/.test(stderr)) {
    return new FsError('ENOENT', 'mount', {
      message: `mount point ${point} does not exist; run: mkdir -p ${point}`,
    })
  }
  if (/Not a directory/.test(stderr)) return notDirectory(point)
  if (/Permission denied/.test(stderr)) {
    return new FsError('EACCES', 'mount', { message: `no right to look at mount point ${point}` })
  }
  return new FsError('EIO', 'mount', { message: `mount point ${point}: ${stderr}` })
}

/** From the words of mount(8): it has one exit status (32) for every refusal of the kernel. */
function mountError(done: CommandResult, point: string): FsError {
  const { stderr } = done
  if (/does not exist/.test(stderr)) return statError('No such file', point)
  if (/not a directory/.test(stderr)) return notDirectory(point)
  if (/busy|already mounted/.test(stderr)) {
    return new FsError('EBUSY', 'mount', { message: `${point} is busy: ${stderr}` })
  }
  if (/must be superuser|not permitted|permission denied/i.test(stderr)) {
    return new FsError('EPERM', 'mount', {
      message: `no right to mount on ${point}; needs root with CAP_SYS_ADMIN (docker run --privileged)`,
    })
  }
  if (/unknown filesystem type/.test(stderr)) {
    return new FsError('ENODEV', 'mount', { message: 'the kernel has no fuse; run: modprobe fuse' })
  }
  return new FsError('EIO', 'mount', { message: `mount on ${point} failed: ${stderr}` })
}

const FUSECTL = '/sys/fs/fuse/connections'

/** Have the control filesystem, without which no connection can be ended. @throws FsError EIO */
export async function haveConnectionControl(): Promise<void> {
  const isMounted = () => mountTable().some((entry) => entry.mountPoint === FUSECTL)
  if (!isMounted()) await runCommand('mount', ['-t', 'fusectl', 'fusectl', FUSECTL])
  if (isMounted()) return
  throw new FsError('EIO', 'fusectl', {
    message: `the control filesystem of FUSE cannot be mounted on ${FUSECTL}`,
    next: `mount -t fusectl fusectl ${FUSECTL}`,
  })
}

/**
 * End a connection for good, before this returns: every request that waits and every later one fails, fsync of what its
 * kernel still holds too (measured: after a WRITE that was only answered with an error, the second fsync says 0).
 * Behind `haveConnectionControl`.
 * @param dev major:minor of the mount, as mountinfo has it
 * Source: Documentation/filesystems/fuse.rst, control filesystem; fs/fuse/control.c, fuse_conn_abort_write
 */
export function abortConnection(dev: string): void {
  try {
    writeFileSync(`${FUSECTL}/${dev.split(':')[1]}/abort`, '1')
  } catch (error) {
    // Unmounted meanwhile.
    if (codeOf(error) !== 'ENOENT') throw error
  }
}

/** The kernel reads this far ahead of a sequential reader; 128 KiB where nobody says more. */
const READ_AHEAD_KIB = 1024

/**
 * Let the kernel read ahead in requests as large as ours may be. A machine whose /sys is read-only reads as before.
 * @param dev major:minor of the mount, as mountinfo has it
 * Source: fs/fuse/inode.c, process_init_reply: ra_pages is the smaller of the bdi's and max_readahead
 */
export function setReadAhead(dev: string): void {
  try {
    writeFileSync(`/sys/class/bdi/${dev}/read_ahead_kb`, String(READ_AHEAD_KIB))
  } catch (error) {
    if (!['EACCES', 'EROFS', 'ENOENT', 'EPERM'].includes(codeOf(error))) throw error
  }
}
