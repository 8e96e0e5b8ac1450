import { realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FsError, messageOf } from '../base/index.ts'
import type { BlockDisk } from './block-disks.ts'
import { type DiskWorld, fullWorld } from './disk-world.ts'
import { namesIn, textIn } from './kernel-text.ts'

/**
 * Switch the locate LED of a disk's bay on or off, where the kernel knows its enclosure.
 * @returns the bay, in the enclosure's words, such as 'Slot 05'
 * @throws FsError ENODEV when the disk went away; ENOTSUP when no LED is known; EIO when the enclosure refuses: each with what
 *   a person standing before the rack can look for
 * Source: linux drivers/misc/enclosure.c: the disk's device has a link enclosure_device:COMPONENT to its bay, and the bay a file `locate`.
 */
export function locateDisk(
  disk: Pick<BlockDisk, 'name' | 'path' | 'model' | 'serial' | 'wwn'>,
  on: boolean,
  world: DiskWorld = {},
): string {
  const { sysDir } = fullWorld(world)
  const device = join(sysDir, 'block', disk.name, 'device')
  const trouble = (code: 'ENODEV' | 'ENOTSUP' | 'EIO', why: string, bay = '', cause?: unknown) =>
    new FsError(code, 'drive.locate', {
      path: disk.path,
      cause,
      next: 'find the disk by what is on its sticker',
      message: `${disk.path}: ${why}. Look for ${lookFor(disk, bay)}`,
    })
  if (namesIn(join(sysDir, 'block', disk.name)).length === 0) {
    throw trouble('ENODEV', 'the disk went away, so the kernel no longer knows its bay')
  }
  const link = namesIn(device).find((name) => name.startsWith('enclosure_device:'))
  if (link === undefined) {
    throw trouble(
      'ENOTSUP',
      'the kernel knows no enclosure of it (module ses, and a backplane that speaks SES, are needed)',
    )
  }
  const bay = bayOf(join(device, link), link)
  try {
    const led = join(realpathSync(join(device, link)), 'locate')
    // Opened without making it: a file in /sys is there or is not.
    writeFileSync(led, on ? '1' : '0', { flag: 'r+' })
  } catch (error) {
    throw trouble('EIO', `its enclosure does not switch the LED: ${messageOf(error)}`, bay, error)
  }
  return bay
}

/** Components are mostly called after the bay; some enclosures leave the name empty and have only its number. */
function bayOf(component: string, link: string): string {
  const name = link.slice('enclosure_device:'.length).trim()
  return name === '' ? `slot ${textIn(join(component, 'slot'))}` : name
}

function lookFor(disk: Pick<BlockDisk, 'model' | 'serial' | 'wwn'>, bay: string): string {
  const marks = [
    disk.model === '' ? '' : `model ${disk.model}`,
    disk.serial === '' ? '' : `serial ${disk.serial}`,
    disk.wwn === '' ? '' : `WWN ${disk.wwn}`,
    bay === '' ? '' : `bay ${bay}`,
  ].filter((mark) => mark !== '')
  return marks.length > 0 ? marks.join(', ') : 'a disk without model or serial number'
}
