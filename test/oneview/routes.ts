import { hardwareTypeUriOf } from './blades.ts'
import { filtered, page, sorted } from './collections.ts'
import type { Dialect } from './dialect.ts'
import { driveBodies, enclosureBody, sasInterconnectsBody } from './drive-enclosures.ts'
import type { DrivesIndex } from './drives-index.ts'
import { notFound, refused } from './errors.ts'
import { checkETag } from './etags.ts'
import { type Body, fixture } from './fixtures.ts'
import type { Frame } from './frame.ts'
import { attachmentBody, jbodBody } from './jbod-bodies.ts'
import { readChanges, readSpec } from './jbod-requests.ts'
import type { Jbods } from './jbods.ts'
import type { Knobs } from './knobs.ts'
import type { Blade, Jbod } from './model.ts'
import { type Profiles, profileBody } from './profiles.ts'
import { hardwareBody, hardwareTypeBody, powerWork } from './server-hardware.ts'
import type { Sessions } from './sessions.ts'
import type { Tasks, Work } from './tasks.ts'

/** Which request does what. What holds for all of them, from headers to faults, is in server.ts. */

export interface Appliance {
  readonly frame: Frame
  readonly index: DrivesIndex
  readonly jbods: Jbods
  readonly profiles: Profiles
  readonly tasks: Tasks
  readonly sessions: Sessions
  readonly knobs: Knobs
  readonly versions: { readonly current: number; readonly minimum: number }
  readonly powered: (blade: Blade, on: boolean) => void
}

export interface Ask {
  readonly dialect: Dialect
  /** What the path has in place of {}. */
  readonly id: string
  readonly query: URLSearchParams
  readonly body: unknown
  readonly ip: string
  /** The header auth. */
  readonly session: string | undefined
  readonly ifMatch: string | undefined
}

export type Answer =
  | { readonly is: 'body'; readonly body: unknown }
  | { readonly is: 'nothing' }
  | { readonly is: 'work'; readonly work: Work }

export interface Route {
  readonly method: string
  /** {} stands for one part of the path. */
  readonly path: string
  /** 'session' by default; 'version' asks for X-API-Version only, 'nothing' for nothing. */
  readonly needs?: 'version' | 'nothing'
  readonly answer: (appliance: Appliance, ask: Ask) => Answer
}

const body = (value: unknown): Answer => ({ is: 'body', body: value })
const work = (value: Work): Answer => ({ is: 'work', work: value })

const SESSION_ROUTES: readonly Route[] = [
  {
    method: 'POST',
    path: '/rest/login-sessions',
    needs: 'version',
    // Other fields of the answer are not documented in public [?].
    answer: ({ sessions }, ask) => body({ sessionID: sessions.login(ask.body, ask.ip) }),
  },
  {
    method: 'PUT',
    path: '/rest/login-sessions',
    answer: (_, ask) => body({ sessionID: ask.session }),
  },
  {
    method: 'DELETE',
    path: '/rest/login-sessions',
    needs: 'version',
    answer: ({ sessions }, ask) => {
      sessions.logout(ask.session)
      return { is: 'nothing' }
    },
  },
]

const APPLIANCE_ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/rest/version',
    needs: 'nothing',
    answer: ({ versions }) =>
      body({ currentVersion: versions.current, minimumVersion: versions.minimum }),
  },
  {
    method: 'GET',
    path: '/controller-state.json',
    needs: 'nothing',
    answer: ({ knobs }) =>
      body({ ...fixture('ApplianceState'), ...(knobs.failingOver ? { state: 'FAILOVER' } : {}) }),
  },
  {
    method: 'GET',
    path: '/rest/appliance/nodeinfo/version',
    answer: () => body(fixture('ApplianceNodeInfo')),
  },
]

/** A collection that can only be read, and each of its members. */
function readable(
  path: string,
  membersOf: (appliance: Appliance, ask: Ask) => Body[],
  missing = 'RESOURCE_NOT_FOUND',
): Route[] {
  const category = path.split('/').at(-1)!
  return [
    {
      method: 'GET',
      path,
      answer: (appliance, ask) => {
        const { knobs } = appliance
        const all = membersOf(appliance, ask)
        const found = knobs.filtersIgnored ? all : filtered(all, ask.query)
        const type = `${category}-collection` // [?] every collection has a name of its own
        const rules = { type, category, uri: path, pageMax: knobs.pageMax }
        return body(page(sorted(found, ask.query), ask.query, rules))
      },
    },
    {
      method: 'GET',
      path: `${path}/{}`,
      answer: (appliance, ask) => {
        const uri = `${path}/${ask.id}`.toLowerCase()
        const found = membersOf(appliance, ask).find((one) => String(one.uri).toLowerCase() === uri)
        if (found === undefined) throw notFound(`${path}/${ask.id}`, missing)
        return body(found)
      },
    },
  ]
}

const HARDWARE_ROUTES: readonly Route[] = [
  ...readable('/rest/server-hardware', ({ frame }, { dialect }) =>
    frame.blades.map((blade) => hardwareBody(blade, dialect)),
  ),
  {
    method: 'PUT',
    path: '/rest/server-hardware/{}/powerState',
    answer: ({ frame, powered }, ask) => {
      const blade = frame.blades.find(({ uuid }) => uuid === ask.id.toUpperCase())
      if (blade === undefined) throw notFound(ask.id)
      return work(powerWork(blade, ask.body, powered))
    },
  },
  {
    method: 'GET',
    path: '/rest/server-hardware-types/{}',
    answer: ({ frame }, { id }) => {
      const uri = `/rest/server-hardware-types/${id}`
      const blade = frame.blades.find((one) => hardwareTypeUriOf(one) === uri)
      if (blade === undefined) throw notFound(uri)
      return body(hardwareTypeBody(blade))
    },
  },
]

const DRIVE_ROUTES: readonly Route[] = [
  ...readable('/rest/drive-enclosures', ({ frame }) =>
    frame.enclosures.map((enclosure) => enclosureBody(frame, enclosure)),
  ),
  ...readable('/rest/sas-logical-interconnects', ({ frame }) =>
    frame.sas.map((sas) => sasInterconnectsBody(frame, sas)),
  ),
  {
    method: 'GET',
    path: '/rest/index/resources',
    answer: ({ index }, { query }) => body(index.search(query)),
  },
  {
    method: 'GET',
    path: '/rest/index/resources/rest/drives/{}',
    answer: ({ index }, { id }) => {
      const found = index.resource(id)
      if (found === undefined) throw notFound(`/rest/drives/${id}`)
      return body(found)
    },
  },
]

function jbodOf({ frame }: Appliance, { id }: Ask): Jbod {
  const jbod = frame.jbods.get(id)
  if (jbod === undefined)
    throw notFound(`/rest/sas-logical-jbods/${id}`, 'DFRM_SAS_LOGICAL_JBOD_NOT_FOUND')
  return jbod
}

/** Before JBODs had a life of their own. */
function needsOwnJbods({ dialect }: Ask, method: string): void {
  if (!dialect.ownJbods) throw notAllowed(method)
}

export function notAllowed(method: string): Error {
  return refused(405, 'METHOD_NOT_ALLOWED', `The method ${method} is not allowed here.`)
}

const JBOD_ROUTES: readonly Route[] = [
  ...readable(
    '/rest/sas-logical-jbods',
    ({ frame }, { dialect }) => [...frame.jbods.values()].map((jbod) => jbodBody(jbod, dialect)),
    'DFRM_SAS_LOGICAL_JBOD_NOT_FOUND',
  ),
  ...readable('/rest/sas-logical-jbod-attachments', ({ frame }) =>
    [...frame.attachments.values()].map(attachmentBody),
  ),
  {
    method: 'GET',
    path: '/rest/sas-logical-jbods/{}/drives',
    answer: (appliance, ask) => body(driveBodies(jbodOf(appliance, ask).drives)),
  },
  {
    method: 'POST',
    path: '/rest/sas-logical-jbods',
    answer: ({ jbods, frame }, ask) => {
      needsOwnJbods(ask, 'POST')
      return work(jbods.createWork(readSpec(ask.body, ask.dialect, frame)))
    },
  },
  {
    method: 'PATCH',
    path: '/rest/sas-logical-jbods/{}',
    answer: (appliance, ask) => {
      needsOwnJbods(ask, 'PATCH')
      const { jbods, knobs } = appliance
      const jbod = jbodOf(appliance, ask)
      const changes = readChanges(jbod, ask.body)
      checkETag(ask.ifMatch, jbod.modified)
      if (knobs.patchAnswer === 'task') return work(jbods.patchWork(jbod, changes))
      jbods.patch(jbod, changes)
      return body(jbodBody(jbod, ask.dialect))
    },
  },
  {
    method: 'DELETE',
    path: '/rest/sas-logical-jbods/{}',
    answer: (appliance, ask) => {
      needsOwnJbods(ask, 'DELETE')
      const jbod = jbodOf(appliance, ask)
      checkETag(ask.ifMatch, jbod.modified)
      return work(appliance.jbods.deleteWork(jbod))
    },
  },
]

const PROFILE_ROUTES: readonly Route[] = [
  ...readable('/rest/server-profiles', ({ frame }, { dialect }) =>
    profilesOf(frame).map((profile) => profileBody(profile, dialect)),
  ),
  {
    method: 'PUT',
    path: '/rest/server-profiles/{}',
    answer: ({ frame, profiles }, ask) => {
      const profile = profilesOf(frame).find(({ uuid }) => uuid === ask.id)
      if (profile === undefined) throw notFound(`/rest/server-profiles/${ask.id}`)
      return work(profiles.putWork(profile, ask.body, ask.ifMatch, ask.dialect))
    },
  },
]

function profilesOf(frame: Frame) {
  return frame.blades.flatMap(({ profile }) => (profile === null ? [] : [profile]))
}

export const ROUTES: readonly Route[] = [
  ...SESSION_ROUTES,
  ...APPLIANCE_ROUTES,
  ...HARDWARE_ROUTES,
  ...DRIVE_ROUTES,
  ...JBOD_ROUTES,
  ...PROFILE_ROUTES,
  ...readable('/rest/tasks', ({ tasks }, { dialect }) =>
    tasks.list().map((task) => task.body(dialect)),
  ),
]
