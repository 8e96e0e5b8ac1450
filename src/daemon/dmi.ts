import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf, FsError } from '../base/index.ts'
import type { Dmi } from '../provision/index.ts'

/** Where Linux shows what the firmware says of the machine. Source: Documentation/ABI/testing/sysfs-firmware-dmi-ids. */
const DMI_DIR = '/sys/class/dmi/id'

/**
 * By what an appliance knows this machine. Only root may read them.
 * @param dir another directory with the same files: the lab's hosts, which share one machine
 * @throws FsError ENODEV when the firmware says neither; EACCES
 */
export function readDmi(dir: string = DMI_DIR): Dmi {
  const dmi = { uuid: line(dir, 'product_uuid'), serial: line(dir, 'product_serial') }
  if (dmi.uuid !== '' || dmi.serial !== '') return dmi
  throw new FsError('ENODEV', 'synergy.self', {
    message: `${dir} says neither product_uuid nor product_serial of this machine, by which a frame would know it`,
    next: 'run this on a server of the frame itself; a virtual machine or a container has no drives of it',
  })
}

/** '' for what is not there. */
function line(dir: string, name: string): string {
  try {
    return readFileSync(join(dir, name), 'utf8').trim()
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return ''
    throw new FsError('EACCES', 'synergy.self', {
      cause,
      message: `${join(dir, name)} cannot be read, by which a frame would know this machine`,
      next: 'run the node as root',
    })
  }
}
