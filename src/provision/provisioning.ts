import { join } from 'node:path'
import {
  type Clock,
  type DriveId,
  FsError,
  isBug,
  type Log,
  messageOf,
  type NodeId,
  type Random,
  wallMs,
} from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import type { ServiceClass } from '../drives/index.ts'
import {
  Allocations,
  type AllocationTimes,
  type AllocationWorld,
  powerRefusal,
  type Standing,
  usualTimes,
} from './allocate.ts'
import type { HostDrives, PoolDrive, PoolFacts } from './host.ts'
import { type Allocation, Intents, NEEDS_POWER_OFF } from './intents.ts'
import { smallest } from './pick-free.ts'
import {
  type Decision,
  type Demand,
  decide,
  hasRoom,
  type PolicyView,
  type PoolNumbers,
  wishOf,
} from './policy.ts'
import { type Act, PolicyBook } from './policy-book.ts'
import type { LogEntry } from './policy-log.ts'
import type { FreeDrive, HeldDrive, Provisioner, Step } from './provisioner.ts'
import {
  comeIn,
  comingOnes,
  type Finding,
  givingBack,
  type ReconcileOptions,
  reconcile,
} from './reconcile.ts'
import type { PolicySettings, PolicyWords } from './settings.ts'
import { isAbandoned, type TagOwner } from './tags.ts'
import { Turn, type UnderWay } from './turn.ts'
import { drivesWords, durationWords, percentWords, sizeWords } from './words.ts'

export interface ProvisioningWorld {
  readonly provisioner: Provisioner
  readonly host: HostDrives
  readonly disk: Disk
  /** Of this room alone, there already: intents.json, policy.json, policy.log (docs/format.md §7). */
  readonly directory: string
  readonly owner: TagOwner
  /** Who is in the cluster now; null when that is not known, or in none. */
  readonly members?: (() => readonly NodeId[] | null) | undefined
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
 * What is under way at a time, and what steps aside for what: turn.ts.
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
  #isReconciling = false
  /** A tick looks at pools and frame, which may take long to answer. */
  #isLooking = false
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
    const added = [...ready, ...free].map(asPoolDrive)
    const then = await this.#wishAfter(cos, (all) => [...all, ...added], signal)
    if (then?.wanted === 'shrink') {
      lines.push(
        `the policy gives one back ${this.#coolDownWords()}, unless more is written: ${usedWords(then)}`,
      )
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
      const before = this.#tagsIn()
      const beganMs = this.#world.clock.monotonicMs()
      try {
        return await this.#grow(wanted, mine)
      } finally {
        const ms = this.#world.clock.monotonicMs() - beganMs
        const come = this.#comeSince(before)
        const isMade = come.every((one) => one.step === 'settled' || one.step === 'make')
        const { length } = come
        if (length > 0) this.#book.noteByHand('grow', cos, length, isMade ? ms / length : null)
      }
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

  /**
   * Which one a person means, by its id, tag or serial number; by its tag also one of a node that is no member any more.
   * @throws FsError ENOENT
   */
  async named(name: string, signal: AbortSignal): Promise<Pick<Allocation, 'tag' | 'name'>> {
    return this.#findOrNull(name) ?? (await this.#abandoned(name, signal)) ?? unknown(name)
  }

  /** What release would do, in lines for a person. @throws FsError ENOENT */
  async planRelease(driveOrTag: string, signal: AbortSignal): Promise<readonly string[]> {
    const allocation = this.#findOrNull(driveOrTag)
    const { tag, name } = allocation ?? (await this.named(driveOrTag, signal))
    const { drives } = await this.#facts(signal)
    const drive = drives.find((one) => one.tag === tag)
    const lines = drive
      ? await this.#planDrain(drive, name, drives, signal)
      : [`make sure that nothing needs ${name}, which is not in the pool`]
    lines.push(
      `delete its device, detach it from this server, give it back, ${allocation?.driveId ? 'erased where it can be' : 'as it came'}`,
    )
    return lines
  }

  async #planDrain(
    drive: PoolDrive,
    name: string,
    drives: readonly PoolDrive[],
    signal: AbortSignal,
  ): Promise<string[]> {
    const { id, class: cos, moveBytes } = drive
    const staying = drives.filter((one) => one !== drive && one.state === 'ok')
    const others = staying.filter((one) => one.class === cos)
    const room = others.reduce((sum, { freeBytes }) => sum + freeBytes, 0)
    const lines = [
      `move ${sizeWords(moveBytes)} from drive ${id} (${name}); the others of class ${cos} have ${sizeWords(room)} free`,
      'make sure that nothing needs it, and take it out of the pool',
    ]
    if (cos !== null && others.length === 0) {
      const classes = [...new Set(staying.map((one) => one.class))].sort().join(', ')
      const where = classes === '' ? 'there are no others' : `of class ${classes}`
      lines.push(
        `it is the last drive of class ${cos} on this node: what is on it goes to drives of another class (${where}), volumes of this class too`,
      )
    }
    const then =
      cos === null ? null : await this.#wishAfter(cos, (all) => withoutDrive(all, drive), signal)
    if (then?.wanted === 'grow') {
      lines.push(
        `the policy takes another ${this.#coolDownWords()}, or at once if it fills up, unless it is switched off: ${usedWords(then)}`,
      )
    }
    return lines
  }

  /**
   * Give one drive back, by its id or its tag. Once begun it is gone on with until it is free, by reconcile if this call ends.
   * @param isLost what is on it is lost or not needed, which a person says: it is given back though nobody can look
   * @throws FsError ENOENT · EBUSY with what still needs it · EPERM needsPowerOff
   */
  async release(driveOrTag: string, step: Step, isLost = false): Promise<void> {
    const allocation = this.#findOrNull(driveOrTag)
    const abandoned = allocation ? null : await this.#abandoned(driveOrTag, step.signal)
    const tag = allocation?.tag ?? abandoned?.tag ?? unknown(driveOrTag)
    if (isLost) this.#allocations.callLost(tag)
    if (allocation && allocation.towards !== 'out' && allocation.driveId !== null) {
      this.#book.noteByHand('shrink', allocation.class, 1, null)
    }
    await this.#turn.take('release', 'out', step, async (mine) => {
      if (abandoned && !this.#intents.get(tag)) {
        mustNotBeElsewhere(abandoned)
        await this.#allocations.mustBeFree(abandoned, isLost, mine)
        this.#intents.add(givingBack(this.#allocationWorld, abandoned))
      }
      await this.#giveBack(tag, BY_HAND, mine)
    })
  }

  /** Compare what was meant with what is, and finish or undo; reconcile.ts. */
  async reconcile(options: Partial<ReconcileOptions>, step: Step): Promise<readonly Finding[]> {
    const chosen = { releaseOrphans: false, retryPower: false, ...options }
    if (chosen.retryPower) {
      for (const { tag } of this.#intents.all()) this.#allocations.askPowerAgain(tag)
    }
    const come = await this.#comeIn(step)
    return await this.#turn.take('reconcile', 'out', step, async (mine) => {
      const [world, allocations] = [this.#allocationWorld, this.#allocations]
      const say = (found: readonly Finding[]) => {
        const findings = [...come, ...found]
        this.#reconciled = { atMs: wallMs(this.#world.clock), findings }
        return findings
      }
      return await this.#noteDone(async () => {
        return say(await reconcile(world, allocations, chosen, mine, say))
      })
    })
  }

  /** Those that are on their way in, whatever is being given back: that steps aside. */
  async #comeIn(step: Step): Promise<readonly Finding[]> {
    if (comingOnes(this.#allocationWorld).length === 0) return []
    return await this.#turn.take('reconcile', 'in', step, async (mine) => {
      return await this.#noteDone(() => comeIn(this.#allocationWorld, this.#allocations, mine))
    })
  }

  /** Into the log, what was under way before this and is at its end after it. */
  async #noteDone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#intents.all().filter((one) => {
      return !this.#allocations.isWorkedOn(one.tag) && (isComing(one) || one.towards === 'out')
    })
    try {
      return await work()
    } finally {
      for (const allocation of mine) {
        const now = this.#intents.get(allocation.tag)
        const isDone = allocation.towards === 'out' ? !now : now?.step === 'settled'
        if (isDone) this.#book.noteDone(allocation)
      }
    }
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
   * pools, and does one thing if one is to be done. While drives are taken, or an earlier one still looks, it returns at once; while
   * some are given back, others are taken all the same.
   * @throws what went wrong; it is in the policy's log or in the findings as well, and the next tick tries again
   */
  async tick(step: Step): Promise<void> {
    if (this.#isLooking || this.#turn.isTaking) return
    const nowMs = this.#world.clock.monotonicMs()
    if (nowMs >= this.#reconcileAtMs) {
      this.#reconcileAtMs = nowMs + RECONCILE_MS
      // One that waits for erasing, say, keeps no other drive from coming in.
      if (this.#isReconciling) await this.#comeIn(step)
      else await this.#reconcileAtTick(step)
    }
    if (this.#isLooking || this.#turn.isTaking) return
    const decisions = await this.#look(step)
    if (this.#book.settings.dryRun) return
    const grow = decisions.find((one) => one.do === 'grow')
    const shrink = decisions.find((one) => one.do === 'shrink')
    if (grow) await this.#act('grow', grow.class, null, step)
    else if (this.#turn.isBusy) return
    else if (shrink) await this.#act('shrink', shrink.class, null, step)
    else if (this.#book.settings.enabled) await this.#fillReady(decisions, step)
  }

  /**
   * One more that stands ready, of a class that has fewer than are wanted. Also while the appliance attaches nothing with the server
   * on: set aside are all of them before the shutdown at which they are attached.
   */
  async #fillReady(decisions: readonly Decision[], step: Step): Promise<void> {
    const { readyDrives, maxDrives } = this.#book.settings
    const all = this.#intents.all()
    if (readyDrives === 0 || all.length >= maxDrives) return
    const short = decisions.find(({ class: cos, numbers }) => {
      const there = all.filter((one) => one.class === cos && one.towards === 'ready')
      // Whatever is in the way of one is most likely in the way of the next.
      const areAtRest = there.every(({ step: at }) => at === 'ready' || at === NEEDS_POWER_OFF)
      const isWanted = numbers.sizeBytes > 0 && there.length < readyDrives && areAtRest
      return isWanted && this.#book.failureOf(cos) === null
    })
    if (!short) return
    const { class: cos } = short
    const free = await this.#freeSince(FREE_MS, step.signal)
    if (!free.some((one) => one.class === cos)) return
    await this.#turn.take('prepare', 'in', step, async (mine) => {
      const wanted = { class: cos, bytes: 0, why: 'to stand ready' }
      try {
        const { name, step: at } = await this.#allocations.prepare(wanted, mine)
        const state = at === 'ready' ? 'stands ready' : 'is set aside, and waits for the power off'
        this.#book.notePrepared(cos, `${name} ${state}`)
      } catch (error) {
        if (!mine.signal.aborted) this.#book.noteNotPrepared(cos, messageOf(error))
        throw error
      } finally {
        this.#free = null
      }
    })
  }

  async #reconcileAtTick(step: Step): Promise<void> {
    this.#isReconciling = true
    try {
      await this.reconcile({}, step)
    } finally {
      this.#isReconciling = false
    }
  }

  async #look(step: Step): Promise<readonly Decision[]> {
    this.#isLooking = true
    try {
      const decisions = await this.#decide(null, FREE_MS, step.signal)
      this.#book.noteWords(decisions)
      return decisions
    } finally {
      this.#isLooking = false
    }
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
    const before = this.#tagsIn()
    this.#book.noteBegin(act)
    try {
      await work()
      this.#book.noteEnd(act, clock.monotonicMs() - beganMs)
    } catch (error) {
      const come = this.#comeSince(before)
      if (!signal.aborted) {
        const moved = act.do === 'grow' ? come.length : 1
        this.#book.noteFailure(act, messageOf(error), moved)
      } else if (act.do === 'grow' && come.some((one) => one.step === 'make')) {
        this.#book.notePause(act, clock.monotonicMs() - beganMs)
      }
      throw error
    }
  }

  #tagsIn(): ReadonlySet<string> {
    const all = this.#intents.all().filter(({ towards }) => towards === 'in')
    return new Set(all.map(({ tag }) => tag))
  }

  /** Drives that are to be in use here and were not before. */
  #comeSince(before: ReadonlySet<string>): readonly Allocation[] {
    return this.#intents.all().filter(({ towards, tag }) => towards === 'in' && !before.has(tag))
  }

  /**
   * What is on its way in already comes first, and when it does not come, nothing else is taken: whatever is in its way is most
   * likely in the way of the next one too, and each would be one more that is set aside. Drives that turn out to be no good go back
   * at the next tick.
   */
  async #grow({ class: cos, drives, bytes, why }: Wanted, step: Step): Promise<Allocation[]> {
    const taken: Allocation[] = []
    try {
      for (const { tag } of this.#comingIn(cos)) {
        if (taken.length >= drives) break
        const one = await this.#finishComing(tag, step)
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

  /** Null when it was no good, or somebody put it before another server. @throws FsError why it does not come in */
  async #finishComing(tag: string, step: Step): Promise<Allocation | null> {
    const name = this.#intents.get(tag)?.name ?? tag
    try {
      const { is, words } = await this.#allocations.settle(tag, step)
      if (is === 'needs-power-off') throw powerRefusal('allocate', tag, words)
      return is === 'settled' ? this.#intents.get(tag) : null
    } catch (error) {
      if (step.signal.aborted || isBug(error) || !(error instanceof FsError)) throw error
      if (error.subject.needsPowerOff === true) throw error
      throw new FsError(error.code, 'provision.allocate', {
        ...{ tag, cause: error, retry: 'later' },
        message: `${name} was set aside for this node before and does not come in: ${messageOf(error)}`,
        next: `it is tried again by itself, and no other is taken before; weft synergy release ${tag} gives it back`,
      })
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
    const view = await this.#view(demand, signal)
    this.#book.see(view.drives)
    const decisions = decide(view, this.#book.settings)
    if (!decisions.some((one) => one.do === 'refused' && one.because === 'none-free')) {
      return decisions
    }
    const free = await this.#freeSince(freeMs, signal)
    return decide({ ...view, free }, this.#book.settings)
  }

  async #view(demand: Demand | null, signal: AbortSignal): Promise<PolicyView> {
    const { clock, owner } = this.#world
    const { drives, others, silent } = await this.#facts(signal)
    const allocations = this.#intents.all()
    const needsPower = allocations.find(({ step }) => step === NEEDS_POWER_OFF)
    return {
      ...{ nowMs: wallMs(clock), node: owner.node, drives, others, silent, demand, free: [] },
      ready: this.#allocations.ready(),
      rateOf: (cos) => this.#book.rateOf(cos),
      seenMs: (cos) => this.#book.seenOf(cos),
      growMs: this.#book.growMs(),
      heldDrives: allocations.length,
      acts: this.#book.acts(),
      blocked: needsPower?.lastError ?? '',
      failureOf: (cos) => this.#book.failureOf(cos),
    }
  }

  /** Of a drive that is gone, and was taken from the frame, its record knows the class. */
  async #facts(signal: AbortSignal): Promise<PoolFacts> {
    const { drives, ...others } = await this.#world.host.facts(signal)
    const known = drives.map((drive) => {
      const cos = drive.class ?? this.#intents.get(drive.tag ?? '')?.class ?? null
      return { ...drive, class: cos }
    })
    return { ...others, drives: known }
  }

  /** What the policy would want of a class with other drives, once it has cooled down; null when it is off. */
  async #wishAfter(
    cos: ServiceClass,
    change: (drives: readonly PoolDrive[]) => readonly PoolDrive[],
    signal: AbortSignal,
  ): Promise<(PoolNumbers & { readonly wanted: string }) | null> {
    const { settings } = this.#book
    if (!settings.enabled || settings.dryRun) return null
    const view = await this.#view(null, signal)
    const later = { ...view, acts: [], seenMs: () => Number.POSITIVE_INFINITY }
    const decisions = decide({ ...later, drives: change(view.drives) }, settings)
    const decision = decisions.find((one) => one.class === cos)
    return decision ? { wanted: wishOf(decision), ...decision.numbers } : null
  }

  #coolDownWords(): string {
    return `after its cool-down of ${durationWords(this.#book.settings.coolDownMs)}`
  }

  async #freeSince(ms: number, signal: AbortSignal): Promise<readonly FreeDrive[]> {
    const { provisioner, clock } = this.#world
    const nowMs = clock.monotonicMs()
    if (this.#free && nowMs - this.#free.atMs < ms) return this.#free.drives
    const drives = await provisioner.free(signal)
    this.#free = { atMs: nowMs, drives }
    return drives
  }

  #findOrNull(name: DriveId | string): Allocation | null {
    const all = this.#intents.all()
    return all.find(({ tag, driveId, serial }) => [tag, driveId, serial].includes(name)) ?? null
  }

  /** What the appliance has under the tag of a node that is no member any more; null for any other tag. */
  async #abandoned(tag: string, signal: AbortSignal): Promise<HeldDrive | null> {
    const { owner, members = () => null, provisioner } = this.#world
    if (!isAbandoned(owner, members(), tag)) return null
    return (await provisioner.held(signal)).find((one) => one.tag === tag) ?? null
  }
}

function unknown(drive: string): never {
  throw new FsError('ENOENT', 'provision.release', {
    drive,
    message: `release ${drive}: this node has no drive of the frame by that id, tag or serial number`,
    next: 'weft synergy status lists them; a drive that a person added goes with weft drive drain and weft drive remove',
  })
}

/** What runs there may use it, and its server's profile is not this node's to edit. */
function mustNotBeElsewhere({ tag, name, state, isHere }: HeldDrive): void {
  if (state !== 'attached' || isHere) return
  throw new FsError('EBUSY', 'provision.release', {
    tag,
    message: `release ${tag}: ${name} is before another server, which may be using it`,
    next: `take its logical JBOD out of that server's profile in OneView, then weft synergy release ${tag}`,
  })
}

/** As it would be in the pool, empty. */
function asPoolDrive({
  place,
  class: cos,
  sizeBytes,
}: Pick<FreeDrive, 'place' | 'class' | 'sizeBytes'>): PoolDrive {
  const bytes = { sizeBytes, usedBytes: 0, freeBytes: sizeBytes, moveBytes: 0 }
  return { id: place as DriveId, tag: place, serial: '', class: cos, state: 'ok', ...bytes }
}

/** '90 % of 1.8 TiB are used then' */
function usedWords({ usedBytes, sizeBytes }: PoolNumbers): string {
  const part = sizeBytes === 0 ? 1 : usedBytes / sizeBytes
  return `${percentWords(part)} of ${sizeWords(sizeBytes)} are used then`
}

/** With what is on it on another of its class. */
function withoutDrive(drives: readonly PoolDrive[], gone: PoolDrive): readonly PoolDrive[] {
  const left = drives.filter(({ id }) => id !== gone.id)
  const heir = left.find((one) => one.class === gone.class && one.state === 'ok')
  return left.map((one) =>
    one === heir ? { ...one, usedBytes: one.usedBytes + gone.usedBytes } : one,
  )
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
