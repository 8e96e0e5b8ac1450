import { FsError } from '../../base/index.ts'
import type { JbodEntry, LocalStorage, ServerProfile } from './resources.ts'

/**
 * Edits of a server profile, as bodies for PUT: that replaces the whole profile, so everything else goes back as it was
 * read, `firmware` above all (facts §6, §12). Nothing here changes its argument.
 */

/** What weft says of a JBOD that is to be attached; sizes and technology repeat what the JBOD is. */
export interface NewEntry {
  readonly deviceSlot: string
  readonly name: string
  readonly driveMinSizeGB: number
  readonly driveMaxSizeGB: number
  readonly driveTechnology: string
  readonly eraseData: boolean
  readonly sasLogicalJBODUri: string
}

export function entryOf(profile: ServerProfile, jbodUri: string): JbodEntry | undefined {
  return profile.localStorage?.sasLogicalJBODs?.find(
    ({ sasLogicalJBODUri }) => sasLogicalJBODUri === jbodUri,
  )
}

/**
 * The profile with one more JBOD, last in the list, under the next id: ids go 1..n without a gap (AN#385). A profile whose
 * local storage nobody managed gets an empty one first, which manages no controller.
 */
export function withEntry(profile: ServerProfile, entry: NewEntry): ServerProfile {
  const edited = structuredClone(profile)
  edited.localStorage ??= { sasLogicalJBODs: [], controllers: [] }
  const entries = entriesOf(edited.localStorage)
  const id = 1 + entries.reduce((most, { id }) => Math.max(most, id), 0)
  // It outlives the profile: the drive is the cluster's, not the blade's.
  entries.push({ id, ...entry, numPhysicalDrives: 1, persistent: true })
  return edited
}

/**
 * The profile without a JBOD. Ids above its own move down, and the RAID drives that name them with them (facts §9); an
 * empty list stays, for without one the appliance would change nothing (AN#550).
 * @throws FsError EBUSY when a RAID drive was made on this very JBOD
 */
export function withoutEntry(profile: ServerProfile, jbodUri: string): ServerProfile {
  const edited = structuredClone(profile)
  const { localStorage } = edited
  const gone = entryOf(edited, jbodUri)
  if (!localStorage || gone === undefined) return edited
  const entries = entriesOf(localStorage)
  const ids = entries
    .filter((entry) => entry !== gone)
    .map(({ id }) => id)
    .sort((a, b) => a - b)
  const newIdOf = new Map(ids.map((id, index) => [id, index + 1]))
  for (const { logicalDrives } of localStorage.controllers ?? []) {
    for (const logicalDrive of logicalDrives ?? []) {
      const { sasLogicalJBODId } = logicalDrive
      if (Number(sasLogicalJBODId) === gone.id) throw raidOnIt(profile, gone, logicalDrive.name)
      const id = newIdOf.get(Number(sasLogicalJBODId))
      // A number that was sent as a string stays one where it does not change.
      if (id !== undefined && id !== Number(sasLogicalJBODId)) logicalDrive.sasLogicalJBODId = id
    }
  }
  entries.splice(entries.indexOf(gone), 1)
  for (const entry of entries) entry.id = newIdOf.get(entry.id) ?? entry.id
  return edited
}

function entriesOf(localStorage: LocalStorage): JbodEntry[] {
  localStorage.sasLogicalJBODs ??= []
  return localStorage.sasLogicalJBODs
}

function raidOnIt(profile: ServerProfile, entry: JbodEntry, logicalDrive: unknown): FsError {
  return new FsError('EBUSY', 'oneview.detach', {
    profile: profile.uri,
    message: `oneview: logical drive ${logicalDrive} of server profile ${profile.name} was made on ${entry.name}, which weft put there: it is not taken away`,
    next: 'remove that logical drive in OneView if nobody needs it',
  })
}
