import { FsError } from '../../base/index.ts'
import type {
  DriveEnclosure,
  SasLogicalInterconnect,
  ServerHardware,
  ServerProfile,
} from './resources.ts'

/** What this machine's firmware says of it: /sys/class/dmi/id/product_uuid and product_serial. */
export interface Dmi {
  readonly uuid: string
  readonly serial: string
}

export interface Self {
  readonly hardware: ServerHardware
  readonly profile: ServerProfile
  /** By what it was known, for check.ts: 'profile uuid'. */
  readonly by: string
}

interface Match {
  readonly hardware: ServerHardware | undefined
  readonly profile: ServerProfile | undefined
  readonly by: string
}

/**
 * This machine's hardware and the profile it runs. The profile is asked first: with virtual ids the system sees the
 * profile's, and the hardware's own record of them may be empty in spite of it (facts §3).
 * @throws FsError ENODEV nothing or no profile fits; EEXIST more than one does
 */
export function findSelf(
  dmi: Dmi,
  profiles: readonly ServerProfile[],
  hardware: readonly ServerHardware[],
): Self {
  const found = matches(dmi, profiles, hardware)
  const [first] = found
  if (first === undefined) {
    throw new FsError('ENODEV', 'oneview.self', {
      ...dmi,
      message: `oneview: no server of the appliance has the uuid ${dmi.uuid} or the serial number ${dmi.serial} of this machine`,
      next: 'check that the url is that of the appliance which manages this frame, and that the user may see its servers',
    })
  }
  if (new Set(found.map(({ hardware }) => hardware?.uri)).size > 1) {
    throw new FsError('EEXIST', 'oneview.self', {
      ...dmi,
      message: `oneview: more than one server fits this machine: ${found.map(({ hardware, by }) => `${hardware?.name ?? 'unknown'} (${by})`).join(', ')}`,
      next: 'correct the uuid or serial number that is there twice',
    })
  }
  if (first.hardware === undefined || first.profile === undefined) {
    const name = first.hardware?.name ?? first.profile?.name
    throw new FsError('ENODEV', 'oneview.self', {
      ...dmi,
      message: `oneview: server ${name} is this machine, and has ${first.hardware === undefined ? 'no hardware record the user may see' : 'no server profile'}: drives are given through a profile`,
      next: 'assign a server profile to it in OneView',
    })
  }
  return { ...first, hardware: first.hardware, profile: first.profile }
}

/** Of the surest kind of match that there is any of. */
function matches(
  dmi: Dmi,
  profiles: readonly ServerProfile[],
  hardware: readonly ServerHardware[],
): Match[] {
  const ofProfile = (profile: ServerProfile, by: string): Match => ({
    profile,
    hardware: hardware.find(({ uri }) => same(uri, profile.serverHardwareUri)),
    by,
  })
  const ofHardware = (one: ServerHardware, by: string): Match => ({
    hardware: one,
    profile: profiles.find(
      ({ uri, serverHardwareUri }) =>
        same(uri, one.serverProfileUri) || same(one.uri, serverHardwareUri),
    ),
    by,
  })
  const assigned = profiles.filter(({ serverHardwareUri }) => serverHardwareUri)
  const kinds: (() => Match[])[] = [
    () =>
      assigned
        .filter(({ uuid }) => isSameUuid(uuid, dmi.uuid))
        .map((profile) => ofProfile(profile, 'profile uuid')),
    () =>
      assigned
        .filter(({ serialNumber }) => isSameSerial(serialNumber, dmi.serial))
        .map((profile) => ofProfile(profile, 'profile serial number')),
    () =>
      hardware
        .filter(({ uuid }) => isSameUuid(uuid, dmi.uuid))
        .map((one) => ofHardware(one, 'hardware uuid')),
    () =>
      hardware
        .filter(({ serialNumber }) => isSameSerial(serialNumber, dmi.serial))
        .map((one) => ofHardware(one, 'hardware serial number')),
    () =>
      hardware
        .filter(
          ({ virtualUuid, virtualSerialNumber }) =>
            isSameUuid(virtualUuid, dmi.uuid) || isSameSerial(virtualSerialNumber, dmi.serial),
        )
        .map((one) => ofHardware(one, 'virtual id of the hardware')),
  ]
  for (const kind of kinds) {
    const found = kind()
    if (found.length > 0) return found
  }
  return []
}

/** The id in a hardware's uri is its uuid in upper case; elsewhere it may stand in lower. */
function same(uri: string, other: string | null | undefined): boolean {
  return uri.toLowerCase() === other?.toLowerCase()
}

/**
 * SMBIOS stores the first three groups of a uuid little-endian and old firmware does not: both orders are the same machine
 * [?] (facts §3).
 */
export function isSameUuid(uuid: string | null | undefined, other: string): boolean {
  const digits = uuidDigits(uuid ?? '')
  return digits !== '' && [digits, swapped(digits)].includes(uuidDigits(other))
}

function uuidDigits(uuid: string): string {
  const digits = uuid.replaceAll('-', '').toLowerCase()
  return /^[0-9a-f]{32}$/.test(digits) && !/^(.)\1*$/.test(digits) ? digits : ''
}

function swapped(digits: string): string {
  const [a, b, c] = [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16)]
  const turned = [a, b, c].map((group) => Buffer.from(group, 'hex').reverse().toString('hex'))
  return turned.join('') + digits.slice(16)
}

function isSameSerial(serial: string | null | undefined, other: string): boolean {
  const wanted = other.trim().toUpperCase()
  return wanted !== '' && serial?.trim().toUpperCase() === wanted
}

/** The SAS controller of a blade through which it reaches drive enclosures. */
export interface SasSlot {
  /** As profiles name it: 'Mezz 1'. */
  readonly deviceSlot: string
  readonly interconnectUris: ReadonlySet<string>
}

/**
 * Its mezzanine slot with SAS ports that lead to an interconnect; a port without one leads nowhere (facts §3).
 * @throws FsError ENODEV when it has none
 */
export function sasSlotOf(hardware: ServerHardware): SasSlot {
  for (const slot of hardware.portMap?.deviceSlots ?? []) {
    const uris = (slot.physicalPorts ?? [])
      .filter(({ type, interconnectUri }) => type === 'SAS' && interconnectUri)
      .map(({ interconnectUri }) => interconnectUri as string)
    if (slot.location !== 'Mezz' || uris.length === 0) continue
    return { deviceSlot: `Mezz ${slot.slotNumber}`, interconnectUris: new Set(uris) }
  }
  throw new FsError('ENODEV', 'oneview.self', {
    hardware: hardware.uri,
    message: `oneview: server ${hardware.name} has no SAS controller that leads to a SAS interconnect`,
    next: 'it needs a mezzanine controller (P542D, P416ie-m) and a logical enclosure with SAS interconnects',
  })
}

/** A RAID controller hides the disks from the system (facts §6.1, §10). @throws FsError EINVAL */
export function mustShowDisks(profile: ServerProfile, deviceSlot: string): void {
  const controller = profile.localStorage?.controllers?.find((one) => one.deviceSlot === deviceSlot)
  if (controller?.mode !== 'RAID') return
  throw new FsError('EINVAL', 'oneview.attach', {
    profile: profile.uri,
    deviceSlot,
    message: `oneview: controller ${deviceSlot} of server profile ${profile.name} is in RAID mode, which hides single drives from the system`,
    next: 'set it to HBA or Mixed in the profile; that destroys its logical drives, so look first what is on them',
  })
}

/**
 * Enclosures on the blade's SAS interconnects. Where an enclosure does not name its own, the SAS logical interconnects tell
 * (facts §4.2).
 */
export function inReach(
  enclosures: readonly DriveEnclosure[],
  { interconnectUris }: SasSlot,
  logicalInterconnects: readonly SasLogicalInterconnect[],
): DriveEnclosure[] {
  const isOurs = (uris: readonly string[] | null | undefined) =>
    (uris ?? []).some((uri) => interconnectUris.has(uri))
  const ofGroups = new Set(
    logicalInterconnects
      .filter(({ sasInterconnectUris }) => isOurs(sasInterconnectUris))
      .flatMap(({ driveEnclosureUris }) => driveEnclosureUris ?? []),
  )
  return enclosures.filter(
    ({ uri, interconnectUri }) =>
      isOurs(interconnectUri) || (!interconnectUri?.length && ofGroups.has(uri)),
  )
}
