import type { Body } from './fixtures.ts'

/** What there is in the frames, and how a test describes what it wants to be there. */

export type Health = 'OK' | 'PredictiveFail' | 'Failed'
export type Media = 'SSD' | 'HDD'
export type InterfaceType = 'SAS' | 'SATA'
export type Power = 'On' | 'Off' | 'PoweringOn' | 'PoweringOff'
export type ControllerMode = 'HBA' | 'RAID' | 'Mixed'

export interface DriveSpec {
  /** So many of this kind; default 1. */
  readonly count?: number
  /** Marketing GB; what is on the host may be of any size. */
  readonly capacityGB: number
  readonly media: Media
  readonly interfaceType: InterfaceType
  /** In which frame, from 1; by default the first that has a bay left. */
  readonly frame?: number
  /** Only for a spec of one drive. */
  readonly serialNumber?: string
  readonly wwid?: string
}

export interface BladeSpec {
  /** What the profile is called, and a lab its host. */
  readonly name: string
  /** Of the hardware, in any case. */
  readonly uuid?: string
  readonly serialNumber?: string
  /** With these the profile has virtual ids, and they are what the operating system sees. */
  readonly virtualUuid?: string
  readonly virtualSerialNumber?: string
  /** From 1; default 1. */
  readonly frame?: number
  /** The SAS controller in mezzanine slot 1, P542D of Gen9 (RAID, HBA) or P416ie-m of Gen10 (Mixed too); default P542D. */
  readonly controller?: 'P542D' | 'P416ie-m'
  /** How the profile sets it up; null is a profile without controllers, which is valid. Default HBA. */
  readonly mode?: ControllerMode | null
  /** false: its SAS ports lead nowhere, as in a frame whose interconnects nobody has claimed. */
  readonly cabled?: boolean
  /** false: the blade has no profile. */
  readonly profile?: boolean
}

export interface SasInterconnects {
  readonly uuid: string
  readonly uri: string
  readonly name: string
  readonly frame: number
  readonly interconnectUris: readonly [string, string]
}

export interface DriveEnclosure {
  readonly serialNumber: string
  readonly uri: string
  readonly frame: number
  readonly sas: SasInterconnects
}

export interface Drive {
  readonly uuid: string
  /** 20 characters. */
  readonly serialNumber: string
  /** 16 upper case hex digits. */
  readonly wwid: string
  readonly capacityGB: number
  readonly media: Media
  readonly interfaceType: InterfaceType
  readonly canErase: boolean
  readonly enclosure: DriveEnclosure
  /** 1 to 40. */
  readonly bay: number
  readonly bayUri: string
  health: Health
  /** Sanitised at least once. */
  erased: boolean
}

export interface Blade {
  readonly name: string
  /** Upper case. */
  readonly uuid: string
  readonly uri: string
  readonly serialNumber: string
  readonly frame: number
  /** Device bay. */
  readonly bay: number
  readonly hardwareName: string
  readonly controller: 'P542D' | 'P416ie-m'
  /** Where its SAS ports lead, null for nowhere. */
  readonly sas: SasInterconnects | null
  profile: Profile | null
  power: Power
}

export interface Profile {
  readonly uuid: string
  readonly uri: string
  readonly blade: Blade
  /** As it is answered, but for what depends on the version. */
  body: Body
  /** A task is changing it. */
  inProgress: boolean
  /** How often it changed. */
  changes: number
}

export interface Jbod {
  readonly uuid: string
  readonly uri: string
  readonly drives: readonly Drive[]
  readonly sas: SasInterconnects
  readonly minSizeGB: number
  readonly maxSizeGB: number
  readonly created: string
  name: string
  description: string | null
  eraseData: boolean
  /** 'Configuring' and 'Deleting' are guesses: no transient state was seen [?]. */
  state: 'Configuring' | 'Configured' | 'ConfigError' | 'Deleting'
  /** ISO time; the eTag too. */
  modified: string
}

export interface Attachment {
  readonly uuid: string
  readonly name: string
  readonly jbod: Jbod
  readonly blade: Blade
  readonly profile: Profile
  readonly created: string
}

/** What a host sees: not always what was zoned to its blade. */
export interface Sighting {
  readonly blade: Blade
  readonly drive: Drive
}

/** Whom a drive belongs to. Two of a kind, or another blade in `seenBy` than in `blades`, is a broken promise. */
export interface Claim {
  readonly serialNumber: string
  readonly frame: number
  readonly bay: number
  /** Names of JBODs that have it. */
  readonly jbods: readonly string[]
  /** Names of blades that it is attached to. */
  readonly blades: readonly string[]
  /** Names of blades whose host can see it. */
  readonly seenBy: readonly string[]
}
