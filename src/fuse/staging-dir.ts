import { lstatSync, mkdirSync, readFileSync, rmdirSync, rmSync, statfsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { codeOf, FsError } from '../base/errors.ts'
import { unmountEntry } from './device.ts'
import { mountAt } from './mount-table.ts'
import { runCommand } from './run-command.ts'

export interface StagingDir {
  readonly path: string
  /** What the operator should know: staged data is plain text and must not reach a disk (design §6.9). */
  readonly warning: string | null
}

const TMPFS_MAGIC = 0x01021994

/**
 * A memory filesystem of ours at <runDir>/stage, at most `bytesMax` large, never swapped out where the kernel
 * can promise that (tmpfs noswap, Linux 6.4). It outlives the daemon: called again, it answers the same one with
 * its contents, and grows it when more is asked for. Without root it is a directory on a tmpfs that exists.
 * @throws FsError EPERM, EBUSY (something else is mounted there), ENODEV (no memory filesystem at all), EIO
 */
export async function ensureStagingDir(runDir: string, bytesMax: number): Promise<StagingDir> {
  if (process.getuid?.() !== 0) return borrowedStagingDir(runDir)
  const path = join(runDir, 'stage')
  makeOwnDir(path)
  const size = Math.ceil(bytesMax / 4096) * 4096
  const present = mountAt(path)
  if (present !== undefined) {
    if (present.fsType !== 'tmpfs') {
      throw new FsError('EBUSY', 'staging', {
        message: `${path} is a mount of ${present.fsType}; unmount it and start again`,
      })
    }
    const { blocks, bsize } = statfsSync(path)
    if (blocks * bsize < size) await mountTmpfs(['-o', `remount,size=${size}`, '--', path], path)
    return { path, warning: warningOf(present.superOptions.split(',').includes('noswap')) }
  }
  const options = `size=${size},mode=0700,nosuid,nodev,noexec`
  try {
    await mountTmpfs(['-t', 'tmpfs', '-o', `${options},noswap`, '--', 'weft-stage', path], path)
    return { path, warning: null }
  } catch (error) {
    if (codeOf(error) === 'EPERM') throw error
  }
  await mountTmpfs(['-t', 'tmpfs', '-o', options, '--', 'weft-stage', path], path)
  return { path, warning: warningOf(false) }
}

/** Drops the directory and what is in it. Nothing happens when there is none. */
export async function removeStagingDir(runDir: string): Promise<void> {
  for (const path of [join(runDir, 'stage'), borrowedPath(runDir)]) {
    if (mountAt(path) !== undefined) await unmountEntry(path, true, 10_000)
    try {
      rmdirSync(path)
    } catch (error) {
      if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'ENOENT') throw error
      rmSync(path, { recursive: true, force: true })
    }
  }
}

async function mountTmpfs(args: readonly string[], path: string): Promise<void> {
  const done = await runCommand('mount', ['-i', '-c', ...args])
  if (done.code === 0) return
  throw new FsError(/permitted|denied|superuser/.test(done.stderr) ? 'EPERM' : 'EIO', 'staging', {
    message: `cannot mount a tmpfs on ${path}: ${done.stderr}`,
  })
}

/** Without root: a directory on a tmpfs that the system has, the run directory's own or /dev/shm. */
function borrowedStagingDir(runDir: string): StagingDir {
  const own = join(runDir, 'stage')
  const path = isTmpfs(runDir) ? own : borrowedPath(runDir)
  if (path !== own && !isTmpfs('/dev/shm')) {
    throw new FsError('ENODEV', 'staging', {
      message: `no memory filesystem for staged data: neither ${runDir} nor /dev/shm is a tmpfs`,
    })
  }
  makeOwnDir(path)
  return { path, warning: warningOf(false) }
}

function borrowedPath(runDir: string): string {
  return `/dev/shm/weft-${process.getuid?.() ?? 0}-${basename(runDir)}`
}

function makeOwnDir(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  const stat = lstatSync(path)
  if (!stat.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o077) !== 0) {
    throw new FsError('EPERM', 'staging', {
      message: `${path} is not a directory of this user alone; remove it and start again`,
    })
  }
}

function isTmpfs(path: string): boolean {
  return statfsSync(path).type === TMPFS_MAGIC
}

function warningOf(noswap: boolean): string | null {
  if (noswap || !hasSwap()) return null
  return 'staged data may be swapped to disk in clear: use Linux 6.4 as root, encrypt the swap, or run: swapoff -a'
}

function hasSwap(): boolean {
  try {
    return readFileSync('/proc/swaps', 'utf8').trim().split('\n').length > 1
  } catch {
    return false
  }
}
