import { SAS_SLOT } from './blades.ts'
import type { Dialect } from './dialect.ts'
import { unknownReference } from './errors.ts'
import { flagOf, listOf, objectOf, onlyFields, textOf, wholeOf } from './fields.ts'
import type { Body } from './fixtures.ts'
import type { Frame } from './frame.ts'
import type { ControllerMode, Jbod } from './model.ts'

/** The part of a profile that says which JBODs a blade has. Source: facts §6.1. */

export interface JbodEntry {
  readonly id: number
  readonly deviceSlot: string
  readonly name: string
  /** null when the request does not say, as persistent. */
  readonly description: string | null
  readonly numPhysicalDrives: number
  readonly driveMinSizeGB: number
  readonly driveMaxSizeGB: number
  readonly driveTechnology: string
  readonly eraseData: boolean
  /** The JBOD outlives the entry. */
  readonly persistent: boolean | null
  /** null: to be made. */
  readonly jbod: Jbod | null
}

export interface Controller {
  readonly deviceSlot: string
  readonly mode: ControllerMode
  /** Ids of entries that a logical drive is made of. */
  readonly jbodIds: readonly number[]
  readonly logicalDrives: number
  readonly body: Body
}

export interface LocalStorage {
  readonly entries: readonly JbodEntry[]
  readonly controllers: readonly Controller[]
}

const SECTION_FIELDS = new Set(['sasLogicalJBODs', 'controllers', 'reapplyState'])

const OLDER_ENTRY_FIELDS = new Set([
  'id',
  'deviceSlot',
  'name',
  'numPhysicalDrives',
  'driveMinSizeGB',
  'driveMaxSizeGB',
  'driveTechnology',
  'eraseData',
  'sasLogicalJBODUri',
  'status',
])

/** Since JBODs have a life of their own. */
const ENTRY_FIELDS = new Set([...OLDER_ENTRY_FIELDS, 'description', 'persistent'])

const CONTROLLER_FIELDS = new Set([
  'deviceSlot',
  'mode',
  'initialize',
  'importConfiguration',
  'driveWriteCache',
  'predictiveSpareRebuild',
  'logicalDrives',
])

const LOGICAL_DRIVE_FIELDS = new Set([
  'name',
  'raidLevel',
  'bootable',
  'numPhysicalDrives',
  'driveTechnology',
  'sasLogicalJBODId',
  'driveNumber',
  'accelerator',
  'numSpareDrives',
])

/**
 * @param value of a request; null and undefined mean that there is to be nothing: PUT replaces
 * @param kept what the profile has; a list that the request does not mention stays as it is [?] (AN#550)
 * @throws Refused for what is malformed or names a JBOD that is not there
 */
export function readLocalStorage(
  value: unknown,
  kept: Body | null,
  dialect: Dialect,
  frame: Frame,
): LocalStorage {
  if (value === undefined || value === null) return { entries: [], controllers: [] }
  const body = objectOf(value, 'localStorage')
  onlyFields(body, SECTION_FIELDS)
  const given = body.sasLogicalJBODs ?? null
  const known = given === null || dialect.ownJbods ? ENTRY_FIELDS : OLDER_ENTRY_FIELDS
  const readItem = (item: Body) => readEntry(item, known, frame)
  return {
    entries: readList(given ?? kept?.sasLogicalJBODs ?? [], readItem),
    controllers: readList(body.controllers ?? kept?.controllers ?? [], readController),
  }
}

function readList<T>(value: unknown, read: (item: Body) => T): T[] {
  return listOf(value, 'A list of localStorage').map((item) => read(objectOf(item, 'An item')))
}

function readEntry(item: Body, known: ReadonlySet<string>, frame: Frame): JbodEntry {
  onlyFields(item, known)
  const uri = item.sasLogicalJBODUri ?? null
  const jbod = [...frame.jbods.values()].find((one) => one.uri === uri) ?? null
  if (uri !== null && jbod === null) throw unknownReference(String(uri))
  return {
    id: wholeOf(item.id, 'id'),
    deviceSlot: textOf(item.deviceSlot, 'deviceSlot'),
    name: textOf(item.name, 'name'),
    description: typeof item.description === 'string' ? item.description : null,
    numPhysicalDrives: wholeOf(item.numPhysicalDrives, 'numPhysicalDrives'),
    driveMinSizeGB: wholeOf(item.driveMinSizeGB, 'driveMinSizeGB'),
    driveMaxSizeGB: wholeOf(item.driveMaxSizeGB, 'driveMaxSizeGB'),
    driveTechnology: textOf(item.driveTechnology, 'driveTechnology'),
    eraseData: flagOf(item.eraseData, 'eraseData'),
    persistent:
      item.persistent === undefined || item.persistent === null
        ? null
        : flagOf(item.persistent, 'persistent'),
    jbod,
  }
}

function readController(item: Body): Controller {
  onlyFields(item, CONTROLLER_FIELDS)
  const drives = listOf(item.logicalDrives ?? [], 'logicalDrives').map((drive) => {
    const body = objectOf(drive, 'A logical drive')
    onlyFields(body, LOGICAL_DRIVE_FIELDS)
    return body
  })
  return {
    deviceSlot: textOf(item.deviceSlot, 'deviceSlot'),
    mode: textOf(item.mode, 'mode') as ControllerMode,
    jbodIds: drives
      .map(({ sasLogicalJBODId }) => sasLogicalJBODId)
      .filter((id) => id !== undefined && id !== null)
      .map((id) => wholeOf(id, 'sasLogicalJBODId')),
    logicalDrives: drives.length,
    body: item,
  }
}

/**
 * As it is kept in the profile: the newest form.
 * @param kept what was kept of the same JBOD, for what an older client cannot say
 */
export function entryBody(entry: JbodEntry, jbod: Jbod | null, kept: Body | undefined): Body {
  return {
    id: entry.id,
    deviceSlot: entry.deviceSlot,
    name: entry.name,
    description: entry.description ?? kept?.description ?? '',
    numPhysicalDrives: entry.numPhysicalDrives,
    driveMinSizeGB: entry.driveMinSizeGB,
    driveMaxSizeGB: entry.driveMaxSizeGB,
    driveTechnology: entry.driveTechnology,
    eraseData: entry.eraseData,
    // [?] Made by itself, a JBOD stays; made by a profile, it goes with the entry, unless that says otherwise.
    persistent: entry.persistent ?? kept?.persistent ?? entry.jbod !== null,
    sasLogicalJBODUri: jbod?.uri ?? null,
    status: 'OK',
  }
}

/** As a client of that version sees it. */
export function localStorageBody(kept: Body | null, dialect: Dialect): Body | null {
  if (dialect.ownJbods || kept === null) return kept
  const entries = (kept.sasLogicalJBODs as Body[]).map((entry) => {
    const { description: _description, persistent: _persistent, ...older } = entry
    return older
  })
  return { ...kept, sasLogicalJBODs: entries }
}

/** Of the slot by which a D3940 is reached. */
export function controllerOf(storage: LocalStorage): Controller | undefined {
  return storage.controllers.find(({ deviceSlot }) => deviceSlot === SAS_SLOT)
}
