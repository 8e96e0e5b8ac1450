import { type DriveId, messageOf, wallMs } from '../base/index.ts'
import type { Allocations, AllocationWorld, Standing } from './allocate.ts'
import type { PoolDrive } from './host.ts'
import type { Allocation } from './intents.ts'
import type { HeldDrive, Step } from './provisioner.ts'
import { isTagOf } from './tags.ts'

/**
 * What a person should know of one drive:
 *
 * - `finished`: it was on its way, and is now in use, ready, or free again
 * - `found`: in use and held, but its record was lost; it has one again
 * - `orphan`: held under this node's tag, without a record, and no drive here
 * - `missing`: held for this node, but it is not in the pool
 * - `taken-away`: in the pool, but the appliance holds it no more
 * - `trouble`: the appliance says that it is not well
 * - `stuck`: a step failed, and is tried again
 * - `needs-power-off`, `elsewhere`, `in-doubt`: it rests, see Standing
 */
export interface Finding {
  readonly is:
    | 'finished'
    | 'found'
    | 'orphan'
    | 'missing'
    | 'taken-away'
    | 'trouble'
    | 'stuck'
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

/**
 * Compares what was meant, what the appliance has and what the host has, and finishes or undoes each: every allocation is gone
 * on with until it rests. What is held under another node's tag is that node's and left alone.
 * @throws what looking at appliance or host throws, and ECANCELED; trouble with one drive is a finding, and the next one is done
 */
export async function reconcile(
  world: AllocationWorld,
  allocations: Allocations,
  options: ReconcileOptions,
  step: Step,
): Promise<readonly Finding[]> {
  const { intents } = world
  const findings: Finding[] = []
  for (const { tag, step: at } of intents.all()) {
    if (at === 'settled') continue
    if (options.retryPower) allocations.askPowerAgain(tag)
    const finding = await settleOne(allocations, tag, step)
    if (at !== 'ready' || finding.is !== 'finished') findings.push(finding)
  }
  const { held, drives } = await look(world, step)
  findings.push(...unknownHere(world, held, drives))
  if (options.releaseOrphans) {
    const orphans = new Set(findings.flatMap(({ is, tag }) => (is === 'orphan' ? [tag] : [])))
    for (const one of held.filter(({ tag }) => orphans.has(tag))) {
      intents.add(givingBack(world, one))
      findings.push(await settleOne(allocations, one.tag, step))
    }
  }
  findings.push(...settledOnes(intents.all(), held, drives))
  return findings
}

async function settleOne(allocations: Allocations, tag: string, step: Step): Promise<Finding> {
  try {
    let standing = await allocations.settle(tag, step)
    // It was no good: the way back is gone at once.
    if (standing.is === 'turned-back') standing = await allocations.settle(tag, step)
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
  const { intents, owner } = world
  const findings: Finding[] = []
  for (const one of held) {
    const { tag, name } = one
    if (!isTagOf(owner, tag) || intents.get(tag)) continue
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

function givingBack(world: AllocationWorld, held: HeldDrive): Allocation {
  const why = 'an orphan that was to be given back'
  return { ...recordOf(world, held), towards: 'out', step: 'drain', driveId: null, why }
}
