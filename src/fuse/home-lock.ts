import { spawnSync } from 'node:child_process'
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { type Clock, sleep } from '../base/clock.ts'
import { codeOf, FsError, messageOf } from '../base/errors.ts'
import { bootId, isAlive, markOf, type ProcessMark, readKeeperFile, runDirOf } from './run-dir.ts'

/** How long a daemon whose keeper was killed may take to end by itself, then how long after SIGKILL. */
const ORPHAN_MS = 3000
const KILLED_MS = 3000
const POLL_MS = 50

/**
 * One keeper and one daemon per home. The lock is flock(2) on <home>/keeper.lock, so the kernel gives it up when
 * its holders die, in whatever way, on whatever boot, in whatever container; the file's text (pid, start time,
 * boot id) is only for messages. A daemon inherits the descriptor and with it the lock: a home whose keeper was
 * killed stays locked until its daemon has ended too. (A lock by link(2) and pid was tried on paper: two starts
 * that both find a dead pid need a second lock, and a pid says nothing across containers.)
 */
export class HomeLock {
  readonly fd: number
  readonly #path: string

  private constructor(fd: number, path: string) {
    this.fd = fd
    this.#path = path
  }

  /** @throws FsError EEXIST when another keeper holds it; EROFS, EACCES, ENOLCK, EIO when it cannot be taken */
  static async take(home: string, clock: Clock): Promise<HomeLock> {
    const path = join(home, 'keeper.lock')
    const startedMs = clock.monotonicMs()
    let killed = false
    for (;;) {
      const fd = openLock(home, path)
      try {
        if (flock(fd)) {
          if (isSameFile(fd, path)) {
            ftruncateSync(fd)
            writeSync(fd, `${JSON.stringify(markOf(process.pid))}\n`, 0)
            return new HomeLock(fd, path)
          }
          closeSync(fd) // released and removed between open and flock; take the new one
          continue
        }
      } catch (error) {
        closeSync(fd)
        throw error
      }
      const holder = readMark(fd)
      closeSync(fd)
      if (holder !== null && isAlive(holder)) throw alreadyRunning(home, holder.pid)
      const waitedMs = clock.monotonicMs() - startedMs
      if (waitedMs > ORPHAN_MS && !killed) {
        killed = true
        killOrphan(home)
      }
      if (waitedMs > ORPHAN_MS + KILLED_MS) throw heldByUnknown(path, holder)
      await sleep(clock, POLL_MS)
    }
  }

  /** The file goes while the lock is held, so nobody can hold a lock on a file that is not there any more. */
  release(): void {
    try {
      unlinkSync(this.#path)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
    } finally {
      closeSync(this.fd)
    }
  }
}

function openLock(home: string, path: string): number {
  try {
    mkdirSync(home, { recursive: true, mode: 0o700 })
    return openSync(path, 'a+', 0o600)
  } catch (cause) {
    const code = codeOf(cause)
    const known = code === 'EROFS' || code === 'EACCES' || code === 'ENOSPC' || code === 'ENOTDIR'
    throw new FsError(known ? code : 'EIO', 'lock', {
      cause,
      message: `cannot use ${home} as home: ${messageOf(cause)}`,
    })
  }
}

/** Node has no flock(2); the lock belongs to the open file, so a child that shares it can take it for us. */
function flock(fd: number): boolean {
  const done = spawnSync('flock', ['-n', '-x', '3'], {
    stdio: ['ignore', 'ignore', 'pipe', fd],
    encoding: 'utf8',
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' },
  })
  if (done.error !== undefined) {
    throw new FsError('EIO', 'lock', {
      cause: done.error,
      message: `cannot run flock, install util-linux: ${done.error.message}`,
    })
  }
  if (done.status === 0) return true
  if (done.status === 1) return false
  throw new FsError('ENOLCK', 'lock', { message: `flock: ${done.stderr.trim()}` })
}

function isSameFile(fd: number, path: string): boolean {
  try {
    return fstatSync(fd).ino === statSync(path).ino
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

function readMark(fd: number): ProcessMark | null {
  try {
    const mark = JSON.parse(readFileSync(fd, 'utf8')) as ProcessMark
    return typeof mark.pid === 'number' && typeof mark.startTicks === 'string' ? mark : null
  } catch {
    return null
  }
}

/** End the daemon of a dead keeper: keeper.json names it with its start time, so no other process is hit. */
function killOrphan(home: string): void {
  const file = readKeeperFile(runDirOf(home))
  if (file === null || file.daemonPid === null || file.bootId !== bootId()) return
  const daemon = {
    pid: file.daemonPid,
    startTicks: file.daemonStartTicks ?? '',
    bootId: file.bootId,
  }
  if (isAlive(daemon)) process.kill(daemon.pid, 'SIGKILL')
}

function alreadyRunning(home: string, pid: number): FsError {
  return new FsError('EEXIST', 'lock', {
    message: `weft is already running as pid ${pid} on this home (${home})`,
  })
}

function heldByUnknown(path: string, holder: ProcessMark | null): FsError {
  const who =
    holder === null ? 'a process' : `pid ${holder.pid} of another container, or a daemon it left,`
  return new FsError('EEXIST', 'lock', {
    message: `${who} still holds ${path}; find it with: fuser -v ${path}`,
  })
}
