import { join } from 'node:path'
import {
  type Clock,
  type DriveId,
  FsError,
  isBug,
  type Log,
  messageOf,
  type Random,
  wallMs,
} from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import type { ServiceClass } from '../drives/index.ts'
import {
  Allocations,
  type AllocationTimes,
  type AllocationWorld,
  type Standing,
  usualTimes,
} from './allocate.ts'
import type { HostDrives } from './host.ts'
import { type Allocation, Intents, NEEDS_POWER_OFF } from './intents.ts'
import { smallest } from './pick-free.ts'
import { type Decision, type Demand, decide, hasRoom, type PolicyView } from './policy.ts'
import { type Act, PolicyBook } from './policy-book.ts'
import type { LogEntry } from './policy-log.ts'
import type { FreeDrive, Provisioner, Step } from './provisioner.ts'
import { type Finding, type ReconcileOptions, reconcile } from './reconcile.ts'
import type { PolicySettings, PolicyWords } from './settings.ts'
import type { TagOwner } from './tags.ts'
import { Turn, type UnderWay } from './turn.ts'
import { drivesWords, sizeWords } from './words.ts'

export interface ProvisioningWorld {
  readonly provisioner: Provisioner
  readonly host: HostDrives
  readonly disk: Disk
  /** Of this room alone, there already: intents.json, policy.json, policy.log (docs/format.md §7). */
  readonly directory: string
  readonly owner: TagOwner
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** As usual when not given. */
  readonly times?: AllocationTimes
}

export interface ProvisioningStatus {
  readonly kind: Provisioner['kind']
  readonly underWay: UnderWay | null
  /** Drives of the frame that this node has, or is taking or giving back. */
  readonly allocations: readonly Allocation[]
  readonly settings: PolicySettings
  /** How long the frame takes to give a drive, as learned or, before that, as assumed. */
  readonly growMs: number
  /** Of the last reconcile; null before the first. */
  readonly reconciled: { readonly atMs: number; readonly findings: readonly Finding[] } | null
}

export interface AllocateRequest {
  readonly class: ServiceClass
  readonly drives: number
}

/** Between two reconciles that nobody asked for. */
const RECONCILE_MS = 3 * 60_000
/** The policy asks the frame what is free at most so often; an act asks anew. */
const FREE_MS = 60_000
const DRIVES_AT_ONCE_MAX = 40
const BY_HAND = 'asked for by hand'

/**
 * What the daemon holds of this room: the drives that this node has from a provisioner, and the policy that decides about them.
 * One thing at a time is under way.
 */
export class Provisioning {
  readonly #world: ProvisioningWorld
  readonly #allocationWorld: AllocationWorld
  readonly #intents: Intents
  readonly #allocations: Allocations
  readonly #book: PolicyBook
  readonly #turn: Turn
  #reconciled: ProvisioningStatus['reconciled'] = null
  #reconcileAtMs = Number.NEGATIVE_INFINITY
  #free: { readonly atMs: number; readonly drives: readonly FreeDrive[] } | null = null

  /** @throws CorruptError, FsError when one of its files can not be read: drives in use are not touched by that */
  constructor(world: ProvisioningWorld) {
    const { disk, directory, clock, times = usualTimes } = world
    this.#world = world
    this.#intents = Intents.open(disk, join(directory, 'intents.json'))
    this.#book = new PolicyBook(disk, directory, clock)
    this.#allocationWorld = { ...world, times, intents: this.#intents }
    this.#allocations = new Allocations(this.#allocationWorld)
    this.#turn = new Turn(clock)
  }

  /** From memory. */
  status(): ProvisioningStatus {
    return {
      kind: this.#world.provisioner.kind,
      underWay: this.#turn.underWay,
      allocations: this.#intents.all(),
      settings: this.#book.settings,
      growMs: this.#book.growMs(),
      reconciled: this.#reconciled,
    }
  }

  /** What the frame could give this node now. */
  async free(cos: ServiceClass | null, signal: AbortSignal): Promise<readonly FreeDrive[]> {
    const free = await this.#world.provisioner.free(signal)
    return free.filter((drive) => cos === null || drive.class === cos)
  }

  /** What allocate would do, in lines for a person. */
  async planAllocate(
    { class: cos, drives }: AllocateRequest,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const ready = smallest(this.#allocations.ready(), cos, drives)
    const free = smallest(await this.free(cos, signal), cos, drives - ready.length)
    const lines = [
      ...ready.map(({ name, sizeBytes }) => `use ${name}, ${sizeWords(sizeBytes)}, which is ready`),
      ...free.map(({ name, sizeBytes }) => `take ${name}, ${sizeWords(sizeBytes)}`),
    ]
    const missing = drives - lines.length
    if (missing > 0) {
      lines.push(`short of ${drivesWords(missing)}: no more of class ${cos} are free`)
    }
    if (free.length > 0) {
      lines.push('each: reserve it, attach it to this server, wait for the disk, format it, use it')
      lines.push('if the appliance wants the server off for that, it stops there and says so')
    }
    return lines
  }

  /**
   * Take so many drives of a class, one after the other, whatever the policy says.
   * @throws FsError as Allocations.take; those that were taken before stay
   */
  async allocate({ class: cos, drives }: AllocateRequest, step: Step): Promise<Allocation[]> {
    checkCount(drives)
    const wanted = { class: cos, drives, bytes: 0, why: BY_HAND }
    return await this.#turn.take('allocate', 'in', step, async (mine) => {
      return await this.#grow(wanted, mine)
    })
  }

  /**
   * Set so many drives aside and put them before this host, untouched, for the policy and for allocate to take from: where the
   * appliance attaches only with the server off, that is done for all of them at one shutdown.
   * @returns each where it stands: step `ready`, or `needs-power-off` until the appliance shows it attached
   */
  async prepare(request: AllocateRequest, step: Step): Promise<readonly Allocation[]> {
    const wanted = { class: request.class, bytes: 0, why: 'to stand ready' }
    checkCount(request.drives)
    return await this.#turn.take('prepare', 'in', step, async (mine) => {
      const prepared: Allocation[] = []
      while (prepared.length < request.drives) {
        prepared.push(await this.#allocations.prepare(wanted, mine))
      }
      return prepared
    })
  }

  /** What release would do, in lines for a person. @throws FsError ENOENT */
  async planRelease(driveOrTag: string, signal: AbortSignal): Promise<readonly string[]> {
    const { tag, name, class: cos } = this.#find(driveOrTag)
    const { drives } = await this.#world.host.facts(signal)
    const drive = drives.find((one) => one.tag === tag)
    const others = drives.filter((one) => one.class === cos && one !== drive && one.state === 'ok')
    const room = others.reduce((sum, { freeBytes }) => sum + freeBytes, 0)
    const lines = drive
      ? [
          `move ${sizeWords(drive.moveBytes)} from drive ${drive.id} (${name}); the others of class ${cos} have ${sizeWords(room)} free`,
          'make sure that nothing needs it, and take it out of the pool',
        ]
      : [`make sure that nothing needs ${name}, which is not in the pool`]
    lines.push(
      'delete its device, detach it from this server, give it back, erased where it can be',
    )
    return lines
  }

  /**
   * Give one drive back, by its id or its tag. Once begun it is gone on with until it is free, by reconcile if this call ends.
   * @param isLost what is on it is lost or not needed, which a person says: it is given back though nobody can look
   * @throws FsError ENOENT · EBUSY with what still needs it · EPERM needsPowerOff
   */
  async release(driveOrTag: string, step: Step, isLost = false): Promise<void> {
    const { tag } = this.#find(driveOrTag)
    if (isLost) this.#allocations.callLost(tag)
    await this.#turn.take('release', 'out', step, async (mine) => {
      await this.#giveBack(tag, BY_HAND, mine)
    })
  }

  /** Compare what was meant with what is, and finish or undo; reconcile.ts. */
  async reconcile(options: Partial<ReconcileOptions>, step: Step): Promise<readonly Finding[]> {
    const chosen = { releaseOrphans: false, retryPower: false, ...options }
    return await this.#turn.take('reconcile', 'out', step, async (mine) => {
      const before = this.#intents.all().filter((one) => isComing(one) || one.towards === 'out')
      const findings = await reconcile(this.#allocationWorld, this.#allocations, chosen, mine)
      for (const allocation of before) {
        const now = this.#intents.get(allocation.tag)
        const isDone = allocation.towards === 'out' ? !now : now?.step === 'settled'
        if (isDone) this.#book.noteDone(allocation)
      }
      this.#reconciled = { atMs: wallMs(this.#world.clock), findings }
      return findings
    })
  }

  /** Durable when it returns. @throws FsError EINVAL */
  setPolicy(words: PolicyWords): PolicySettings {
    return this.#book.set(words)
  }

  /** What the policy would do now, and why. It changes nothing. */
  async plan(signal: AbortSignal): Promise<readonly Decision[]> {
    return await this.#decide(null, 0, signal)
  }

  /** Acts and refusals, the oldest first. */
  policyLog(): readonly LogEntry[] {
    return this.#book.entries
  }

  /**
   * Asked by the daemon every few seconds, also while an earlier one is not back: reconciles when it is time, looks at the
   * pools, and does one thing if one is to be done. While something is under way it returns at once, but that taking does not
   * wait for giving back.
   * @throws what went wrong; it is in the policy's log or in the findings as well, and the next tick tries again
   */
  async tick(step: Step): Promise<void> {
    const nowMs = this.#world.clock.monotonicMs()
    if (!this.#turn.isBusy && nowMs >= this.#reconcileAtMs) {
      this.#reconcileAtMs = nowMs + RECONCILE_MS
      await this.reconcile({}, step)
    }
    if (this.#turn.isBusy && !this.#turn.yields) return
    const decisions = await this.#decide(null, FREE_MS, step.signal)
    this.#book.noteWords(decisions)
    if (this.#book.settings.dryRun) return
    const grow = decisions.find((one) => one.do === 'grow')
    const shrink = decisions.find((one) => one.do === 'shrink')
    if (grow) await this.#act('grow', grow.class, null, step)
    else if (shrink && !this.#turn.isBusy) await this.#act('shrink', shrink.class, null, step)
  }

  /**
   * Somebody waits for so much room of a class: a volume that is made. Grows, whatever the cool-down says, until it is there.
   * @throws FsError ENOSPC with why there is no room and none can be had; what growing throws
   */
  async ensureRoom(bytes: number, cos: ServiceClass, step: Step): Promise<void> {
    const demand = { class: cos, bytes }
    for (let drives = 0; drives < DRIVES_AT_ONCE_MAX; drives++) {
      const growth = await this.#growthFor(demand, 0, step.signal)
      if (growth === null) return
      step.progress(growth.why)
      await this.#act('grow', cos, demand, step)
    }
    throw new FsError('ENOSPC', 'provision.room', {
      ...demand,
      message: `room for ${sizeWords(bytes)} of class ${cos}: not there after ${drivesWords(DRIVES_AT_ONCE_MAX)} more; others fill them as fast`,
    })
  }

  /**
   * Whether so much more fits on a class as it is, the reserve kept; false when drives are to be had for it.
   * @throws FsError ENOSPC as ensureRoom
   */
  async hasRoom(bytes: number, cos: ServiceClass, signal: AbortSignal): Promise<boolean> {
    return (await this.#growthFor({ class: cos, bytes }, FREE_MS, signal)) === null
  }

  /** Null when there is room. @throws FsError ENOSPC */
  async #growthFor(demand: Demand, freeMs: number, signal: AbortSignal): Promise<Decision | null> {
    const decisions = await this.#decide(demand, freeMs, signal)
    const decision = decisions.find((one) => one.class === demand.class)
    if (!decision || hasRoom(decision.numbers)) return null
    if (decision.do !== 'grow' || this.#book.settings.dryRun) throw noRoom(demand, decision)
    return decision
  }

  /** Decided again in its turn: what ran before may have made it needless. */
  async #act(
    what: 'grow' | 'shrink',
    cos: ServiceClass,
    demand: Demand | null,
    step: Step,
  ): Promise<void> {
    await this.#turn.take(what, what === 'grow' ? 'in' : 'out', step, async (mine) => {
      const decisions = await this.#decide(demand, 0, mine.signal)
      const act = decisions.find((one) => one.class === cos)
      if (act?.do !== 'grow' && act?.do !== 'shrink') return
      if (act.do !== what) return
      if (act.do === 'grow') await this.#growNoted(act, mine)
      else await this.#noted(act, mine, () => this.#giveBack(act.tag, act.why, mine))
    })
  }

  /** Each drive is an act of its own: making one restarts the daemon, and what was not begun then is not of the budget. */
  async #growNoted(growth: Act & { do: 'grow' }, step: Step): Promise<void> {
    let { bytes } = growth
    for (let drives = 0; drives < growth.drives; drives++) {
      const one = { ...growth, drives: 1, bytes }
      await this.#noted(one, step, async () => {
        const [taken] = await this.#grow(one, step)
        bytes = Math.max(0, bytes - (taken?.sizeBytes ?? 0))
      })
    }
  }

  /** What ends with this life of the daemon is gone on with by the next, and noted there. */
  async #noted(act: Act, { signal }: Step, work: () => Promise<void>): Promise<void> {
    const { clock } = this.#world
    const beganMs = clock.monotonicMs()
    this.#book.noteBegin(act)
    try {
      await work()
      this.#book.noteEnd(act, clock.monotonicMs() - beganMs)
    } catch (error) {
      if (!signal.aborted) this.#book.noteFailure(act, messageOf(error))
      throw error
    }
  }

  /** What is on its way in already comes first. Drives that turn out to be no good go back at the next tick. */
  async #grow({ class: cos, drives, bytes, why }: Wanted, step: Step): Promise<Allocation[]> {
    const taken: Allocation[] = []
    try {
      for (const { tag } of this.#comingIn(cos)) {
        if (taken.length >= drives) break
        const one = await this.#comeIn(tag, step)
        if (one) taken.push(one)
      }
      while (taken.length < drives) {
        const there = taken.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
        const wanted = { class: cos, bytes: Math.max(0, bytes - there), why }
        taken.push(await this.#allocations.take(wanted, step))
      }
      return taken
    } finally {
      this.#free = null
      this.#reconcileAtMs = Number.NEGATIVE_INFINITY
    }
  }

  #comingIn(cos: ServiceClass): readonly Allocation[] {
    return this.#intents.all().filter((one) => one.class === cos && isComing(one))
  }

  /** Null when it does not come in now; why is in its intent. */
  async #comeIn(tag: string, step: Step): Promise<Allocation | null> {
    try {
      const { is } = await this.#allocations.settle(tag, step)
      return is === 'settled' ? this.#intents.get(tag) : null
    } catch (error) {
      if (step.signal.aborted || isBug(error)) throw error
      return null
    }
  }

  async #giveBack(tag: string, why: string, step: Step): Promise<void> {
    const allocation = this.#intents.get(tag)
    if (!allocation) return
    if (allocation.towards !== 'out') this.#allocations.turnOut(tag, why)
    else this.#allocations.askPowerAgain(tag)
    const { is, words } = await this.#allocations.settle(tag, step)
    this.#free = null
    if (is !== 'gone') throw notFree(tag, is, words)
  }

  /**
   * The frame is asked only when a drive of it is wanted: at rest the policy costs it nothing.
   * @param freeMs what is free may have been asked for so long ago
   */
  async #decide(
    demand: Demand | null,
    freeMs: number,
    signal: AbortSignal,
  ): Promise<readonly Decision[]> {
    const { host, clock, owner } = this.#world
    const { drives, others } = await host.facts(signal)
    this.#book.see(drives)
    const allocations = this.#intents.all()
    const needsPower = allocations.find(({ step }) => step === NEEDS_POWER_OFF)
    const view: PolicyView = {
      ...{ nowMs: wallMs(clock), node: owner.node, drives, others, demand, free: [] },
      ready: this.#allocations.ready(),
      rateOf: (cos) => this.#book.rateOf(cos),
      seenMs: (cos) => this.#book.seenOf(cos),
      growMs: this.#book.growMs(),
      heldDrives: allocations.length,
      acts: this.#book.acts(),
      blocked: needsPower?.lastError ?? '',
    }
    const decisions = decide(view, this.#book.settings)
    if (!decisions.some((one) => one.do === 'refused' && one.because === 'none-free')) {
      return decisions
    }
    const free = await this.#freeSince(freeMs, signal)
    return decide({ ...view, free }, this.#book.settings)
  }

  async #freeSince(ms: number, signal: AbortSignal): Promise<readonly FreeDrive[]> {
    const { provisioner, clock } = this.#world
    const nowMs = clock.monotonicMs()
    if (this.#free && nowMs - this.#free.atMs < ms) return this.#free.drives
    const drives = await provisioner.free(signal)
    this.#free = { atMs: nowMs, drives }
    return drives
  }

  #find(driveOrTag: DriveId | string): Allocation {
    const all = this.#intents.all()
    const found = all.find(({ tag, driveId }) => tag === driveOrTag || driveId === driveOrTag)
    if (found) return found
    throw new FsError('ENOENT', 'provision.release', {
      drive: driveOrTag,
      message: `release ${driveOrTag}: this node has no drive of the frame by that id or tag; \`weft synergy status\` lists them`,
    })
  }
}

function checkCount(drives: number): void {
  if (Number.isSafeInteger(drives) && drives >= 1 && drives <= DRIVES_AT_ONCE_MAX) return
  throw new FsError('EINVAL', 'provision.allocate', {
    drives,
    message: `allocate: ${drives} drives: give a whole number from 1 to ${DRIVES_AT_ONCE_MAX}`,
  })
}

interface Wanted extends AllocateRequest {
  readonly bytes: number
  readonly why: string
}

function noRoom({ bytes, class: cos }: Demand, { why }: Decision): FsError {
  return new FsError('ENOSPC', 'provision.room', {
    ...{ bytes, class: cos },
    message: `room for ${sizeWords(bytes)} of class ${cos}: ${why}`,
  })
}

function notFree(tag: string, is: Standing['is'], words: string): FsError {
  const needsPowerOff = is === 'needs-power-off'
  const code = needsPowerOff ? 'EPERM' : 'EAGAIN'
  return new FsError(code, 'provision.release', {
    ...{ tag, needsPowerOff, message: `release ${tag}: ${words}` },
  })
}

function isComing({ towards, step }: Allocation): boolean {
  return towards === 'in' && step !== 'settled' && step !== NEEDS_POWER_OFF
}
