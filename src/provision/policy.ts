import type { DriveId, NodeId } from '../base/index.ts'
import type { ServiceClass } from '../drives/index.ts'
import type { NodeRoom, PoolDrive } from './host.ts'
import { pickSeveral } from './pick-free.ts'
import type { FreeDrive } from './provisioner.ts'
import type { PolicySettings } from './settings.ts'
import { drivesWords, durationWords, percentWords, sizeWords, timeWords } from './words.ts'

/** All that a decision rests on. */
export interface PolicyView {
  /** Wall clock. */
  readonly nowMs: number
  readonly node: NodeId
  readonly drives: readonly PoolDrive[]
  readonly others: readonly NodeRoom[]
  /** Names of nodes of which is not known what they have. */
  readonly silent: readonly string[]
  /** What the frame could give now. */
  readonly free: readonly FreeDrive[]
  /** What stands ready before this host, to be used without the frame. */
  readonly ready: readonly Pick<FreeDrive, 'place' | 'class' | 'sizeBytes'>[]
  /** How fast a class fills, bytes a millisecond. */
  rateOf(cos: ServiceClass): number
  /** For how long that has been watched: not since before this life of the daemon. */
  seenMs(cos: ServiceClass): number
  /** How long the frame takes to give a drive, as learned. */
  readonly growMs: number
  /** Drives of the frame that this node holds, those on their way in and out too. */
  readonly heldDrives: number
  /** Drives taken or given back by the policy, in the last 24 hours at least. */
  readonly acts: readonly PastAct[]
  /** Why nothing more can be taken from the frame for now; '' when it can. */
  readonly blocked: string
  /** The last try to take a drive of a class failed, so recently that it is not tried again; null when not. */
  failureOf(cos: ServiceClass): Failure | null
  /** Somebody waits for so much room; null when nobody does. */
  readonly demand: Demand | null
}

export interface PastAct {
  /** Wall clock. */
  readonly atMs: number
  readonly drives: number
}

export interface Failure {
  readonly why: string
  /** Until it may be tried again. */
  readonly waitMs: number
}

export interface Demand {
  readonly class: ServiceClass
  readonly bytes: number
}

interface Reason {
  readonly class: ServiceClass
  readonly why: string
  readonly numbers: PoolNumbers
}

/** For one class: take drives, give one back, nothing to be done, or something to be done that may not be. */
export type Decision =
  | (Reason & { readonly do: 'grow'; readonly drives: number; readonly bytes: number })
  | (Reason & { readonly do: 'shrink'; readonly drive: DriveId; readonly tag: string })
  | (Reason & { readonly do: 'none' })
  | (Reason & {
      readonly do: 'refused'
      readonly wanted: 'grow' | 'shrink'
      readonly because: Because
    })

/**
 * `blocked`: nothing can be taken from the frame for now; `failed`: the last try did, and is rested from; `silent`: what other nodes
 * have is not known; `needed`: the drives that are there are.
 */
export type Because =
  | 'off'
  | 'blocked'
  | 'failed'
  | 'silent'
  | 'max-drives'
  | 'budget'
  | 'cool-down'
  | 'none-free'
  | 'busy'
  | 'needed'

/** One class on this node, in bytes; into the log with each decision. */
export interface PoolNumbers {
  /** Of drives that are well and stay. */
  readonly sizeBytes: number
  /** What has to lie on them, that of drives that leave or fail included, and what somebody waits to put there. */
  readonly usedBytes: number
  readonly reserveBytes: number
  /** How much fills up while the frame gives a drive. */
  readonly comingBytes: number
}

export const DAY_MS = 24 * 3_600_000
/** A frame that took so long once may take twice as long. */
const GROW_TIME_FACTOR = 2
/** A rate is believed for so many times as long as it was seen: five seconds tell nothing about an hour. */
const BELIEF = 4
/** A pool is watched for so long, or for a cool-down if that is shorter, before it shrinks. */
const SHRINK_SEEN_MS = 5 * 60_000
/** Of a pool that shrinks, so much stays free beyond what it needs. */
const SHRINK_SLACK = 0.1

/** What should be done for each class now, and why; in the order of the classes. It changes nothing and remembers nothing. */
export function decide(view: PolicyView, settings: PolicySettings): readonly Decision[] {
  const classes = new Set(view.drives.flatMap((drive) => (isThere(drive) ? [drive.class] : [])))
  if (view.demand) classes.add(view.demand.class)
  return [...classes].sort().map((cos) => decideClass(cos, view, settings))
}

/** One that is gone is waited for: a class of which nothing else is there is nobody's wish. */
function isThere(drive: PoolDrive): drive is PoolDrive & { readonly class: ServiceClass } {
  return drive.class !== null && drive.state !== 'gone'
}

function decideClass(cos: ServiceClass, view: PolicyView, settings: PolicySettings): Decision {
  const numbers = poolNumbers(cos, view, settings)
  if (isLeaving(cos, view)) {
    const why = 'the last of its drives are being emptied, which only a person asks for'
    return { do: 'none', class: cos, why, numbers }
  }
  const short = shortOf(numbers, settings)
  if (short) return grow({ class: cos, why: short.why, numbers }, short.bytes, view, settings)
  const part = numbers.sizeBytes === 0 ? 1 : numbers.usedBytes / numbers.sizeBytes
  const used = `${percentWords(part)} of ${sizeWords(numbers.sizeBytes)} used`
  if (view.demand || part >= settings.shrinkAtPercent / 100) {
    const why = `${used}, between shrink-at ${settings.shrinkAtPercent} % and grow-at ${settings.growAtPercent} %`
    return { do: 'none', class: cos, why, numbers }
  }
  const why = `${used}, below shrink-at ${settings.shrinkAtPercent} %`
  return shrink({ class: cos, why, numbers }, view, settings)
}

/** What is on them goes to drives of other classes: that was said when it was asked for, and is not undone. */
function isLeaving(cos: ServiceClass, { drives, demand }: PolicyView): boolean {
  if (demand?.class === cos) return false
  const there = drives.filter((drive) => drive.class === cos && isThere(drive))
  return there.every(({ state }) => state === 'draining' || state === 'drained')
}

function poolNumbers(cos: ServiceClass, view: PolicyView, settings: PolicySettings): PoolNumbers {
  const there = view.drives.filter((drive) => drive.class === cos && isThere(drive))
  const drives = there.filter(({ state }) => state !== 'drained')
  const staying = drives.filter(({ state }) => state === 'ok')
  const demanded = view.demand?.class === cos ? view.demand.bytes : 0
  // Where nothing of the class is or is wanted, nothing of it will be put that would need room.
  const isKept = staying.length > 0 || demanded > 0
  return {
    sizeBytes: sum(staying.map(({ sizeBytes }) => sizeBytes)),
    usedBytes: sum(drives.map(({ usedBytes }) => usedBytes)) + demanded,
    reserveBytes: isKept ? reserveOf(cos, view, settings) : 0,
    comingBytes: Math.ceil(comingIn(cos, view.growMs * GROW_TIME_FACTOR, view)),
  }
}

/** Bytes that come within so long, at the rate of now. */
function comingIn(cos: ServiceClass, ms: number, view: PolicyView): number {
  return Math.max(0, view.rateOf(cos)) * Math.min(ms, BELIEF * view.seenMs(cos))
}

/**
 * When the largest failure domain beside this node's is lost, what it held is made again on those that are left and have the class;
 * each keeps an equal share of that free.
 */
function reserveOf(cos: ServiceClass, { node, others }: PolicyView, { reserve }: PolicySettings) {
  if (reserve === 'none') return 0
  if (typeof reserve === 'number') return reserve
  const domains = new Map<string, { usedBytes: number; nodes: Set<NodeId> }>()
  const alike = others.filter((other) => other.class === cos)
  for (const other of alike) {
    const domain = domains.get(other.domain) ?? { usedBytes: 0, nodes: new Set() }
    domain.usedBytes += other.usedBytes
    domains.set(other.domain, { ...domain, nodes: domain.nodes.add(other.node) })
  }
  const all = new Set([node, ...alike.map((other) => other.node)])
  const shares = [...domains.values()].map(
    ({ usedBytes, nodes }) => usedBytes / Math.max(1, all.size - nodes.size),
  )
  return Math.ceil(Math.max(0, ...shares))
}

/** Null when there is room enough; else how much is missing, and why. */
function shortOf(numbers: PoolNumbers, { growAtPercent }: PolicySettings) {
  const { sizeBytes, usedBytes, reserveBytes, comingBytes } = numbers
  const isOverMark = usedBytes > 0 && usedBytes >= (growAtPercent / 100) * sizeBytes
  const overMark = (usedBytes * 100) / growAtPercent - sizeBytes
  const overFull = usedBytes + reserveBytes + comingBytes - sizeBytes
  if (!isOverMark && overFull <= 0) return null
  const used = `${sizeWords(usedBytes)} of ${sizeWords(sizeBytes)} used`
  const why = isOverMark
    ? `${used}, grow-at is ${growAtPercent} %`
    : `${used}: with ${sizeWords(reserveBytes)} kept to protect what another domain holds, and ${sizeWords(comingBytes)} that come in while the frame gives a drive, it would be full`
  // One byte over the mark, for at the mark it would grow again.
  return { bytes: Math.floor(Math.max(overMark, overFull)) + 1, why }
}

function grow(reason: Reason, bytes: number, view: PolicyView, settings: PolicySettings): Decision {
  const no = (because: Because, words: string) => refusal('grow', reason, because, words)
  if (!settings.enabled) return no('off', POLICY_OFF)
  const failure = view.demand ? null : view.failureOf(reason.class)
  if (failure) {
    const words = `the last try failed, it is tried again in ${durationWords(failure.waitMs)}: ${failure.why}`
    return no('failed', words)
  }
  const ready = view.ready.filter((one) => one.class === reason.class)
  const isReady = ready.length > 0
  if (!isReady && view.blocked !== '') return no('blocked', view.blocked)
  const holds = settings.maxDrives - view.heldDrives
  if (!isReady && holds <= 0) {
    return no('max-drives', `this node has ${drivesWords(view.heldDrives)} of the frame already`)
  }
  const budget = budgetLeft(view, settings)
  if (budget.left <= 0) return no('budget', budget.words)
  const waitMs = coolDownLeftMs(view, settings)
  if (waitMs > 0 && !isUrgent(reason, waitMs, view)) return no('cool-down', coolingWords(waitMs))
  const max = isReady ? budget.left : Math.min(holds, budget.left)
  const picked = pickSeveral(isReady ? ready : view.free, reason.class, bytes, max)
  if (picked.length === 0) {
    return no(
      'none-free',
      `no drive of class ${reason.class} is free in this node's reach; put some into the frame, or give some back with \`weft synergy release\``,
    )
  }
  const size = sizeWords(sum(picked.map(({ sizeBytes }) => sizeBytes)))
  const which = `${drivesWords(picked.length)}${isReady ? ' of those that stand ready' : ''}`
  const why = `${reason.why}: take ${which}, ${size}, for ${sizeWords(bytes)} that are short`
  return { ...reason, do: 'grow', drives: picked.length, bytes, why }
}

/** Somebody waits, or it would be full before the cool-down is over and the frame has given a drive. */
function isUrgent({ class: cos, numbers }: Reason, waitMs: number, view: PolicyView): boolean {
  if (view.demand) return true
  const freeBytes = numbers.sizeBytes - numbers.usedBytes
  return comingIn(cos, waitMs + view.growMs * GROW_TIME_FACTOR, view) >= freeBytes
}

function shrink(reason: Reason, view: PolicyView, settings: PolicySettings): Decision {
  const here = view.drives.filter((one) => one.class === reason.class || one.class === null)
  const emptiestFirst = here
    .filter(({ tag, state }) => tag !== null && state === 'ok')
    .sort((a, b) => a.moveBytes - b.moveBytes || b.sizeBytes - a.sizeBytes)
  if (emptiestFirst.length === 0) {
    return { ...reason, do: 'none', why: `${reason.why}; no drive of the frame is among them` }
  }
  const no = (because: Because, words: string) => refusal('shrink', reason, because, words)
  if (here.some(({ state }) => state !== 'ok')) {
    return no('busy', 'a drive of the class is failing, gone, or on its way out')
  }
  if (settings.reserve === 'one-node' && view.silent.length > 0) {
    const words = `${view.silent.join(', ')} did not answer: how much has to stay free for what is there is not known`
    return no('silent', words)
  }
  const unseenMs = Math.min(settings.coolDownMs, SHRINK_SEEN_MS) - view.seenMs(reason.class)
  if (unseenMs > 0) {
    return no('busy', `how fast it fills is watched for another ${durationWords(unseenMs)} first`)
  }
  const drive = emptiestFirst.find((one) => staysLarge(reason, one.sizeBytes, view, settings))
  if (!drive) {
    return no(
      'needed',
      'without any one of its drives it would lack the reserve, or soon have to grow again',
    )
  }
  if (!settings.enabled) return no('off', POLICY_OFF)
  const budget = budgetLeft(view, settings)
  if (budget.left <= 0) return no('budget', budget.words)
  const waitMs = coolDownLeftMs(view, settings)
  if (waitMs > 0) return no('cool-down', coolingWords(waitMs))
  const why = `${reason.why}: give back drive ${drive.id} of ${sizeWords(drive.sizeBytes)}, the emptiest that can go, with ${sizeWords(drive.moveBytes)} to move`
  return { ...reason, do: 'shrink', drive: drive.id, tag: drive.tag ?? '', why }
}

/** Without so much it has what it needs until the cool-down is over, at the rate of now, and some to spare. */
function staysLarge(
  { class: cos, numbers }: Reason,
  lessBytes: number,
  view: PolicyView,
  settings: PolicySettings,
): boolean {
  const sizeBytes = numbers.sizeBytes - lessBytes
  if (sizeBytes <= 0) return false
  const grownBytes = Math.max(0, view.rateOf(cos)) * settings.coolDownMs
  const usedBytes = numbers.usedBytes + grownBytes + sizeBytes * SHRINK_SLACK
  return shortOf({ ...numbers, sizeBytes, usedBytes }, settings) === null
}

const POLICY_OFF = 'the policy is off, `weft policy set --on` switches it on'

function coolingWords(ms: number): string {
  return `cooling down for another ${durationWords(ms)}`
}

function refusal(
  wanted: 'grow' | 'shrink',
  reason: Reason,
  because: Because,
  words: string,
): Decision {
  const why = `${reason.why}; it does not ${wanted}: ${words}`
  return { ...reason, do: 'refused', wanted, because, why }
}

/** What would be done if nothing held it back. */
export function wishOf(decision: Decision): 'grow' | 'shrink' | 'none' {
  return decision.do === 'refused' ? decision.wanted : decision.do
}

/** Whether all that has to lie on it does, with the reserve kept free. */
export function hasRoom({ sizeBytes, usedBytes, reserveBytes }: PoolNumbers): boolean {
  return usedBytes + reserveBytes <= sizeBytes
}

function budgetLeft({ acts, nowMs }: PolicyView, { budgetPerDay }: PolicySettings) {
  const lastDay = acts.filter(({ atMs }) => nowMs - atMs < DAY_MS)
  const left = budgetPerDay - sum(lastDay.map(({ drives }) => drives))
  const oldestMs = Math.min(...lastDay.map(({ atMs }) => atMs))
  const words =
    left > 0
      ? ''
      : `the budget of ${drivesWords(budgetPerDay)} a day is used up; more from ${timeWords(oldestMs + DAY_MS)} on, or with \`weft policy set --budget\``
  return { left, words }
}

function coolDownLeftMs({ acts, nowMs }: PolicyView, { coolDownMs }: PolicySettings): number {
  const lastMs = Math.max(Number.NEGATIVE_INFINITY, ...acts.map(({ atMs }) => atMs))
  // Not longer than it is, should the wall clock have been set back.
  return Math.min(coolDownMs, Math.max(0, lastMs + coolDownMs - nowMs))
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0)
}
