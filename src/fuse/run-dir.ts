import { createHash } from 'node:crypto'
import {
  accessSync,
  constants,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { FsError, messageOf } from '../base/errors.ts'
import type { MountEntry } from './mount-table.ts'

/** A process that no other can be mistaken for: pids are reused, start times within one boot are not. */
export interface ProcessMark {
  readonly pid: number
  /** Field 22 of /proc/PID/stat: clock ticks from boot to the start. */
  readonly startTicks: string
  readonly bootId: string
}

/** <run dir>/keeper.json: what others may know about the keeper of a home. */
export interface KeeperFile extends ProcessMark {
  readonly version: 1
  readonly home: string
  readonly program: string
  readonly daemonPid: number | null
  readonly daemonStartTicks: string | null
  readonly generation: number
  /** The daemon of this generation has said that it serves. */
  readonly ready: boolean
  readonly mounts: readonly { readonly target: string | null; readonly dev: string }[]
}

/** @returns '' when there is no such process */
export function startTicksOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold spaces and parentheses itself; field 3 follows the last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? '' : (fields[19] ?? '')
  } catch {
    return ''
  }
}

export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}

export function markOf(pid: number): ProcessMark {
  return { pid, startTicks: startTicksOf(pid), bootId: bootId() }
}

export function isAlive(mark: ProcessMark): boolean {
  return (
    mark.startTicks !== '' && mark.bootId === bootId() && startTicksOf(mark.pid) === mark.startTicks
  )
}

/**
 * Directory of what belongs to one home and one boot: keeper.json, staging, sockets. The home must exist.
 * Root has it under /run, everybody else under $XDG_RUNTIME_DIR or /tmp. Makes nothing.
 * @throws FsError ENOENT when the home does not exist
 */
export function runDirOf(home: string): string {
  let real: string
  try {
    real = realpathSync(home)
  } catch (cause) {
    throw new FsError('ENOENT', 'run-dir', {
      cause,
      message: `home ${home} does not exist: ${messageOf(cause)}`,
    })
  }
  const name = createHash('sha256').update(real).digest('hex').slice(0, 16)
  return join(runBase(), name)
}

/** Makes the run directory, mode 0700. @throws FsError EPERM when somebody else owns it or its parent */
export function ensureRunDir(home: string): string {
  const dir = runDirOf(home)
  const base = dirname(dir)
  mkdirSync(base, { recursive: true, mode: base.startsWith('/run/') ? 0o755 : 0o700 })
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  for (const path of [base, dir]) {
    const stat = lstatSync(path)
    if (!stat.isDirectory() || stat.uid !== process.getuid?.()) {
      // Under /tmp anyone may have made it first, to read our staged data.
      throw new FsError('EPERM', 'run-dir', {
        message: `${path} is not a directory of this user; remove it and start again`,
      })
    }
  }
  return dir
}

/** @returns null when there is none, or when it is damaged */
export function readKeeperFile(runDir: string): KeeperFile | null {
  try {
    const file: unknown = JSON.parse(readFileSync(join(runDir, 'keeper.json'), 'utf8'))
    if (typeof file !== 'object' || file === null) return null
    const { pid, mounts } = file as Partial<KeeperFile>
    return typeof pid === 'number' && Array.isArray(mounts) ? (file as KeeperFile) : null
  } catch {
    return null
  }
}

export function writeKeeperFile(runDir: string, file: KeeperFile): void {
  const temporary = join(runDir, `keeper.json.${process.pid}`)
  writeFileSync(temporary, `${JSON.stringify(file)}\n`, { mode: 0o600 })
  renameSync(temporary, join(runDir, 'keeper.json'))
}

/** Is this mount held by a keeper, of any home, that lives? Reads run directories; never touches the mount. */
export function servedByKeeper(entry: MountEntry, base = runBase()): boolean {
  let names: string[]
  try {
    names = readdirSync(base)
  } catch {
    return false
  }
  return names.some((name) => {
    const file = readKeeperFile(join(base, name))
    return file?.mounts.some((mount) => mount.dev === entry.dev) === true && isAlive(file)
  })
}

function runBase(): string {
  const uid = process.getuid?.() ?? 0
  if (uid === 0) {
    try {
      accessSync('/run', constants.W_OK)
      return '/run/weft'
    } catch {
      return `/tmp/weft-${uid}`
    }
  }
  const own = process.env.XDG_RUNTIME_DIR
  return own === undefined || own === '' ? `/tmp/weft-${uid}` : join(own, 'weft')
}
