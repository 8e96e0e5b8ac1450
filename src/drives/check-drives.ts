import { join } from 'node:path'
import { FsError } from '../base/index.ts'
import { type DiskWorld, fullWorld } from './disk-world.ts'
import type { Drive } from './drive.ts'
import { namesIn, textIn } from './kernel-text.ts'
import { deviceName, isReadOnly, parseMountinfo } from './mountinfo.ts'

/**
 * What no read or write of a drive tells in time: its disk was pulled, its mount taken off or its filesystem shut down (gone),
 * or its filesystem became read-only (failing). Called every few seconds by the opener; each finding goes through `fail`, so
 * that the other threads hear of it. Looks at names and mounts that are in memory and reads no data, so it costs some
 * microseconds and does not wait for a disk that hangs.
 */
export function checkDrives(drives: Iterable<Drive>, world: DiskWorld = {}): void {
  const { procDir, sysDir } = fullWorld(world)
  const lines = parseMountinfo(textIn(join(procDir, 'self/mountinfo')))
  for (const drive of drives) {
    const device = deviceName(drive.device)
    const shown = lines.filter((line) => line.device === device)
    // A directory may lie on what has no disk below it, such as tmpfs.
    if (drive.kind === 'block' && namesIn(join(sysDir, 'dev/block', device)).length === 0) {
      drive.fail(trouble('ENODEV', drive, 'its disk went away'))
    } else if (!drive.present()) {
      drive.fail(trouble('ENODEV', drive, 'it is not mounted there, or answers no more'))
    } else if (shown.length > 0 && shown.every(isReadOnly)) {
      drive.fail(trouble('EROFS', drive, 'its filesystem became read-only'))
    }
  }
}

function trouble(code: 'ENODEV' | 'EROFS', drive: Drive, why: string): FsError {
  return new FsError(code, 'drive.check', {
    drive: drive.id,
    message: `drive ${drive.id} at ${drive.dir}: ${why}`,
    next: 'dmesg | tail says what the kernel met',
  })
}
