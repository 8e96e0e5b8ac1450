import { page, unquoted } from './collections.ts'
import { statusOf } from './drive-enclosures.ts'
import { invalid } from './errors.ts'
import { type Body, fixture } from './fixtures.ts'
import type { Frame } from './frame.ts'
import type { Knobs } from './knobs.ts'
import type { Drive, Health } from './model.ts'

interface Snapshot {
  readonly atMs: number
  readonly available: boolean
  readonly health: Health
}

/** The index of drives: what is free, as it was some time ago. */
export class DrivesIndex {
  readonly #frame: Frame
  readonly #knobs: Knobs
  /** What was true of each drive, oldest first. */
  readonly #history = new Map<Drive, Snapshot[]>()

  constructor(frame: Frame, knobs: Knobs) {
    this.#frame = frame
    this.#knobs = knobs
    for (const drive of frame.drives)
      this.#history.set(drive, [{ atMs: 0, available: true, health: 'OK' }])
  }

  /** To be called when a drive was given, taken back, or changed its health. */
  changed(drives: readonly Drive[]): void {
    for (const drive of drives) {
      const jbod = this.#frame.jbodOf(drive)
      // A drive in a JBOD in ConfigError was seen as available. Source: facts §4.2.
      const available = this.#frame.isFree(drive) || jbod?.state === 'ConfigError'
      this.#history.get(drive)!.push({ atMs: Date.now(), available, health: drive.health })
    }
  }

  /** GET /rest/index/resources?category=drives */
  search(query: URLSearchParams): Body {
    if (query.get('category') !== 'drives')
      throw invalid('This simulator has an index of drives only.')
    const all = this.#frame.drives.map((drive) => this.#body(drive))
    const terms = [
      ...query.getAll('filter').map(unquoted),
      ...query.getAll('userQuery').flatMap((text) => unquoted(text).split(/\s+AND\s+/i)),
    ]
    const found = all.filter((body) => terms.every((term) => holds(term, body)))
    const answer = page(found, query, {
      type: 'IndexPaginatedCollectionV300',
      category: 'resources',
      uri: '/rest/index/resources',
      pageMax: this.#knobs.pageMax,
    })
    return { ...answer, unFilteredTotal: all.length }
  }

  /** GET /rest/index/resources/rest/drives/{uuid} */
  resource(uuid: string): Body | undefined {
    const drive = this.#frame.drives.find((one) => one.uuid === uuid)
    return drive === undefined ? undefined : this.#body(drive)
  }

  #body(drive: Drive): Body {
    const shownMs = Date.now() - this.#knobs.indexLagMs
    const { available, health, atMs } = this.#history
      .get(drive)!
      .findLast((snapshot) => snapshot.atMs <= shownMs)!
    const template = fixture('Drive')
    const modified = atMs === 0 ? template.modified : new Date(atMs).toISOString()
    return {
      ...template,
      name: `Drive ${drive.bay}`,
      attributes: {
        capacityInGB: String(drive.capacityGB),
        isSanitizable: drive.canErase ? 'Supported' : 'NotSupported',
        interfaceType: drive.interfaceType,
        driveEnclosureUri: drive.enclosure.uri,
        available: available ? 'yes' : 'no',
        mediaType: drive.media,
        isPredictiveFailDrive: health === 'PredictiveFail' ? 'yes' : 'no',
      },
      status: statusOf(health),
      modified,
      eTag: modified,
      uri: `/rest/drives/${drive.uuid}`,
    }
  }
}

/** `field:value`, `field=value` or `field EQ 'value'` of an attribute or of the resource; a bare word is any value. */
function holds(term: string, body: Body): boolean {
  const fields: Body = { ...body, ...(body.attributes as Body) }
  const found = /^(\w+)\s*(?::|=|\s+EQ\s+)\s*'?([^']*)'?$/i.exec(term)
  const same = (value: unknown, text: string) =>
    String(value).toLowerCase() === text.trim().toLowerCase()
  if (found === null) return Object.values(fields).some((value) => same(value, term))
  const [, field, value] = found as unknown as [string, string, string]
  return same(fields[field], value)
}
