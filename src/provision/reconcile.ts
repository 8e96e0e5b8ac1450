import { type DriveId, messageOf, wallMs } from '../base/index.ts'
import type { Allocations, AllocationWorld, Standing } from './allocate.ts'
import type { PoolDrive } from './host.ts'
import { type Allocation, NEEDS_POWER_OFF } from './intents.ts'
import type { HeldDrive, Step } from './provisioner.ts'
import { isAbandoned, isTagOf } from './tags.ts'

/**
 * What a person should know of one drive:
 *
 * - `finished`: it was on its way, and is now in use, ready, or free again
 * - `found`: in use and held, but its record was lost; it has one again
 * - `orphan`: held under this node's tag, without a record, and no drive here
 * - `abandoned`: held under the tag of a node that is no member of the cluster any more
 * - `missing`: held for this node, but it is not in the pool
 * - `taken-away`: in the pool, but the appliance holds it no more, or not before this server
 * - `trouble`: the appliance says that it is not well
 * - `stuck`: a step failed, and is tried again
 * - `under-way`: somebody else is at it just now
 * - `needs-power-off`, `elsewhere`, `in-doubt`: it rests, see Standing
 */
export interface Finding {
  readonly is:
    | 'finished'
    | 'found'
    | 'orphan'
    | 'abandoned'
    | 'missing'
    | 'taken-away'
    | 'trouble'
    | 'stuck'
    | 'under-way'
    | 'needs-power-off'
    | 'elsewhere'
    | 'in-doubt'
  readonly tag: string
  readonly words: string
}

export interface ReconcileOptions {
  /** Give back what is held under this node's tag and nobody knows of. */
  readonly releaseOrphans: boolean
  /** Ask the appliance once more for what it would only do with the server off. */
  readonly retryPower: boolean
}

/** Those that are on their way to this node, and have steps left. */
export function comingOnes({ intents }: AllocationWorld): readonly Allocation[] {
  return intents.all().filter(({ towards, step }) => towards !== 'out' && !RESTING.has(step))
}

const RESTING: ReadonlySet<Allocation['step']> = new Set(['settled', 'ready', NEEDS_POWER_OFF])

/** Go on with those that come. One that is no good is left to `reconcile`, for giving it back may take hours. */
export async function comeIn(
  world: AllocationWorld,
  allocations: Allocations,
  step: Step,
): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  for (const { tag } of comingOnes(world)) {
    const finding = await settleOne(allocations, tag, step)
    if (finding.is !== 'finished' || world.intents.get(tag)?.towards !== 'out')
      findings.push(finding)
  }
  return findings
}

/**
 * Compares what was meant, what the appliance has and what the host has, and finishes or undoes each: every allocation is gone
 * on with until it rests, but for what somebody else is at; those that go back side by side, for each may take hours. What is held
 * under another node's tag is that node's and left alone.
 * @param say what was found before anything is waited for
 * @throws what looking at appliance or host throws, and ECANCELED; trouble with one drive is a finding, and the others are done
 */
export async function reconcile(
  world: AllocationWorld,
  allocations: Allocations,
  options: ReconcileOptions,
  step: Step,
  say: (findings: readonly Finding[]) => void,
): Promise<readonly Finding[]> {
  const { intents } = world
  const { held, drives } = await look(world, step)
  const findings = unknownHere(world, held, drives)
  findings.push(...settledOnes(intents.all(), held, drives))
  say(findings)
  // What comes had its turn in `comeIn`.
  const coming = comingOnes(world)
  const left = intents.all().filter((one) => one.step !== 'settled' && !coming.includes(one))
  const tags = left.flatMap(({ tag }) => (allocations.isWorkedOn(tag) ? [] : [tag]))
  for (const { tag, name, step: at } of left) {
    if (tags.includes(tag)) continue
    findings.push({ is: 'under-way', tag, words: `${name} is on its way, at step ${at}` })
  }
  const orphans = options.releaseOrphans
    ? held.filter(({ tag }) => findings.some((one) => one.is === 'orphan' && one.tag === tag))
    : []
  const done = await allDone([
    ...tags.map(async (tag) => {
      const wasReady = intents.get(tag)?.step === 'ready'
      let finding = await settleOne(allocations, tag, step)
      const isTurnedBack = finding.is === 'finished' && intents.get(tag)?.towards === 'out'
      if (isTurnedBack) finding = await settleOne(allocations, tag, step)
      return wasReady && finding.is === 'finished' ? [] : [finding]
    }),
    ...orphans.map(async (one) => [await releaseOrphan(world, allocations, one, step)]),
  ])
  return [...findings, ...done.flat()]
}

/** All have ended when it returns, or throws what the first one threw. */
async function allDone<T>(works: readonly Promise<T>[]): Promise<T[]> {
  const ends = await Promise.allSettled(works)
  const failed = ends.find((end) => end.status === 'rejected')
  if (failed) throw failed.reason
  return ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []))
}

/** Looked at before it has a record: one that is needed stays an orphan, and is nobody's to give back in a later life. */
async function releaseOrphan(
  world: AllocationWorld,
  allocations: Allocations,
  held: HeldDrive,
  step: Step,
): Promise<Finding> {
  const { tag } = held
  try {
    await allocations.mustBeFree(held, false, step)
    world.intents.add(givingBack(world, held))
  } catch (error) {
    if (step.signal.aborted) throw error
    return { is: 'stuck', tag, words: messageOf(error) }
  }
  return await settleOne(allocations, tag, step)
}

async function settleOne(allocations: Allocations, tag: string, step: Step): Promise<Finding> {
  try {
    const standing = await allocations.settle(tag, step)
    return { is: findingOf(standing), tag, words: standing.words }
  } catch (error) {
    if (step.signal.aborted) throw error
    return { is: 'stuck', tag, words: messageOf(error) }
  }
}

function findingOf({ is }: Standing): Finding['is'] {
  const isFinished = is === 'settled' || is === 'ready' || is === 'gone' || is === 'turned-back'
  return isFinished ? 'finished' : is
}

async function look({ provisioner, host }: AllocationWorld, { signal }: Step) {
  const held = await provisioner.held(signal)
  const { drives } = await host.facts(signal)
  return { held, drives }
}

/** What bears this node's tag without a record of it. */
function unknownHere(
  world: AllocationWorld,
  held: readonly HeldDrive[],
  drives: readonly PoolDrive[],
): Finding[] {
  const { intents, owner, members = () => null } = world
  const findings: Finding[] = []
  for (const one of held) {
    const { tag, name } = one
    if (intents.get(tag)) continue
    if (isAbandoned(owner, members(), tag)) {
      findings.push({ is: 'abandoned', tag, words: abandonedWords(one) })
    }
    if (!isTagOf(owner, tag)) continue
    const drive = drives.find((there) => there.tag === tag)
    if (drive) {
      intents.add(inUse(world, one, drive.id))
      const words = `${name} is drive ${drive.id}; its record was lost and has been written anew`
      findings.push({ is: 'found', tag, words })
    } else {
      const words = `${name} is held under this node's tag, is no drive here, and no record says why; \`weft synergy reconcile --release-orphans\` gives it back`
      findings.push({ is: 'orphan', tag, words })
    }
  }
  for (const { id, tag } of drives) {
    if (tag === null || intents.get(tag) || held.some((one) => one.tag === tag)) continue
    findings.push({ is: 'taken-away', tag, words: takenAway(id) })
  }
  return findings
}

function settledOnes(
  allocations: readonly Allocation[],
  held: readonly HeldDrive[],
  drives: readonly PoolDrive[],
): Finding[] {
  const findings: Finding[] = []
  for (const { tag, name, step, driveId } of allocations) {
    if (step !== 'settled') continue
    const there = held.find((one) => one.tag === tag)
    const isDrive = drives.some((drive) => drive.tag === tag)
    if (!there) {
      findings.push({ is: 'taken-away', tag, words: takenAway(driveId ?? name) })
    } else if (there.state === 'reserved') {
      const words = `${name} is in use here as drive ${driveId ?? name}, and its logical JBOD was taken out of this server's profile: put it back there in OneView; or \`weft synergy release ${tag}\``
      findings.push({ is: 'taken-away', tag, words })
    } else if (there.state === 'attached' && !there.isHere) {
      const words = `${name} is in use here as drive ${driveId ?? name}, and its logical JBOD is before another server now, which may overwrite it: take it out of that server's profile in OneView`
      findings.push({ is: 'taken-away', tag, words })
    } else if (there.trouble !== '') {
      const words = `${name}: the appliance says: ${there.trouble}; \`weft synergy release ${tag}\` moves its data and gives it back`
      findings.push({ is: 'trouble', tag, words })
    } else if (!isDrive) {
      const words = `${name} is held for this node but is not in its pool: it comes back when the host shows it again; \`weft synergy release ${tag}\` gives it back`
      findings.push({ is: 'missing', tag, words })
    }
  }
  return findings
}

function takenAway(drive: DriveId | string): string {
  return `drive ${drive} was taken from a frame, and the appliance does not hold it for this node any more: somebody may give it to another server; drain it with \`weft drive drain ${drive}\``
}

function abandonedWords({ tag, name, state, isHere }: HeldDrive): string {
  const before =
    state === 'attached' && !isHere
      ? 'once it is out of the profile of the server that it is before, '
      : ''
  return `${name} is held as ${tag} for a node that is no member of this cluster: ${before}\`weft synergy release ${tag}\` gives it back`
}

function recordOf(
  { clock }: AllocationWorld,
  { tag, place, name, class: cos, serial, wwid, sizeBytes }: HeldDrive,
) {
  const drive = { tag, place, name, class: cos, serial, wwid, sizeBytes }
  return { ...drive, sinceMs: wallMs(clock), doubtUntilMs: null, lastError: '' }
}

function inUse(world: AllocationWorld, held: HeldDrive, driveId: DriveId): Allocation {
  const why = 'found in use'
  return { ...recordOf(world, held), towards: 'in', step: 'settled', driveId, why }
}

export function givingBack(world: AllocationWorld, held: HeldDrive): Allocation {
  const why = 'no record said why it was held'
  return { ...recordOf(world, held), towards: 'out', step: 'drain', driveId: null, why }
}
