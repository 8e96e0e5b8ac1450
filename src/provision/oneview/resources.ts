import { z } from 'zod'
import { FsError } from '../../base/index.ts'

/**
 * What weft reads of the appliance's resources. A shape names the few fields that are used and lets all others be: releases
 * add and move fields (facts §2.2, AC#308). Decoding only checks: the value itself comes back, with its unknown fields and
 * the order of its keys, so that what is sent back differs by the edit alone.
 */
export function decode<T>(shape: z.ZodType<T>, value: unknown, what: string): T {
  const { success, error } = shape.safeParse(value)
  if (success) return value as T
  const [issue] = error.issues
  throw new FsError('EPROTO', 'oneview.decode', {
    message: `oneview: ${what}: ${issue?.path.join('.') || 'the body'} is not what we know: ${issue?.message ?? ''}`,
    next: NEWER,
  })
}

const NEWER =
  'this release of the appliance may be newer than this weft: update weft, or report it with the release of the appliance'

const text = z.string().nullish()
const flag = z.boolean().nullish()
/** Numbers are sent as strings here and there (facts §4.3, §6.1). */
const numeric = z.union([z.number(), z.string()]).nullish()
const uris = z.array(z.string()).nullish()
const uri = z.string().startsWith('/rest/')

/** The number, 0 for none and for what is none. */
export function numberOf(value: number | string | null | undefined): number {
  const number = Number(value ?? 0)
  return Number.isFinite(number) ? number : 0
}

/** For If-Match. Without one a write would be a forced one, `*`, which weft never sends. */
export function eTagOf({ uri, eTag }: { uri: string; eTag?: string | null | undefined }): string {
  if (eTag) return eTag
  throw new FsError('EPROTO', 'oneview.decode', {
    message: `oneview: ${uri} came without an eTag: it cannot be changed safely`,
    next: NEWER,
  })
}

const location = z.looseObject({
  locationEntries: z.array(z.looseObject({ type: text, value: text })).nullish(),
})

export const errorBodyShape = z.looseObject({
  errorCode: text,
  message: text,
  details: text,
  recommendedActions: z.array(z.string()).nullish(),
  /** Error bodies too; looked at one level at a time, so that no depth of them matters. */
  nestedErrors: z.array(z.unknown()).nullish(),
})
export type ErrorBody = z.infer<typeof errorBodyShape>

/** Null when the value is no error body. */
export function errorBody(value: unknown): ErrorBody | null {
  const { success, data } = errorBodyShape.safeParse(value)
  return success && (data.errorCode || data.message) ? data : null
}

export const page = z.looseObject({
  members: z.array(z.unknown()).nullable(),
  nextPageUri: text,
})

export const serverHardware = z.looseObject({
  uri,
  name: text,
  uuid: text,
  serialNumber: text,
  virtualUuid: text,
  virtualSerialNumber: text,
  serverProfileUri: text,
  state: text,
  portMap: z
    .looseObject({
      deviceSlots: z
        .array(
          z.looseObject({
            location: text,
            slotNumber: numeric,
            physicalPorts: z.array(z.looseObject({ type: text, interconnectUri: text })).nullish(),
          }),
        )
        .nullish(),
    })
    .nullish(),
})
export type ServerHardware = z.infer<typeof serverHardware>

const jbodEntry = z.looseObject({
  id: z.number().int(),
  deviceSlot: text,
  name: text,
  sasLogicalJBODUri: text,
  status: text,
})
export type JbodEntry = z.infer<typeof jbodEntry>

const localStorage = z.looseObject({
  sasLogicalJBODs: z.array(jbodEntry).nullish(),
  controllers: z
    .array(
      z.looseObject({
        deviceSlot: text,
        mode: text,
        logicalDrives: z.array(z.looseObject({ name: text, sasLogicalJBODId: numeric })).nullish(),
      }),
    )
    .nullish(),
})
export type LocalStorage = z.infer<typeof localStorage>

export const serverProfile = z.looseObject({
  uri,
  type: text,
  name: text,
  uuid: text,
  serialNumber: text,
  serialNumberType: text,
  serverHardwareUri: text,
  state: text,
  inProgress: flag,
  eTag: text,
  localStorage: localStorage.nullish(),
})
export type ServerProfile = z.infer<typeof serverProfile>

export const drive = z.looseObject({
  uri: text,
  wwid: text,
  serialNumber: text,
  deviceInterface: text,
  driveMedia: text,
  /** GB of the maker, as a string (facts §4.3). */
  capacity: numeric,
  eraseSupport: text,
  status: text,
})
export type Drive = z.infer<typeof drive>

const driveBay = z.looseObject({
  uri,
  driveBayLocation: location.nullish(),
  state: text,
  drive: drive.nullish(),
})
export type DriveBay = z.infer<typeof driveBay>

export const driveEnclosure = z.looseObject({
  uri,
  name: text,
  serialNumber: text,
  /** The SAS interconnects, two of them; a list in spite of its name. */
  interconnectUri: uris,
  driveBays: z.array(driveBay).nullish(),
})
export type DriveEnclosure = z.infer<typeof driveEnclosure>

/** A drive as the index has it; the last part of its uri is that of the drive's in its enclosure (facts §4.2). */
export const indexDrive = z.looseObject({
  uri,
  status: text,
  attributes: z.looseObject({
    available: text,
    isPredictiveFailDrive: text,
    driveEnclosureUri: text,
  }),
})
export type IndexDrive = z.infer<typeof indexDrive>

export const logicalJbod = z.looseObject({
  uri,
  type: text,
  name: text,
  minSizeGB: numeric,
  maxSizeGB: numeric,
  eraseData: flag,
  /** Releases up to 1200 at least name places of the SAS logical interconnect here, which say nothing of the bay (facts §5). */
  logicalDriveBayUris: uris,
  /** Later ones name the bays [?]: which release changed it is not known. */
  driveBayUris: uris,
  state: text,
  status: text,
  stateReason: text,
  eTag: text,
})
export type LogicalJbod = z.infer<typeof logicalJbod>

export const jbodAttachment = z.looseObject({
  uri,
  sasLogicalJBODUri: text,
  serverHardwareUri: text,
  serverProfileUri: text,
  state: text,
  status: text,
})
export type JbodAttachment = z.infer<typeof jbodAttachment>

export const sasLogicalInterconnect = z.looseObject({
  uri,
  driveEnclosureUris: uris,
  sasInterconnectUris: uris,
  state: text,
})
export type SasLogicalInterconnect = z.infer<typeof sasLogicalInterconnect>

export const task = z.looseObject({
  uri: text,
  name: text,
  taskState: text,
  taskStatus: text,
  percentComplete: z.number().nullish(),
  computedPercentComplete: z.number().nullish(),
  taskErrors: z.array(errorBodyShape).nullish(),
})
export type Task = z.infer<typeof task>

export const versionBody = z.looseObject({
  currentVersion: z.number().int(),
  minimumVersion: z.number().int(),
})
/** The id goes into a header. */
export const loginBody = z.looseObject({ sessionID: z.string().regex(/^[\x21-\x7e]+$/) })
