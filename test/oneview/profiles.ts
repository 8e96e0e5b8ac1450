import { randomUUID } from 'node:crypto'
import type { Dialect } from './dialect.ts'
import { technologyNamed } from './drive-technology.ts'
import { invalid, locked } from './errors.ts'
import { checkETag } from './etags.ts'
import { checkType, objectOf, onlyFields } from './fields.ts'
import { type Body, fixture } from './fixtures.ts'
import type { Frame } from './frame.ts'
import type { Jbods } from './jbods.ts'
import type { Knobs } from './knobs.ts'
import {
  entryBody,
  type JbodEntry,
  type LocalStorage,
  localStorageBody,
  readLocalStorage,
} from './local-storage.ts'
import type { Attachment, Jbod, Profile } from './model.ts'
import { stamp } from './pace.ts'
import { checkLocalStorage, checkPower } from './profile-rules.ts'
import type { Work } from './tasks.ts'
import type { Zoning } from './zoning.ts'

/** What the appliance keeps itself, whatever a request says. */
const KEPT_FIELDS = [
  'category',
  'created',
  'modified',
  'status',
  'serverHardwareReapplyState',
  'taskUri',
  'scopesUri',
  'refreshState',
  'templateCompliance',
  'associatedServer',
  'eTag',
] as const

/** To move a profile to another blade is nothing that this simulator does. */
const FIXED_FIELDS = ['uri', 'serverHardwareUri', 'serverHardwareTypeUri'] as const

const KNOWN_FIELDS = new Set([...Object.keys(fixture('ServerProfile')), 'initialScopeUris'])

/** The change of a profile: PUT replaces all of it, and by that JBODs come to a blade and go. Source: facts §6. */
export class Profiles {
  readonly #frame: Frame
  readonly #jbods: Jbods
  readonly #zoning: Zoning
  readonly #knobs: Knobs
  #attached = 0

  constructor(frame: Frame, jbods: Jbods, zoning: Zoning, knobs: Knobs) {
    this.#frame = frame
    this.#jbods = jbods
    this.#zoning = zoning
    this.#knobs = knobs
  }

  /** @param ifMatch when absent, the eTag of the body counts */
  putWork(profile: Profile, request: unknown, ifMatch: string | undefined, dialect: Dialect): Work {
    const body = objectOf(request, 'The request')
    onlyFields(body, KNOWN_FIELDS)
    checkType(body, dialect.profileType)
    for (const name of FIXED_FIELDS)
      if (body[name] !== profile.body[name]) throw invalid(`${name} cannot be changed.`)
    const kept = storageOf(profile.body)
    const storage = readLocalStorage(body.localStorage, kept, dialect, this.#frame)
    if (profile.inProgress) throw locked(profile.blade.name)
    const eTag = ifMatch ?? (typeof body.eTag === 'string' ? body.eTag : undefined)
    checkETag(eTag, String(profile.body.eTag))
    return this.#work(profile, body, storage)
  }

  #work(profile: Profile, body: Body, storage: LocalStorage): Work {
    const name = profile.blade.name
    const made: Jbod[] = []
    let dropped: readonly Jbod[] = []
    return {
      name: 'Update',
      category: 'server-profiles',
      resource: { uri: profile.uri, name },
      accepted: (taskUri) => {
        profile.inProgress = true
        touch(profile, { taskUri })
      },
      steps: [
        {
          says: 'Validating',
          run: () => {
            const entries = storage.entries.map((entry) => entry.jbod)
            const after = replaced(profile.body, body, storage, entries)
            checkPower(profile, after, this.#knobs)
            checkLocalStorage(profile, storage, this.#frame)
          },
        },
        {
          says: 'Applying local storage settings',
          run: () => {
            // Again, because another profile may have been faster; from here to the end nobody comes between.
            checkLocalStorage(profile, storage, this.#frame)
            const jbods = storage.entries.map(
              (entry) => entry.jbod ?? this.#make(profile, entry, made),
            )
            const before = profile.body
            profile.body = replaced(before, body, storage, jbods)
            this.#attach(profile, jbods)
            // [?] From the meaning of "Permanent" in PS#511.
            dropped = this.#detach(profile, jbods).filter(
              ({ uri }) => keptEntry(before, uri)?.persistent === false,
            )
            for (const jbod of dropped) this.#jbods.become(jbod, 'Deleting')
          },
        },
        {
          says: 'Applying',
          run: async () => {
            for (const jbod of dropped) await this.#jbods.release(jbod)
            end(profile)
          },
        },
      ],
      done: `Updated server profile: ${name}.`,
      failed: `Unable to edit server profile: ${name}.`,
      undo: () => {
        for (const jbod of made) this.#jbods.free(jbod)
        end(profile)
      },
    }
  }

  /** @throws TaskFailed when there are no such drives */
  #make(profile: Profile, entry: JbodEntry, made: Jbod[]): Jbod {
    const jbod = this.#jbods.reserve({
      name: entry.name,
      description: entry.description,
      eraseData: entry.eraseData,
      from: {
        numPhysicalDrives: entry.numPhysicalDrives,
        minSizeGB: entry.driveMinSizeGB,
        maxSizeGB: entry.driveMaxSizeGB,
        technology: technologyNamed(entry.driveTechnology)!,
        sas: profile.blade.sas,
        enclosureUris: null,
      },
    })
    made.push(jbod)
    this.#jbods.settle(jbod)
    return jbod
  }

  #attach(profile: Profile, jbods: readonly Jbod[]): void {
    for (const jbod of jbods) {
      if (this.#frame.attachmentOf(jbod) !== undefined) continue
      const uuid = randomUUID()
      this.#frame.attachments.set(uuid, {
        uuid,
        name: `${jbod.sas.name}-SLJA-${++this.#attached}`,
        jbod,
        blade: profile.blade,
        profile,
        created: stamp().toISOString(),
      })
      for (const drive of jbod.drives) this.#zoning.zone(profile.blade, drive)
    }
  }

  /** @returns those that the profile had and has no more */
  #detach(profile: Profile, jbods: readonly Jbod[]): Jbod[] {
    const gone = [...this.#frame.attachments.values()].filter(
      (one: Attachment) => one.profile === profile && !jbods.includes(one.jbod),
    )
    for (const { uuid, jbod } of gone) {
      this.#frame.attachments.delete(uuid)
      for (const drive of jbod.drives) this.#zoning.unzone(drive)
    }
    return gone.map(({ jbod }) => jbod)
  }
}

function storageOf(body: Body): Body | null {
  return (body.localStorage ?? null) as Body | null
}

function keptEntry(body: Body, jbodUri: string | undefined): Body | undefined {
  const entries = (storageOf(body)?.sasLogicalJBODs ?? []) as Body[]
  return entries.find(({ sasLogicalJBODUri }) => sasLogicalJBODUri === jbodUri)
}

/**
 * What becomes of a profile by a PUT.
 * @param jbods of the entries, in their order; null for those that are not made yet
 */
function replaced(
  before: Body,
  wanted: Body,
  storage: LocalStorage,
  jbods: readonly (Jbod | null)[],
): Body {
  const kept = Object.fromEntries(KEPT_FIELDS.map((name) => [name, before[name]]))
  const localStorage = {
    sasLogicalJBODs: storage.entries.map((entry, i) =>
      entryBody(entry, jbods[i] ?? null, keptEntry(before, jbods[i]?.uri)),
    ),
    controllers: storage.controllers.map(({ body }) => body),
    reapplyState: 'NotApplying',
  }
  return { ...wanted, ...kept, localStorage: storageOf(wanted) === null ? null : localStorage }
}

function touch(profile: Profile, more: Body): void {
  const now = stamp()
  const eTag = `${now.getTime()}/${++profile.changes}`
  profile.body = { ...profile.body, ...more, eTag, modified: now.toISOString() }
}

/** [?] After a failure too the state is Normal: UpdateFailed is known as a name only. */
function end(profile: Profile): void {
  profile.inProgress = false
  touch(profile, {})
}

/** GET /rest/server-profiles/{uuid} */
export function profileBody(profile: Profile, dialect: Dialect): Body {
  return {
    ...profile.body,
    type: dialect.profileType,
    state: profile.inProgress ? 'Updating' : 'Normal',
    inProgress: profile.inProgress,
    localStorage: localStorageBody(storageOf(profile.body), dialect),
  }
}
