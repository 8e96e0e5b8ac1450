import { newBlade } from './blades.ts'
import { fixture, uuidOf } from './fixtures.ts'
import type {
  Attachment,
  Blade,
  BladeSpec,
  Claim,
  Drive,
  DriveEnclosure,
  DriveSpec,
  Jbod,
  SasInterconnects,
  Sighting,
} from './model.ts'

export const BAYS_PER_ENCLOSURE = 40

/** Device bays of a frame: the D3940 is in bays 1 and 2. */
const FIRST_BLADE_BAY = 3
const LAST_BLADE_BAY = 12

export interface FrameSpec {
  /** Each has one D3940, and a pair of SAS interconnects that makes one logical one. Default 1. */
  readonly frames?: number
  readonly blades?: readonly BladeSpec[]
  /** Default: each frame full, with the kinds of the capture. */
  readonly drives?: readonly DriveSpec[]
}

/**
 * What is true of the frames: enclosures, drives, blades, JBODs and who has which. It has no rules; those are in jbods.ts and
 * profiles.ts, which change it.
 */
export class Frame {
  readonly sas: readonly SasInterconnects[]
  readonly enclosures: readonly DriveEnclosure[]
  readonly drives: readonly Drive[]
  readonly blades: readonly Blade[]
  /** By uuid, as the attachments. */
  readonly jbods = new Map<string, Jbod>()
  readonly attachments = new Map<string, Attachment>()
  readonly sightings = new Set<Sighting>()

  constructor(spec: FrameSpec) {
    const numbers = Array.from({ length: spec.frames ?? 1 }, (_, i) => i + 1)
    this.sas = numbers.map(newSasInterconnects)
    this.enclosures = this.sas.map((sas) => {
      const serialNumber = `SN${123099 + sas.frame}`
      const uri = `/rest/drive-enclosures/${serialNumber}`
      return { serialNumber, uri, frame: sas.frame, sas }
    })
    this.drives = fill(this.enclosures, spec.drives ?? numbers.flatMap(capturedKinds))
    this.blades = place(spec.blades ?? [{ name: 'blade1' }], this.sas)
  }

  blade(name: string): Blade {
    const blade = this.blades.find((one) => one.name === name)
    if (blade === undefined) throw new Error(`no blade is called ${name}`)
    return blade
  }

  drive(serialNumber: string): Drive {
    const drive = this.drives.find((one) => one.serialNumber === serialNumber)
    if (drive === undefined) throw new Error(`no drive has the serial number ${serialNumber}`)
    return drive
  }

  jbodOf(drive: Drive): Jbod | undefined {
    return [...this.jbods.values()].find(({ drives }) => drives.includes(drive))
  }

  attachmentOf(jbod: Jbod): Attachment | undefined {
    return [...this.attachments.values()].find((one) => one.jbod === jbod)
  }

  isFree(drive: Drive): boolean {
    return this.jbodOf(drive) === undefined
  }

  /** Counted from the lists themselves, so that a drive given twice shows. */
  audit(): Claim[] {
    return this.drives.map((drive) => {
      const jbods = [...this.jbods.values()].filter(({ drives }) => drives.includes(drive))
      const attachments = [...this.attachments.values()].filter(({ jbod }) => jbods.includes(jbod))
      const sightings = [...this.sightings].filter((one) => one.drive === drive)
      return {
        serialNumber: drive.serialNumber,
        frame: drive.enclosure.frame,
        bay: drive.bay,
        jbods: jbods.map(({ name }) => name),
        blades: attachments.map(({ blade }) => blade.name),
        seenBy: sightings.map(({ blade }) => blade.name),
      }
    })
  }
}

/** Numbered as in the capture: those of frame 1, 0000A66101, are 2M220100SL and 2M220101SL. */
function newSasInterconnects(frame: number): SasInterconnects {
  const uuid = uuidOf(`sas ${frame}`)
  const first = 220100 + 2 * (frame - 1)
  return {
    uuid,
    uri: `/rest/sas-logical-interconnects/${uuid}`,
    name: `le1-lig_bayset1-${frame}`,
    frame,
    interconnectUris: [
      `/rest/sas-interconnects/2M${first}SL`,
      `/rest/sas-interconnects/2M${first + 1}SL`,
    ],
  }
}

/** Each in the next bay of its frame. */
function place(specs: readonly BladeSpec[], interconnects: readonly SasInterconnects[]): Blade[] {
  const next = new Map(interconnects.map((sas) => [sas, FIRST_BLADE_BAY]))
  return specs.map((spec) => {
    const sas = interconnects.find(({ frame }) => frame === (spec.frame ?? 1))
    const bay = sas === undefined ? LAST_BLADE_BAY + 1 : next.get(sas)!
    if (sas === undefined || bay > LAST_BLADE_BAY)
      throw new Error(`${spec.name}: frame ${spec.frame ?? 1} has no bay for it`)
    next.set(sas, bay + 1)
    return newBlade(spec, bay, sas)
  })
}

function capturedKinds(frame: number): DriveSpec[] {
  const bays = fixture('DriveEnclosure').driveBays as {
    drive: {
      capacity: string
      driveMedia: DriveSpec['media']
      deviceInterface: DriveSpec['interfaceType']
    }
  }[]
  return bays.map(({ drive }) => ({
    capacityGB: Number(drive.capacity),
    media: drive.driveMedia,
    interfaceType: drive.deviceInterface,
    frame,
  }))
}

function fill(enclosures: readonly DriveEnclosure[], specs: readonly DriveSpec[]): Drive[] {
  const drives: Drive[] = []
  const used = new Map(enclosures.map((enclosure) => [enclosure, 0]))
  for (const spec of specs.flatMap((one) => Array<DriveSpec>(one.count ?? 1).fill(one))) {
    const room = [...used].find(
      ([enclosure, bays]) =>
        bays < BAYS_PER_ENCLOSURE && (spec.frame === undefined || spec.frame === enclosure.frame),
    )
    if (room === undefined) throw new Error('more drives than bays')
    const [enclosure, bays] = room
    drives.push(newDrive(spec, enclosure, bays + 1))
    used.set(enclosure, bays + 1)
  }
  return drives
}

/** Names are numbered through all frames, as in the capture. */
function newDrive(spec: DriveSpec, enclosure: DriveEnclosure, bay: number): Drive {
  const number = String(BAYS_PER_ENCLOSURE * (enclosure.frame - 1) + bay - 1).padStart(4, '0')
  return {
    uuid: uuidOf(`drive ${enclosure.serialNumber} ${bay}`),
    serialNumber: spec.serialNumber ?? `S4601671${number}J4524YPT`,
    wwid: spec.wwid ?? `5000CCA03C61${number}`,
    capacityGB: spec.capacityGB,
    media: spec.media,
    interfaceType: spec.interfaceType,
    canErase: !(spec.media === 'HDD' && spec.interfaceType === 'SATA'),
    enclosure,
    bay,
    bayUri: bayUriOf(enclosure, bay),
    health: 'OK',
    erased: false,
  }
}

export function bayUriOf(enclosure: DriveEnclosure, bay: number): string {
  return `${enclosure.uri}/drive-bays/${uuidOf(`bay ${enclosure.serialNumber} ${bay}`)}`
}
