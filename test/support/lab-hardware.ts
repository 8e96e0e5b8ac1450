import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { uuidOf } from '../oneview/fixtures.ts'

/**
 * What of a host is its blade: the identity that its firmware tells, and the names of the disks that are cabled to it. It lies in a
 * directory of the lab, so a cut of power changes nothing of it. A host sees its own at `HARDWARE`, and no other's.
 */
export class Hardware {
  readonly dir: string
  readonly uuid: string
  readonly serialNumber: string

  /** @param lab directory of the lab's state */
  constructor(lab: string, host: string) {
    this.dir = join(lab, host)
    this.uuid = uuidOf(this.dir)
    this.serialNumber = `LAB${this.uuid.slice(0, 7).toUpperCase()}`
  }

  /** What is there stays. */
  make(): void {
    mkdirSync(byIdDir(this.dir), { recursive: true })
    mkdirSync(dmiDir(this.dir), { recursive: true })
    writeFileSync(join(dmiDir(this.dir), 'product_uuid'), `${this.uuid}\n`)
    writeFileSync(join(dmiDir(this.dir), 'product_serial'), `${this.serialNumber}\n`)
  }
}

/** As seen inside. */
export const HARDWARE = '/mnt/hardware'

/** @param hardware its directory, as seen inside or outside */
export function byIdDir(hardware: string): string {
  return join(hardware, 'by-id')
}

export function dmiDir(hardware: string): string {
  return join(hardware, 'dmi')
}
