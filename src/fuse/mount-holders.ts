import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { codeOf } from '../base/index.ts'
import { parseMountInfo } from './mount-table.ts'

/** A process that sees a mount in a mount namespace of its own: a container, a unit with private mounts. */
export interface MountHolder {
  readonly pid: number
  /** What ps calls it. */
  readonly name: string
}

/**
 * Who keeps a mount alive that is in this mount namespace no more. One process for each namespace, the oldest.
 * @param dev major:minor of the mount, as mountinfo has it
 * Source: proc(5), /proc/pid/mountinfo, /proc/pid/ns/mnt
 */
export function mountHolders(dev: string): MountHolder[] {
  const seen = new Set([namespaceOf('self')])
  const holders: MountHolder[] = []
  const pids = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
  for (const pid of pids.sort((a, b) => a - b)) {
    const namespace = namespaceOf(pid)
    if (namespace === null || seen.has(namespace)) continue
    seen.add(namespace)
    if (parseMountInfo(read(pid, 'mountinfo')).some((entry) => entry.dev === dev)) {
      holders.push({ pid, name: read(pid, 'comm').trim() })
    }
  }
  return holders
}

/** @returns null for a process that is gone or not ours to look at */
function namespaceOf(pid: number | 'self'): string | null {
  return unlessGone(() => readlinkSync(`/proc/${pid}/ns/mnt`), null)
}

function read(pid: number, file: string): string {
  return unlessGone(() => readFileSync(`/proc/${pid}/${file}`, 'utf8'), '')
}

function unlessGone<T, E>(look: () => T, otherwise: E): T | E {
  try {
    return look()
  } catch (error) {
    // EINVAL: a process without mounts, on its way out.
    if (!['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'EINVAL'].includes(codeOf(error))) throw error
    return otherwise
  }
}
