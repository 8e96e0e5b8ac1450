import type { Dialect } from './dialect.ts'
import { type DriveTechnology, readTechnology } from './drive-technology.ts'
import { invalid, unknownReference } from './errors.ts'
import { checkType, flagOf, listOf, objectOf, onlyFields, textOf, wholeOf } from './fields.ts'
import type { Body } from './fixtures.ts'
import type { Frame } from './frame.ts'
import type { Drive, Jbod, SasInterconnects } from './model.ts'

/** Drives by what they are like; which ones is the appliance's choice. */
export interface Criteria {
  readonly numPhysicalDrives: number
  readonly minSizeGB: number
  readonly maxSizeGB: number
  readonly technology: DriveTechnology
  /** Only behind these interconnects; null for any. */
  readonly sas: SasInterconnects | null
  /** Only in these; null for any. */
  readonly enclosureUris: readonly string[] | null
}

export interface JbodSpec {
  readonly name: string
  readonly description: string | null
  readonly eraseData: boolean
  readonly from: readonly Drive[] | Criteria
}

const SPEC_FIELDS = new Set([
  'type',
  'name',
  'description',
  'numPhysicalDrives',
  'minSizeGB',
  'maxSizeGB',
  'driveTechnology',
  'driveEnclosureUris',
  'driveBayUris',
  'eraseData',
  'initialScopeUris',
])

/** Of POST. What is malformed is refused here, what cannot be had only in the task. */
export function readSpec(request: unknown, dialect: Dialect, frame: Frame): JbodSpec {
  const body = objectOf(request, 'The request')
  onlyFields(body, SPEC_FIELDS)
  checkType(body, dialect.jbodType)
  return {
    name: textOf(body.name, 'name'),
    description: typeof body.description === 'string' ? body.description : null,
    eraseData: flagOf(body.eraseData, 'eraseData'),
    from:
      body.driveBayUris === undefined
        ? readCriteria(body, frame)
        : readBays(body.driveBayUris, frame),
  }
}

function readBays(value: unknown, frame: Frame): Drive[] {
  const uris = new Set(listOf(value, 'driveBayUris').map((uri) => textOf(uri, 'A drive bay')))
  if (uris.size === 0) throw invalid('driveBayUris is empty.')
  return [...uris].map((uri) => {
    const drive = frame.drives.find(({ bayUri }) => bayUri === uri)
    // An empty bay too is refused at once [?].
    if (drive === undefined) throw unknownReference(uri)
    return drive
  })
}

function readCriteria(body: Body, frame: Frame): Criteria {
  const { driveEnclosureUris } = body
  const enclosureUris =
    driveEnclosureUris === undefined || driveEnclosureUris === null
      ? null
      : listOf(driveEnclosureUris, 'driveEnclosureUris').map(String)
  for (const uri of enclosureUris ?? [])
    if (!frame.enclosures.some((one) => one.uri === uri)) throw unknownReference(uri)
  return {
    numPhysicalDrives: wholeOf(body.numPhysicalDrives, 'numPhysicalDrives'),
    minSizeGB: wholeOf(body.minSizeGB, 'minSizeGB'),
    maxSizeGB: wholeOf(body.maxSizeGB, 'maxSizeGB'),
    technology: readTechnology(body.driveTechnology),
    sas: null,
    enclosureUris,
  }
}

const CHANGE_FIELDS = new Set(['op', 'path', 'value'])

export type JbodChanges = Partial<Pick<Jbod, 'name' | 'description' | 'eraseData'>>

/** Of PATCH: a list of replacements. */
export function readChanges(jbod: Jbod, request: unknown): JbodChanges {
  const changes: JbodChanges = {}
  for (const item of listOf(request, 'The patch')) {
    const change = objectOf(item, 'A change')
    onlyFields(change, CHANGE_FIELDS)
    const { op, path, value } = change
    if (op !== 'replace') throw invalid('Only replace is possible.')
    if (path === '/name') changes.name = textOf(value, 'name')
    else if (path === '/description') changes.description = String(value ?? '')
    else if (path === '/eraseData') changes.eraseData = lessErasing(jbod, value)
    else if (path === '/clearMetadata') flagOf(value, 'clearMetadata')
    else throw invalid(`${path} cannot be replaced.`)
  }
  return changes
}

/** That it goes from true to false only is known, what is answered otherwise is not [?]. */
function lessErasing(jbod: Jbod, value: unknown): boolean {
  const eraseData = flagOf(value, 'eraseData')
  if (eraseData && !jbod.eraseData) throw invalid('eraseData cannot be set any more.')
  return eraseData
}
