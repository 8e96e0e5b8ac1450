import { frameNameOf, frameUriOf } from './blades.ts'
import { type Body, fixture, withETag } from './fixtures.ts'
import { BAYS_PER_ENCLOSURE, bayUriOf, type Frame } from './frame.ts'
import type { Drive, DriveEnclosure, Health, SasInterconnects } from './model.ts'

/** What the appliance tells of enclosures, bays, drives and what they are cabled to: the capture, with other identities. */

/** GET /rest/drive-enclosures/{serialNumber} */
export function enclosureBody(frame: Frame, enclosure: DriveEnclosure): Body {
  const template = fixture('DriveEnclosure')
  const [bay] = template.driveBays as Body[]
  const [left, right] = enclosure.sas.interconnectUris
  const text = JSON.stringify({ ...template, driveBays: [] })
    .replaceAll('0000A66101', frameNameOf(enclosure.frame))
    .replaceAll('SN123100', enclosure.serialNumber)
    .replaceAll('500143803110029D', `500143803110${enclosure.frame - 1}29D`)
    .replaceAll('/rest/sas-interconnects/2M220100SL', left)
    .replaceAll('/rest/sas-interconnects/2M220101SL', right)
  const drives = frame.drives.filter((drive) => drive.enclosure === enclosure)
  return withETag({
    ...JSON.parse(text),
    driveBays: Array.from({ length: BAYS_PER_ENCLOSURE }, (_, i) => {
      const drive = drives.find((one) => one.bay === i + 1)
      return bayBody(frame, enclosure, i + 1, drive, bay!)
    }),
  })
}

/** A DriveBayV2; an empty one has a `drive` of null. */
function bayBody(
  frame: Frame,
  enclosure: DriveEnclosure,
  bay: number,
  drive: Drive | undefined,
  template: Body,
): Body {
  const zoned = drive !== undefined && frame.jbodOf(drive) !== undefined
  return {
    ...template,
    uri: bayUriOf(enclosure, bay),
    driveBayLocation: { locationEntries: [{ type: 'Bay', value: String(bay) }] },
    attachedDeviceInterface: drive?.interfaceType ?? null,
    attachedDeviceWWID: drive?.wwid ?? null,
    model: drive === undefined ? null : `${drive.interfaceType} ${drive.capacityGB}`,
    drive: drive === undefined ? null : driveBody(drive, template.drive as Body),
    state: zoned ? 'Configured' : 'UnConfigured', // [?] the value of a bay in a JBOD was not seen
  }
}

/** GET /rest/sas-logical-jbods/{uuid}/drives: a bare list of DriveV2. */
export function driveBodies(drives: readonly Drive[]): Body[] {
  const [bay] = fixture('DriveEnclosure').driveBays as { drive: Body }[]
  return drives.map((drive) => driveBody(drive, bay!.drive))
}

function driveBody(drive: Drive, template: Body): Body {
  const at = (type: string, value: string) => ({ type, value })
  return {
    ...template,
    uri: `${drive.bayUri}/drives/${drive.uuid}`,
    driveLocation: {
      locationEntries: [at('SasPort', '1'), at('Box', '1'), at('Bay', String(drive.bay))],
    },
    wwid: drive.wwid,
    serialNumber: drive.serialNumber,
    deviceInterface: drive.interfaceType,
    driveMedia: drive.media,
    capacity: String(drive.capacityGB),
    drivePaths: [`1:1:${drive.bay}`],
    eraseSupport: drive.canErase ? 'Supported' : 'NotSupported',
    eraseStatus: drive.erased ? 'EraseCompleted' : 'Not_Available',
    state: drive.health === 'Failed' ? 'Disabled' : 'Enabled', // [?] the state of a failed drive was not seen
    status: statusOf(drive.health),
    name: `Drive ${drive.bay}`,
  }
}

export function statusOf(health: Health): 'OK' | 'Warning' | 'Critical' {
  switch (health) {
    case 'OK':
      return 'OK'
    case 'PredictiveFail':
      return 'Warning'
    case 'Failed':
      return 'Critical'
  }
}

/** GET /rest/sas-logical-interconnects/{uuid}. These fields are known, the type is a guess [?]. */
export function sasInterconnectsBody(frame: Frame, sas: SasInterconnects): Body {
  return {
    type: 'sas-logical-interconnectV2',
    uri: sas.uri,
    category: 'sas-logical-interconnects',
    name: sas.name,
    driveEnclosureUris: frame.enclosures.filter((one) => one.sas === sas).map(({ uri }) => uri),
    sasInterconnectUris: sas.interconnectUris,
    enclosureUris: [frameUriOf(sas.frame)],
    interconnectBaySet: 1,
    consistencyStatus: 'CONSISTENT',
    state: 'Redundant',
    stateReason: null,
    status: 'OK',
    eTag: '1',
  }
}
