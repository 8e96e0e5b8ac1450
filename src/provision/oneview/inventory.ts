import type { ServiceClass } from '../../drives/index.ts'
import type { FreeDrive } from '../provisioner.ts'
import {
  type Drive,
  type DriveBay,
  type DriveEnclosure,
  type IndexDrive,
  numberOf,
} from './resources.ts'

/** A bay that has a drive in it. */
export interface Seat {
  readonly enclosure: DriveEnclosure
  readonly bay: DriveBay
  readonly drive: Drive
}

const BYTES_PER_GB = 1e9

/**
 * The drives of enclosures, found by bay, by drive or by serial number: JBODs name them in one of these ways, by release
 * (facts §5).
 */
export class Inventory {
  readonly #byBay = new Map<string, Seat>()
  readonly #byDrive = new Map<string, Seat>()
  readonly #bySerial = new Map<string, Seat>()

  constructor(enclosures: readonly DriveEnclosure[]) {
    for (const enclosure of enclosures) {
      for (const bay of enclosure.driveBays ?? []) {
        if (!bay.drive) continue
        const seat = { enclosure, bay, drive: bay.drive }
        this.#byBay.set(bay.uri, seat)
        this.#byDrive.set(idOf(bay.drive.uri), seat)
        this.#bySerial.set(serialOf(bay.drive), seat)
      }
    }
  }

  get seats(): Seat[] {
    return [...this.#byBay.values()]
  }

  atBay(uri: string): Seat | undefined {
    return this.#byBay.get(uri)
  }

  /** Of a drive as the index or a JBOD shows it. The same id ends both uris (facts §4.2). */
  ofDrive({ uri, serialNumber }: Pick<Drive, 'uri' | 'serialNumber'>): Seat | undefined {
    return this.#byDrive.get(idOf(uri)) ?? this.#bySerial.get(serialNumber?.trim() ?? '')
  }
}

function idOf(uri: string | null | undefined): string {
  return (uri?.split('/').at(-1) ?? '').toLowerCase()
}

function serialOf({ serialNumber }: Drive): string {
  return serialNumber?.trim() ?? ''
}

/** A seat as callers outside of this folder know it. */
export function freeDriveOf({ enclosure, bay, drive }: Seat): FreeDrive {
  const number = bay.driveBayLocation?.locationEntries?.find(({ type }) => type === 'Bay')?.value
  return {
    place: bay.uri,
    name: `${enclosure.name ?? enclosure.serialNumber}, drive ${number ?? '?'}`,
    class: classOf(drive),
    sizeBytes: numberOf(drive.capacity) * BYTES_PER_GB,
    serial: serialOf(drive),
    wwid: (drive.wwid ?? '').toLowerCase().replace(/^0x/, ''),
  }
}

/** Rotation is no sign: the appliance has 7200 rpm on SSDs (facts §4.1). */
export function classOf({ driveMedia, deviceInterface }: Drive): ServiceClass {
  if (driveMedia !== 'SSD') return 1
  return /nvme|sas/i.test(deviceInterface ?? '') ? 3 : 2
}

/** As profiles spell it: SasHdd, SataSsd. NVMe drives in the same manner [?]: facts §6.1. */
export function technologyOf({ driveMedia, deviceInterface }: Drive): string {
  return capitalized(deviceInterface) + capitalized(driveMedia)
}

function capitalized(word: string | null | undefined): string {
  return (word ?? '').slice(0, 1).toUpperCase() + (word ?? '').slice(1).toLowerCase()
}

/**
 * Seats that may be given: the index says available, drive and index say OK, nothing foretells a failure, and it is in no
 * JBOD. The last is looked at here because the index lags (facts §4.2).
 * @param taken bays of all JBODs
 */
export function freeSeats(
  inventory: Inventory,
  index: readonly IndexDrive[],
  taken: ReadonlySet<string>,
): Seat[] {
  const free: Seat[] = []
  for (const { uri, status, attributes } of index) {
    const seat = inventory.ofDrive({ uri, serialNumber: undefined })
    if (seat === undefined || taken.has(seat.bay.uri)) continue
    if (attributes.available !== 'yes' || status !== 'OK' || seat.drive.status !== 'OK') continue
    if (attributes.isPredictiveFailDrive === 'yes') continue
    const isKnown = seat.drive.driveMedia === 'SSD' || seat.drive.driveMedia === 'HDD'
    if (isKnown && numberOf(seat.drive.capacity) > 0) free.push(seat)
  }
  return free
}
