import { type Clock, FsError } from '../../base/index.ts'
import type { Appliance } from './appliance.ts'
import { type Dmi, isSameUuid, type Self } from './find-self.ts'
import type { Frame } from './frame.ts'
import { Inventory } from './inventory.ts'
import { type IndexDrive, page, type ServerProfile, task as taskShape } from './resources.ts'
import { pause } from './waiting.ts'

/** One thing that public documents left open, and what this appliance shows. */
export interface Finding {
  readonly point: string
  /** For a person, who may send it to us. */
  readonly seen: string
  /** False when weft would not work with it, or could not look. */
  readonly ok: boolean
}

type Look = (signal: AbortSignal) => Promise<Omit<Finding, 'point'>>

/** Between two looks: a check must not be felt on the appliance. */
const BETWEEN_MS = 100

/**
 * For the owner of a real frame: looks, by reading only, at the points that were marked as guesses when this was written
 * without one (facts, [?] and [!]). A point that cannot be looked at is a finding too.
 * @throws FsError when the appliance cannot be reached or logged in at; ECANCELED
 */
export async function checkAppliance(
  appliance: Appliance,
  frame: Frame,
  dmi: Dmi,
  clock: Clock,
  signal: AbortSignal,
): Promise<Finding[]> {
  // Outside of the points: a wrong password must not be tried at each of them, which locks users out.
  await appliance.logIn(signal)
  const findings: Finding[] = []
  for (const [point, look] of Object.entries(looks(appliance, frame, dmi))) {
    findings.push({ point, ...(await lookedAt(look, signal)) })
    await pause(clock, BETWEEN_MS, signal)
  }
  return findings
}

async function lookedAt(look: Look, signal: AbortSignal): Promise<Omit<Finding, 'point'>> {
  try {
    return await look(signal)
  } catch (error) {
    if (!(error instanceof FsError) || error.code === 'ECANCELED') throw error
    return { seen: error.message, ok: false }
  }
}

function looks(appliance: Appliance, frame: Frame, dmi: Dmi): Readonly<Record<string, Look>> {
  const self = async (signal: AbortSignal) => frame.self(await frame.profiles(signal), signal)
  return {
    'API version (facts §2.2)': async (signal) => {
      const version = await appliance.version(signal)
      return { seen: `${version} is spoken`, ok: true }
    },
    'kind of appliance (§2.5)': async (signal) => {
      const body = await read(appliance, '/rest/appliance/nodeinfo/version', signal)
      return { seen: fieldsOf(body, ['family', 'modelNumber', 'softwareVersion']), ok: true }
    },
    'type of server profiles (§2.2)': async (signal) => {
      const types = (await frame.profiles(signal)).map(({ type }) => type)
      return { seen: valuesOf(types), ok: true }
    },
    'this server, and the byte order of its DMI uuid (§3)': async (signal) => {
      const { by, hardware, profile } = await self(signal)
      return {
        seen: `${hardware.name}, known by ${by}; ${orderOf(dmi, hardware.uuid, profile.uuid)}`,
        ok: true,
      }
    },
    'virtual ids on the hardware (§3)': async (signal) => {
      const { hardware, profile } = await self(signal)
      const seen = `serialNumberType ${profile.serialNumberType}, ${fieldsOf(hardware, ['virtualSerialNumber', 'virtualUuid'])}`
      return { seen, ok: true }
    },
    'SAS controller and its mode (§3, §6.1)': async (signal) => {
      const found = await self(signal)
      const { slot } = await frame.reach(found, signal)
      const mode = modeOf(found, slot.deviceSlot)
      return {
        seen: `${slot.deviceSlot}, ${slot.interconnectUris.size} interconnects, mode ${mode}`,
        ok: mode !== 'RAID',
      }
    },
    'drive enclosures in reach, also of other frames (§1, §4.2)': async (signal) => {
      const found = await self(signal)
      const { enclosures } = await frame.reach(found, signal)
      const names = enclosures.map(({ name }) => name)
      return {
        seen: `${names.join('; ') || 'none'} (the server is ${found.hardware.name})`,
        ok: names.length > 0,
      }
    },
    'SAS logical interconnects name their enclosures (§4.2)': async (signal) => {
      const groups = await frame.logicalInterconnects(signal)
      const named = groups.filter(({ driveEnclosureUris }) => driveEnclosureUris?.length)
      return { seen: `${named.length} of ${groups.length} do`, ok: true }
    },
    'state of drive bays (§4.1)': async (signal) => {
      const { seats } = await frame.inventory(signal)
      return { seen: valuesOf(seats.map(({ bay }) => bay.state)), ok: seats.length > 0 }
    },
    'kinds of drives, and whether they can be erased (§4.1)': async (signal) => {
      const { seats } = await frame.inventory(signal)
      const kinds = seats.map(
        ({ drive }) => `${drive.deviceInterface} ${drive.driveMedia} erase ${drive.eraseSupport}`,
      )
      return { seen: valuesOf(kinds), ok: seats.length > 0 }
    },
    'form of a wwid and a serial number (§10)': async (signal) => {
      const drive = (await frame.inventory(signal)).seats[0]?.drive
      return { seen: `wwid ${drive?.wwid}, serial ${drive?.serialNumber}`, ok: drive !== undefined }
    },
    'drives of the index are those of the enclosures (§4.2)': async (signal) => {
      const enclosures = await frame.enclosures(signal)
      const inventory = new Inventory(enclosures)
      const index: IndexDrive[] = []
      for (const one of enclosures) index.push(...(await frame.indexDrives(one, signal)))
      const joined = index.filter(({ uri }) => inventory.ofDrive({ uri, serialNumber: undefined }))
      return {
        seen: `${joined.length} of ${index.length} are found, of ${inventory.seats.length} drives`,
        ok: joined.length > 0 && joined.length === index.length,
      }
    },
    'how logical JBODs name their drives (§5)': async (signal) => {
      const ways = (await frame.jbods(signal)).map(
        (jbod) =>
          `${jbod.type} ${jbod.driveBayUris ? 'driveBayUris' : jbod.logicalDriveBayUris ? 'logicalDriveBayUris' : 'neither'}`,
      )
      return { seen: valuesOf(ways), ok: true }
    },
    'states of logical JBODs (§5)': async (signal) => {
      const states = (await frame.jbods(signal)).map(({ state }) => state)
      return { seen: valuesOf(states), ok: true }
    },
    'list of the drives of a logical JBOD (§5)': async (signal) => {
      const [jbod] = await frame.jbods(signal)
      if (jbod === undefined) return { seen: 'there is no logical JBOD', ok: true }
      const body = await read(appliance, `${jbod.uri}/drives`, signal)
      const first = Array.isArray(body) ? body[0] : undefined
      return { seen: fieldsOf(first, ['type', 'uri', 'serialNumber']), ok: Array.isArray(body) }
    },
    'attachments (§5)': async (signal) => {
      const attachments = await frame.attachments(signal)
      return {
        seen: `${attachments.length}, ${valuesOf(attachments.map(({ state }) => state))}`,
        ok: true,
      }
    },
    'JBODs in server profiles: persistent, sizes, order of ids (§6.1)': async (signal) => {
      return { seen: entriesSeen(await frame.profiles(signal)), ok: true }
    },
    'sections that want the power off, of past tasks (§6.2)': async (signal) => {
      const filter = encodeURIComponent(`"taskState='Error'"`)
      const path = `/rest/tasks?start=0&count=100&filter=${filter}&sort=created:descending`
      return { seen: powerErrorsIn(await read(appliance, path, signal)), ok: true }
    },
  }
}

async function read(appliance: Appliance, path: string, signal: AbortSignal): Promise<unknown> {
  const { body } = await appliance.get(path, { op: 'oneview.check', what: `read ${path}` }, signal)
  return body
}

function fieldsOf(value: unknown, names: readonly string[]): string {
  const fields = (value ?? {}) as Readonly<Record<string, unknown>>
  return names.map((name) => `${name} ${JSON.stringify(fields[name])}`).join(', ')
}

/** 'Configured 12, ConfigError 1' */
function valuesOf(values: readonly (string | null | undefined)[]): string {
  const counts = new Map<string, number>()
  for (const value of values) counts.set(`${value}`, 1 + (counts.get(`${value}`) ?? 0))
  return [...counts].map(([value, count]) => `${value} ${count}`).join(', ') || 'none'
}

function orderOf({ uuid }: Dmi, ...known: readonly (string | null | undefined)[]): string {
  const alike = known.find((one) => isSameUuid(one, uuid))
  if (!alike) return `its uuid ${uuid} is none of the appliance's`
  return alike.toLowerCase() === uuid.toLowerCase()
    ? 'same byte order'
    : 'groups of the uuid swapped'
}

function modeOf({ profile }: Self, deviceSlot: string): string {
  const { controllers } = profile.localStorage ?? {}
  return controllers?.find((one) => one.deviceSlot === deviceSlot)?.mode ?? 'not in the profile'
}

function entriesSeen(profiles: readonly ServerProfile[]): string {
  const lists = profiles.map(({ localStorage }) => localStorage?.sasLogicalJBODs ?? [])
  const entries = lists.flat()
  const isInOrder = lists.every((list) =>
    list
      .map(({ id }) => id)
      .sort((a, b) => a - b)
      .every((id, index) => id === index + 1),
  )
  const persistent = valuesOf(entries.map((entry) => `persistent ${entry.persistent}`))
  const sizes = valuesOf(entries.map((entry) => `size as ${typeof entry.driveMinSizeGB}`))
  return `${persistent}; ${sizes}; ids ${isInOrder ? 'without a gap' : 'with gaps'}`
}

function powerErrorsIn(body: unknown): string {
  const { success, data } = page.safeParse(body)
  const tasks = (success ? (data.members ?? []) : []).flatMap((one) => {
    const parsed = taskShape.safeParse(one)
    return parsed.success ? [parsed.data] : []
  })
  const texts = tasks
    .flatMap(({ taskErrors }) => taskErrors ?? [])
    .filter(({ errorCode, message }) => /power/i.test(`${errorCode} ${message}`))
    .map(({ errorCode, message }) => `${errorCode}: ${message}`)
  return [...new Set(texts)].join(' | ') || `none in ${tasks.length} tasks`
}
