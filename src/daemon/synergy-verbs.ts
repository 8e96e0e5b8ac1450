import type {
  FrameDrive,
  FreeFrameDrive,
  SynergyConnected,
  SynergyConnection,
  SynergyControl,
  SynergyFinding,
  SynergyStatus,
} from '../api/index.ts'
import { FsError, isBug, messageOf } from '../base/index.ts'
import type { Allocation, Finding, FreeDrive, UnderWay } from '../provision/index.ts'
import type { JobHandle } from './jobs.ts'
import type { Node } from './node.ts'
import { policyInfo } from './policy-verbs.ts'
import { mustBeConnected, type NodeProvisioning } from './provisioning.ts'

type World = Pick<Node, 'provisioning' | 'jobs'>

/** What people ask about the frame's drives. What changes something is a job: it may take minutes, or hours of erasing. */
export function synergyControl({ provisioning, jobs }: World): SynergyControl {
  return {
    status: () => synergyStatus(provisioning),
    check: async () => {
      const findings = await provisioning.check(new AbortController().signal)
      return findings.map(({ point, seen, ok }, at) => ({ id: `${at + 1}`, name: point, seen, ok }))
    },
    connect: async ({ password, url, user, domain = null, ca = null, pin = null }) => {
      const { free, held } = await provisioning.connect({ url, user, domain, ca, pin }, password)
      const connection = shown({ url, user, domain, ca, pin })
      return { connection, free: free.map(freeDrive), held } satisfies SynergyConnected
    },
    logout: async ({ force }) => ({ left: await provisioning.logout(force) }),
    free: async (cos) => {
      mustBeConnected(provisioning)
      const free = await provisioning.use((room, signal) => room.free(cos, signal))
      return free.map(freeDrive)
    },
    allocate: async ({ class: cos, drives, plan }) => {
      mustBeConnected(provisioning)
      const wanted = { class: cos, drives }
      const lines = await provisioning.use((room, signal) => room.planAllocate(wanted, signal))
      if (plan) return { plan: lines, job: null }
      const job = jobs.start('allocate', 'drives', (handle) =>
        worked(provisioning, handle, async (room, step) => {
          const taken = await room.allocate(wanted, step)
          return { drives: taken.map(frameDrive) }
        }),
      )
      return { plan: lines, job }
    },
    release: async (drive, { plan, lost }) => {
      mustBeConnected(provisioning)
      const { tag, name } = await provisioning.use((room, signal) => room.named(drive, signal))
      const lines = await provisioning.use((room, signal) => room.planRelease(tag, signal))
      if (plan) return { id: tag, name, plan: lines, job: null }
      const job = jobs.start('release', 'drives', (handle) =>
        worked(provisioning, handle, (room, step) => room.release(tag, step, lost)),
      )
      return { id: tag, name, plan: lines, job }
    },
    reconcile: async (options) => {
      mustBeConnected(provisioning)
      return jobs.start('reconcile', 'drives', (handle) =>
        worked(provisioning, handle, async (room, step) => {
          const findings = await room.reconcile(options, step)
          return { findings: findings.map(finding) }
        }),
      )
    },
  }
}

/** From memory and the home's files. */
export async function synergyStatus(provisioning: NodeProvisioning): Promise<SynergyStatus> {
  const connection = provisioning.connection()
  const status = await provisioning.use((room) => room.status())
  const { underWay, allocations, settings, growMs, reconciled } = status
  return {
    connection: connection && shown(connection),
    underWay: underWay && underWayInfo(underWay),
    drives: allocations.map(frameDrive),
    reconciled: reconciled && {
      at: timeOf(reconciled.atMs),
      findings: reconciled.findings.map(finding),
    },
    growSeconds: Math.round(growMs / 1000),
    policy: policyInfo(settings, connection !== null),
    trouble: provisioning.trouble,
  }
}

/** Null when no frame is connected, or its files cannot be read, which problems.ts says. */
export async function synergyIfConnected(
  provisioning: NodeProvisioning,
): Promise<SynergyStatus | null> {
  if (!provisioning.isConnected) return null
  try {
    return await synergyStatus(provisioning)
  } catch (error) {
    if (isBug(error)) throw error
    return null
  }
}

type Work<T> = (
  room: Parameters<Parameters<NodeProvisioning['use']>[0]>[0],
  step: { readonly signal: AbortSignal; readonly progress: (words: string) => void },
) => Promise<T>

/** In a job: ended with it, and with what to do next when it fails. */
export async function worked<T>(
  provisioning: NodeProvisioning,
  { signal: jobSignal, progress }: JobHandle,
  work: Work<T>,
): Promise<T> {
  const say = (words: string) => progress(0, null, words)
  try {
    return await provisioning.use(
      (room, signal) => work(room, { signal, progress: say }),
      jobSignal,
    )
  } catch (error) {
    if (!(error instanceof FsError) || typeof error.subject.next === 'string') throw error
    const { code, op, subject, retry } = error
    const next = nextOf(error)
    throw new FsError(code, op, {
      ...subject,
      cause: error,
      retry,
      message: messageOf(error),
      next,
    })
  }
}

function nextOf({ subject, code }: FsError): string {
  if (subject.needsPowerOff === true) {
    return 'when that is done: weft synergy reconcile --retry-power'
  }
  if (code === 'ENOSPC') return 'weft synergy free shows what the frame could give, of each class'
  return 'weft synergy status shows where each drive stands; what was begun is gone on with by itself'
}

function shown({
  url,
  user,
  domain,
  ca,
  pin,
}: Omit<SynergyConnection, 'trust'> & { ca: string | null; pin: string | null }) {
  const trust = ca !== null ? 'ca' : pin !== null ? 'pin' : 'system'
  return { url, user, domain, trust } satisfies SynergyConnection
}

function underWayInfo({ what, sinceMs, words }: UnderWay) {
  return { what, since: timeOf(sinceMs), words }
}

function freeDrive({ place, name, class: cos, sizeBytes, serial }: FreeDrive): FreeFrameDrive {
  return { id: place, name, class: cos, sizeBytes, serial }
}

function frameDrive(allocation: Allocation): FrameDrive {
  const { tag, name, class: cos, serial, sizeBytes, towards, step, driveId } = allocation
  const { sinceMs, why, lastError } = allocation
  // The id is chosen before it is formatted.
  const isDrive = step === 'settled' || towards === 'out'
  return {
    ...{ id: tag, name, class: cos, serial, sizeBytes, towards, step },
    ...{ drive: isDrive ? driveId : null, since: timeOf(sinceMs), why, trouble: lastError },
  }
}

function finding({ is, tag, words }: Finding): SynergyFinding {
  return { id: tag, name: is, words }
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString()
}
