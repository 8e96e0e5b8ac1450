import { invalid } from './errors.ts'
import { objectOf, onlyFields } from './fields.ts'
import type { Drive, InterfaceType, Media } from './model.ts'

/** A kind of drive: a JBOD says it in two words, a profile in one. */
export interface DriveTechnology {
  readonly deviceInterface: InterfaceType
  readonly driveMedia: Media
}

const BY_NAME: Readonly<Record<string, DriveTechnology>> = {
  SasHdd: { deviceInterface: 'SAS', driveMedia: 'HDD' },
  SasSsd: { deviceInterface: 'SAS', driveMedia: 'SSD' },
  SataHdd: { deviceInterface: 'SATA', driveMedia: 'HDD' },
  SataSsd: { deviceInterface: 'SATA', driveMedia: 'SSD' },
}

const FIELDS = new Set(['deviceInterface', 'driveMedia'])

/** @returns undefined for names that the D3940 does not know, such as Auto */
export function technologyNamed(name: string): DriveTechnology | undefined {
  return BY_NAME[name]
}

export function technologyOf(drive: Drive): DriveTechnology {
  return { deviceInterface: drive.interfaceType, driveMedia: drive.media }
}

export function sameTechnology(a: DriveTechnology, b: DriveTechnology): boolean {
  return a.deviceInterface === b.deviceInterface && a.driveMedia === b.driveMedia
}

export function nameOf(technology: DriveTechnology): string {
  return Object.keys(BY_NAME).find((name) => sameTechnology(BY_NAME[name]!, technology))!
}

export function readTechnology(value: unknown): DriveTechnology {
  const body = objectOf(value, 'driveTechnology')
  onlyFields(body, FIELDS)
  const found = Object.values(BY_NAME).find((known) =>
    sameTechnology(known, body as unknown as DriveTechnology),
  )
  if (found === undefined) throw invalid('The drive technology is not known.')
  return found
}
