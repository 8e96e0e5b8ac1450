import { type DriveId, FsError } from '../base/index.ts'
import type { BlockDisk } from '../drives/index.ts'
import type { DiskIdentity, DiskToTake } from '../provision/index.ts'

/** What a maker calls a size and what the host counts differ by its reserve, and by 1000 for 1024 (facts §4.3). */
const SIZE_TOLERANCE = 0.15

/**
 * The disks of this host that are the one meant: by the serial number, of which hosts may show a part; by the WWN where they show
 * none, whose last digit may differ, because a disk with two ports has one for itself and one for each of these (facts §10).
 */
export function matching(
  { serial, wwid }: Pick<DiskIdentity, 'serial' | 'wwid'>,
  disks: readonly BlockDisk[],
): BlockDisk[] {
  const bySerial = disks.filter((disk) => isSerial(disk.serial, serial))
  if (bySerial.length > 0) return bySerial
  return disks.filter((disk) => disk.serial === '' && isWwid(disk.wwn, wwid))
}

function isSerial(shown: string, meant: string): boolean {
  const least = 8
  if (shown === '' || meant === '') return false
  return shown === meant || (shown.length >= least && meant.startsWith(shown))
}

function isWwid(shown: string, meant: string): boolean {
  if (shown.length < 2 || meant.length !== shown.length) return false
  return shown.slice(0, -1).toLowerCase() === meant.slice(0, -1).toLowerCase()
}

/**
 * Formatted as this drive, and not labelled: what a crash of making it a drive leaves. Any other filesystem of weft may be a drive
 * of somebody whose label this build cannot read, and is not to be erased unasked.
 */
export function isHalfMade({ standing }: BlockDisk, drive: DriveId | null): boolean {
  if (drive === null || standing.kind !== 'unusable' || !standing.isForceable) return false
  const [only, ...more] = standing.signatures
  if (more.length > 0 || only?.type !== 'xfs' || only.label !== 'weft') return false
  return only.uuid.replaceAll('-', '').toLowerCase() === drive
}

/** @throws FsError EUCLEAN unless it can be made a drive, or is one of this node already */
export function mustBeUsable(disk: BlockDisk, meant: DiskToTake): void {
  const { standing, path, sizeBytes } = disk
  if (Math.abs(sizeBytes - meant.sizeBytes) > SIZE_TOLERANCE * meant.sizeBytes) {
    throw wrong(disk, meant, `has ${sizeBytes} bytes, and about ${meant.sizeBytes} were expected`)
  }
  if (standing.kind === 'free' || standing.kind === 'drive') return
  if (isHalfMade(disk, meant.drive)) return
  throw wrong(disk, meant, `${path} cannot be used: ${standing.why}`)
}

function wrong({ path }: BlockDisk, { serial }: DiskIdentity, why: string): FsError {
  return new FsError('EUCLEAN', 'provision.disk', {
    path,
    message: `the disk that came for serial ${serial} is not what was asked for: ${why}`,
    next: 'weft drive list --all shows it; nothing was written to it',
  })
}
