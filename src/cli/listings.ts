import type {
  DiskInfo,
  DriveInfo,
  KeySlotInfo,
  MountInfo,
  VolumeInfo,
  VolumeProbe,
} from '../api/index.ts'
import { count, duration, printable, size, table } from './render.ts'

/** The tables that more than one command prints. */

const CLASS = { 1: 'low', 2: 'medium', 3: 'high' } as const

/** @param options.probes with what came of their last probes */
export function volumeTable(
  volumes: readonly VolumeInfo[],
  indent = '',
  { probes = false } = {},
): string {
  const inCluster = volumes.some(({ owner }) => owner !== null)
  const columns = [
    { title: 'NAME' },
    { title: 'SIZE', right: true },
    { title: 'USED', right: true },
    { title: 'USE', right: true },
    { title: 'FILES', right: true },
    { title: 'STATE' },
    { title: 'ATTACHED' },
    ...(inCluster ? [{ title: 'COPIES' }, { title: 'OWNER' }] : []),
    ...(probes ? [{ title: 'PROBE' }] : []),
  ]
  const rows = volumes.map((volume) => [
    volume.name,
    size(volume.sizeBytes),
    // What another node's volume holds, its node knows.
    ...(volume.state === 'elsewhere'
      ? ['-', '-', '-']
      : [
          size(volume.usedBytes),
          percent(volume.usedBytes, volume.sizeBytes),
          String(volume.files),
        ]),
    volume.state,
    volume.attached ?? '-',
    ...(inCluster ? [copiesOf(volume), volume.owner ?? '-'] : []),
    ...(probes ? [probeText(volume.probe)] : []),
  ])
  return table(columns, rows, indent)
}

/** Older than this, a success is told with its age. */
const RECENT_SECONDS = 15

/** 'ok 1.8 ms', 'no answer for 12 s: copy on node2'. @param probe of a daemon of an older build there is none */
export function probeText(probe: VolumeProbe | undefined): string {
  if (!probe) return '-'
  const { state, ms, succeededSeconds, forSeconds, waitsFor, code } = probe
  switch (state) {
    case 'ok': {
      const took = ms === null ? '' : ` ${ms.toFixed(ms < 99.95 ? 1 : 0)} ms`
      const seconds = succeededSeconds ?? 0
      return `ok${took}${seconds < RECENT_SECONDS ? '' : `, ${duration(seconds)} ago`}`
    }
    case 'silent':
      return `no answer for ${duration(forSeconds)}: ${waitsFor}`
    case 'failed':
      return `failed: ${code}`
    case 'locked':
      return 'locked'
    case 'closed':
      return '-'
    case 'unused':
      return 'not used here'
    case 'unknown':
      return 'none yet'
  }
}

export function driveTable(drives: readonly DriveInfo[], indent = ''): string {
  const columns = [
    { title: 'NAME' },
    { title: 'CLASS' },
    { title: 'STATE' },
    { title: 'TOTAL', right: true },
    { title: 'FREE', right: true },
    { title: 'USED', right: true },
    { title: 'DIRECTORY' },
  ]
  const rows = drives.map((drive) => [
    drive.name,
    CLASS[drive.class],
    driveState(drive),
    size(drive.totalBytes),
    size(drive.freeBytes),
    size(drive.usedBytes),
    drive.dir,
  ])
  return table(columns, rows, indent)
}

export function diskTable(disks: readonly DiskInfo[]): string {
  const columns = [
    { title: 'NAME' },
    { title: 'SIZE', right: true },
    { title: 'KIND' },
    { title: 'SERIAL' },
    { title: 'STANDING' },
    { title: 'WHY' },
    { title: 'LINK' },
  ]
  const rows = disks.map((disk) => [
    disk.name,
    size(disk.sizeBytes),
    [...new Set([disk.media, disk.transport])].join(' ').trim(),
    disk.serial,
    disk.standing === 'drive' ? 'in use by weft' : disk.standing,
    disk.why,
    disk.link,
  ])
  return table(columns, rows, '')
}

function driveState({ state, drain }: DriveInfo): string {
  if (state !== 'ok' || drain === null) return state
  return drain.isEmpty ? 'empty' : 'draining'
}

/** Null for a drive that is empty, or is not being emptied. */
export function driveDrainLine({ name, drain }: DriveInfo): string | null {
  if (drain === null || drain.isEmpty) return null
  const { chunksLeft, bytesMoved, why } = drain
  const left = chunksLeft === null ? 'counting' : `${count(chunksLeft, 'chunk')} left`
  const trouble = why === '' ? '' : ` (${printable(why)})`
  return `drive ${name}: ${left}, ${size(bytesMoved)} moved${trouble}`
}

export function mountTable(mounts: readonly MountInfo[], indent = ''): string {
  const columns = [
    { title: 'TARGET' },
    { title: 'KIND' },
    { title: 'VOLUME' },
    { title: 'MODE' },
    { title: 'DRIVER' },
  ]
  const rows = mounts.map((mount) => [
    mount.target,
    mount.kind,
    mount.volume ?? '(all)',
    mount.readOnly ? 'read-only' : 'read-write',
    mount.driver,
  ])
  return table(columns, rows, indent)
}

export function keyTable(
  keys: readonly (KeySlotInfo & { volume?: string })[],
  indent = '',
): string {
  const withVolume = keys.some((key) => key.volume !== undefined)
  const columns = [
    { title: 'SLOT', right: true },
    { title: 'KIND' },
    { title: 'NAME' },
    { title: 'MADE' },
    { title: 'PUBLIC KEY' },
  ]
  const rows = keys.map((key) => [
    key.id,
    key.kind === 'shares' ? `shares, ${key.threshold} of ${key.shares}` : key.kind,
    key.name,
    key.createdAt.slice(0, 10),
    key.publicKey,
  ])
  if (!withVolume) return table(columns, rows, indent)
  return table(
    [{ title: 'VOLUME' }, ...columns],
    rows.map((row, at) => [keys[at]?.volume ?? '', ...row]),
    indent,
  )
}

export function className(cos: 1 | 2 | 3 | null): string {
  return cos === null ? 'any' : CLASS[cos]
}

/** '3', or '2 of 3' while one is not in sync. */
function copiesOf({ inSync, repl }: VolumeInfo): string {
  return inSync === repl ? String(repl) : `${inSync} of ${repl}`
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '-' : `${Math.floor((part / whole) * 100)}%`
}
