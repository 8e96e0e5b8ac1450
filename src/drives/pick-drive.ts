import { FsError } from '../base/index.ts'
import type { Drive } from './drive.ts'
import type { ServiceClass } from './label.ts'

/** Whether new data may go to a drive. */
export function takesData({ state, draining }: Pick<Drive, 'state' | 'draining'>): boolean {
  return state === 'ok' && !draining
}

/** Bytes that a put which is not urgent may still take. */
export function roomOn(drive: Pick<Drive, 'freeBytes' | 'headroomBytes'>): number {
  return Math.max(0, drive.freeBytes() - drive.headroomBytes())
}

export interface PickOptions {
  /** Take from the headroom too: deletes, journal, checkpoints. */
  readonly urgent?: boolean
  /** Class wanted. Drives of another class are taken only when none of this one has room. */
  readonly cos?: ServiceClass
  /** Drives that just refused; not asked again. */
  readonly except?: readonly Drive[]
}

/**
 * The drive the next `bytesNeeded` go to, never one that is being emptied: each gets a share of the puts in proportion to its free
 * space, by weighted round robin (deterministic, so no clumps).
 * @throws FsError ENOSPC when no usable drive has room above its headroom, EIO when no drive is usable
 */
export function pickDrive(
  drives: Iterable<Drive>,
  bytesNeeded: number,
  options: PickOptions = {},
): Drive {
  const { urgent = false, cos, except } = options
  const wanted: Drive[] = []
  const others: Drive[] = []
  let usable = 0
  let freeMost = 0
  for (const drive of drives) {
    if (drive.state !== 'ok') continue
    usable++
    if (drive.draining || except?.includes(drive)) continue
    const free = drive.freeBytes() - (urgent ? 0 : drive.headroomBytes())
    freeMost = Math.max(freeMost, free)
    if (free < bytesNeeded || drive.state !== 'ok') continue
    if (cos === undefined || drive.cos === cos) wanted.push(drive)
    else others.push(drive)
  }
  const candidates = wanted.length > 0 ? wanted : others
  const picked = nextByShare(candidates)
  if (picked !== null) return picked
  if (usable === 0) {
    throw new FsError('EIO', 'drive.pick', {
      bytesNeeded,
      retry: 'later',
      message: 'no drive of this node is usable: each is failing or gone',
    })
  }
  throw new FsError('ENOSPC', 'drive.pick', { bytesNeeded, freeBytes: Math.max(0, freeMost) })
}

/** Smooth weighted round robin: everybody earns its share, the richest pays the round. */
function nextByShare(drives: readonly Drive[]): Drive | null {
  if (drives.length <= 1) return drives[0] ?? null
  let sum = 0
  for (const drive of drives) sum += drive.freeBytes()
  let best: Drive | null = null
  for (const drive of drives) {
    drive.credit += sum > 0 ? drive.freeBytes() / sum : 1 / drives.length
    if (best === null || drive.credit > best.credit) best = drive
  }
  if (best !== null) best.credit -= 1
  return best
}

/** Space of several drives together; two directories on one filesystem count once. What is free on a draining one does not count. */
export function capacityOf(drives: Iterable<Drive>): { totalBytes: number; freeBytes: number } {
  const measured = new Set<number>()
  const writable = new Set<number>()
  let totalBytes = 0
  let freeBytes = 0
  for (const drive of drives) {
    if (drive.state === 'gone') continue
    if (!measured.has(drive.device)) totalBytes += drive.totalBytes()
    measured.add(drive.device)
    if (!takesData(drive) || writable.has(drive.device)) continue
    freeBytes += roomOn(drive)
    writable.add(drive.device)
  }
  return { totalBytes, freeBytes }
}
