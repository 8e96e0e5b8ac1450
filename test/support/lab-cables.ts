import { existsSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Drive, Sighting } from '../oneview/model.ts'
import { byIdDir, Hardware } from './lab-hardware.ts'
import { attach, detach } from './loop-images.ts'
import { holderOf } from './namespaces.ts'
import { mountPoints, run, sh } from './node-world.ts'

const GB = 1_000_000_000
const SECTOR_BYTES = 4096

/**
 * What lies between the drives of a simulated frame and the hosts of a lab: a drive that is zoned to a blade is a loop device with
 * the names of a disk on the host of that name. What is written to a drive stays in its image, whoever has it next.
 */
export class Cables {
  readonly #lab: string
  readonly #images: string
  /** Devices, by who sees which drive. */
  readonly #plugged = new Map<Sighting, string>()

  /** @param lab directory of the lab's state. @param images directory that gets one sparse image for each drive ever zoned */
  constructor(lab: string, images: string) {
    this.#lab = lab
    this.#images = images
  }

  async plug(seen: Sighting): Promise<void> {
    const image = this.#imageOf(seen.drive)
    if (!existsSync(image)) await sh('truncate', ['--size', `${sizeBytes(seen.drive)}`, image])
    const device = await attach(image)
    this.#plugged.set(seen, device)
    for (const link of this.#links(seen)) symlinkSync(device, link)
  }

  /** As a disk goes that is pulled: its names first, then whatever its filesystem has not written out, then the device. */
  async pull(seen: Sighting): Promise<void> {
    const device = this.#plugged.get(seen)
    if (device === undefined) throw new Error(`${seen.drive.serialNumber} is not plugged in`)
    this.#plugged.delete(seen)
    for (const link of this.#links(seen)) rmSync(link)
    await this.#shutDown(seen.blade.name, device)
    await detach(device)
  }

  erase(drive: Drive): void {
    rmSync(this.#imageOf(drive), { force: true })
  }

  /** A host without power has nothing mounted. */
  async #shutDown(host: string, device: string): Promise<void> {
    const place = join(this.#lab, host)
    const holder = holderOf(place)
    if (holder === null) return
    const { point } = mountPoints(holder.pid).find(({ source }) => source === device) ?? {}
    if (point === undefined) return
    const inMounts = ['--target', `${holder.pid}`, '--mount', '--']
    const shutdown = ['xfs_io', '-x', '-c', 'shutdown', point]
    const { code, stderr } = await run('nsenter', [...inMounts, ...shutdown])
    if (code === 0 || holderOf(place)?.pid !== holder.pid) return
    throw new Error(`${device} is not shut down at ${point} of ${host}: ${stderr}`)
  }

  #imageOf({ serialNumber }: Drive): string {
    return join(this.#images, `frame-${serialNumber}.img`)
  }

  #links({ blade, drive }: Sighting): string[] {
    const byId = byIdDir(new Hardware(this.#lab, blade.name).dir)
    return namesOf(drive).map((name) => join(byId, name))
  }
}

/** As udev names a SAS disk: by WWN, by NAA, and by vendor, model and serial number. Source: facts §10 */
function namesOf({ wwid, serialNumber, interfaceType, media }: Drive): string[] {
  const naa = wwid.toLowerCase()
  return [`wwn-0x${naa}`, `scsi-3${naa}`, `scsi-SHPE_${interfaceType}_${media}_${serialNumber}`]
}

/** As large as its maker says, in whole sectors. */
function sizeBytes({ capacityGB }: Drive): number {
  return Math.ceil((capacityGB * GB) / SECTOR_BYTES) * SECTOR_BYTES
}
