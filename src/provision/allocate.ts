import {
  assert,
  type Clock,
  codeOf,
  type DriveId,
  FsError,
  type Log,
  messageOf,
  type NodeId,
  newId,
  type Random,
  wallMs,
} from '../base/index.ts'
import type { ServiceClass } from '../drives/index.ts'
import type { DiskIdentity, DiskToGive, HostDrives, PoolDrive } from './host.ts'
import { type Allocation, type Intents, NEEDS_POWER_OFF } from './intents.ts'
import { type NextStep, nextStep } from './next-step.ts'
import { pickFree } from './pick-free.ts'
import type { HeldDrive, Provisioner, Step } from './provisioner.ts'
import { makeTag, type TagOwner } from './tags.ts'
import { overOrAborted } from './turn.ts'
import { durationWords } from './words.ts'

export interface AllocationWorld {
  readonly provisioner: Provisioner
  readonly host: HostDrives
  readonly intents: Intents
  readonly owner: TagOwner
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly times: AllocationTimes
  /** Who is in the cluster now; null when that is not known, or in none. */
  readonly members?: (() => readonly NodeId[] | null) | undefined
}

export interface AllocationTimes {
  /** From the attach until the host has to show the disk: rescans and udev take minutes at worst (facts §10). */
  readonly diskMs: number
  /** After a reserve whose answer was lost, so long the appliance may still carry it out: tasks survive their client (facts §7). */
  readonly doubtMs: number
  /** A drive that was no good, or was lost to another node, is not picked again for so long. */
  readonly avoidMs: number
}

export const usualTimes: AllocationTimes = {
  diskMs: 5 * 60_000,
  doubtMs: 30 * 60_000,
  avoidMs: 60 * 60_000,
}

export interface WantedDrive {
  readonly class: ServiceClass
  /** 0 for any. */
  readonly bytes: number
  readonly why: string
}

/** Where an allocation stands when nothing is done for it now. */
export type Standing =
  | { readonly is: 'settled'; readonly words: string }
  /** Before this host, and free to be made a drive at any time. */
  | { readonly is: 'ready'; readonly words: string }
  /** It is free again, and its tag forgotten. */
  | { readonly is: 'gone'; readonly words: string }
  /** It was no good: it goes back from now on. */
  | { readonly is: 'turned-back'; readonly words: string }
  | { readonly is: 'needs-power-off' | 'elsewhere' | 'in-doubt'; readonly words: string }

/** More than the longest way has, an undo from its middle included. */
const STEPS_MAX = 24
/** Drives that are tried for one that is wanted. */
const ATTEMPTS_MAX = 5

/** What says that this very disk is no good, of waiting for it and of making it a drive. */
const DISK_TROUBLE: ReadonlySet<string> = new Set(['EIO', 'ETIMEDOUT', 'EEXIST', 'EUCLEAN'])

/**
 * Does what nextStep says, one step after another, each after its intent is on disk. Several may give back at a time, each its own
 * tag, while nobody takes (turn.ts).
 *
 * That nothing needs a disk is known here, in memory, by tag: a drive is never detached on the word of an earlier life.
 */
export class Allocations {
  readonly #world: AllocationWorld
  readonly #verified = new Set<string>()
  readonly #deviceGone = new Set<string>()
  /** Of which a person has said that what is on them is lost. */
  readonly #lost = new Set<string>()
  /** Whose steps are being done. */
  readonly #working = new Map<string, Promise<unknown>>()
  /** Places that are not picked before a moment of the monotonic clock. */
  readonly #avoided = new Map<string, number>()

  constructor(world: AllocationWorld) {
    this.#world = world
  }

  /**
   * Take one drive of a class, as large as is wanted if there is one, of those that stand ready before those of the frame:
   * another is tried when a race is lost or the drive is no good. Those that are no good have their intents to go back, which somebody has to follow (`settle`).
   * @throws FsError ENOSPC when no drive is free · EPERM needsPowerOff · EIO when too many were no good; anything else is
   * trouble on the way, and the intent is gone on with later
   */
  async take(wanted: WantedDrive, step: Step): Promise<Allocation> {
    const failures: string[] = []
    while (failures.length < ATTEMPTS_MAX) {
      const tag = this.#claim(wanted) ?? (await this.#begin(wanted, 'in', failures, step))
      const { is, words } = await this.settle(tag, step)
      const allocation = this.#world.intents.get(tag)
      if (is === 'settled' && allocation) return allocation
      if (is === 'needs-power-off') throw powerRefusal('allocate', tag, words)
      failures.push(words)
    }
    throw noneGood(wanted.class, failures)
  }

  /** Somebody does the next steps of it just now. */
  isWorkedOn(tag: string): boolean {
    return this.#working.has(tag)
  }

  /**
   * Make sure that a drive which is held, and of which no record says why, is needed by nobody.
   * @param isLost a person has said so
   * @throws FsError EBUSY with what is still needed
   */
  async mustBeFree(held: HeldDrive, isLost: boolean, step: Step): Promise<void> {
    const { tag, serial, wwid, sizeBytes, state } = held
    // Before no host nobody can look; it goes back as it came, for it is not erased without a drive of ours on it.
    const how = { mayBeHidden: isLost || state === 'reserved', isLost }
    await this.#world.host.verify({ serial, wwid, sizeBytes, tag, drive: null, ...how }, step)
  }

  /**
   * Set one drive aside and put it before this host, untouched.
   * @returns where it stands: `ready`, or `needs-power-off`, from which it gets ready when the appliance shows it attached
   * @throws as take
   */
  async prepare(wanted: WantedDrive, step: Step): Promise<Allocation> {
    const failures: string[] = []
    while (failures.length < ATTEMPTS_MAX) {
      const tag = await this.#begin(wanted, 'ready', failures, step)
      const { is, words } = await this.settle(tag, step)
      const allocation = this.#world.intents.get(tag)
      if (allocation && (is === 'ready' || is === 'needs-power-off')) return allocation
      failures.push(words)
    }
    throw noneGood(wanted.class, failures)
  }

  /** Those that stand ready. */
  ready(): readonly Allocation[] {
    const all = this.#world.intents.all()
    return all.filter(({ step, towards }) => step === 'ready' && towards === 'ready')
  }

  /** Send it back, from wherever it is. Durable when it returns; `settle` does it. */
  turnOut(tag: string, why: string): Allocation {
    const { intents, clock } = this.#world
    this.#verified.delete(tag)
    const sinceMs = wallMs(clock)
    return intents.change(tag, { towards: 'out', step: 'drain', sinceMs, why, lastError: '' })
  }

  /** A person says that what is on it is lost or not needed: its disk is not looked into, in this life. */
  callLost(tag: string): void {
    this.#lost.add(tag)
  }

  /** A person says go on: what the appliance would only do with the server off is asked for once more. */
  askPowerAgain(tag: string): void {
    const { intents } = this.#world
    const allocation = intents.get(tag)
    if (allocation?.step !== NEEDS_POWER_OFF) return
    const step = allocation.towards === 'out' ? 'detach' : 'attach'
    intents.change(tag, { step, lastError: '' })
  }

  /**
   * Go on with one allocation until nothing is to be done for it now; when somebody else does, after that. What goes wrong is in
   * its `lastError` as well.
   * @throws whatever a step threw; ECANCELED when aborted
   */
  async settle(tag: string, step: Step): Promise<Standing> {
    for (let other = this.#working.get(tag); other; other = this.#working.get(tag)) {
      step.progress(`${tag} is being worked on already`)
      await overOrAborted(other, step.signal)
      if (step.signal.aborted) throw new FsError('ECANCELED', 'provision', { tag })
    }
    if (!this.#world.intents.get(tag)) return { is: 'gone', words: `${tag} is free again` }
    const mine = this.#settle(tag, step)
    this.#working.set(tag, mine)
    try {
      return await mine
    } finally {
      this.#working.delete(tag)
    }
  }

  async #settle(tag: string, step: Step): Promise<Standing> {
    for (let steps = 0; steps < STEPS_MAX; steps++) {
      if (step.signal.aborted) throw new FsError('ECANCELED', 'provision', { tag })
      const standing = await this.#advanceOrNote(tag, step)
      if (standing) return standing
    }
    throw new FsError('EAGAIN', 'provision', {
      tag,
      retry: 'later',
      message: `${tag}: not at rest after ${STEPS_MAX} steps: appliance and host say now this and now that; it is tried again later`,
    })
  }

  /** Look at one allocation and do the next step of it. @returns where it stands, null when there is more to do */
  async advance(tag: string, step: Step): Promise<Standing | null> {
    const { intents, clock, provisioner, host } = this.#world
    const held = (await provisioner.held(step.signal)).find((one) => one.tag === tag) ?? null
    const { drives } = await host.facts(step.signal)
    const allocation = intents.get(tag)
    assert(allocation !== null, 'an allocation that is worked on is there')
    const next = nextStep({
      allocation,
      held,
      drive: drives.find((one) => one.tag === tag) ?? null,
      verified: this.#verified.has(tag),
      deviceGone: this.#deviceGone.has(tag),
      nowMs: wallMs(clock),
    })
    return await this.#do(next, allocation, held, step)
  }

  /** One that stands ready, to be made a drive; null when none does. */
  #claim({ class: cos, bytes, why }: WantedDrive): string | null {
    const { intents, clock } = this.#world
    const ready = pickFree(this.ready(), cos, bytes)
    if (!ready) return null
    intents.change(ready.tag, { towards: 'in', why, sinceMs: wallMs(clock) })
    return ready.tag
  }

  async #begin(
    wanted: WantedDrive,
    towards: 'in' | 'ready',
    failures: readonly string[],
    { signal }: Step,
  ): Promise<string> {
    const { provisioner, owner, random, intents, clock } = this.#world
    const taken = new Set(intents.all().map(({ place }) => place))
    const free = (await provisioner.free(signal)).filter(
      ({ place }) => !taken.has(place) && !this.#isAvoided(place),
    )
    const drive = pickFree(free, wanted.class, wanted.bytes)
    if (!drive) throw noneFree(wanted.class, failures)
    const { place, name, serial, wwid, sizeBytes } = drive
    const tag = makeTag(owner, random)
    intents.add({
      ...{ tag, place, name, class: wanted.class, serial, wwid },
      ...{ sizeBytes, towards, step: 'reserve', driveId: null },
      ...{ sinceMs: wallMs(clock), doubtUntilMs: null, why: wanted.why, lastError: '' },
    })
    return tag
  }

  async #advanceOrNote(tag: string, step: Step): Promise<Standing | null> {
    try {
      return await this.advance(tag, step)
    } catch (error) {
      if (!step.signal.aborted) this.#note(tag, error)
      throw error
    }
  }

  /** The error that is thrown says more than one of writing it down. */
  #note(tag: string, error: unknown): void {
    const { intents, log } = this.#world
    log.warn({ op: 'provision.step', tag, error: messageOf(error) }, 'a step failed')
    try {
      if (intents.get(tag)) intents.change(tag, { lastError: messageOf(error) })
    } catch (cause) {
      log.warn({ op: 'provision.intents', tag, error: messageOf(cause) }, 'cannot write intents')
    }
  }

  async #do(
    next: NextStep,
    allocation: Allocation,
    held: HeldDrive | null,
    step: Step,
  ): Promise<Standing | null> {
    const { provisioner, host, intents } = this.#world
    const { tag, name } = allocation
    switch (next.do) {
      case 'rest':
        return next
      case 'turnBack':
        return this.#turnBack(allocation, next.words)
      case 'reserve':
        return await this.#reserve(allocation, step)
      case 'attach':
        this.#intend(allocation, 'attach')
        step.progress(`attach ${name}`)
        return await this.#unlessPower(allocation, () => provisioner.attach(tag, step))
      case 'make':
        return await this.#make(allocation, step)
      case 'ready':
        if (allocation.step !== 'ready') intents.change(tag, { step: 'ready', lastError: '' })
        return { is: 'ready', words: `${name} stands ready before this host` }
      case 'settle':
        return this.#settled(allocation, next.drive)
      case 'drain':
        this.#verified.delete(tag)
        this.#intend(allocation, 'drain', { driveId: next.drive.id })
        step.progress(`drain ${name}`)
        await host.drain(next.drive.id, step)
        return null
      case 'verify':
        // What is recorded of one that was let go of says that an earlier life has looked: now there may be no disk to look at.
        if (!wasLetGo(allocation)) this.#intend(allocation, 'verify')
        step.progress(`make sure that nothing needs ${name}`)
        await host.verify(this.#toGive(allocation, held), step)
        this.#verified.add(tag)
        return null
      case 'takeOut':
        this.#intend(allocation, 'takeOut', { driveId: next.drive.id })
        step.progress(`take ${name} out of the pool`)
        try {
          await host.takeOut(next.drive.id, step)
        } catch (error) {
          // Something may have come onto it: it is looked at anew before it is asked for again.
          this.#verified.delete(tag)
          throw error
        }
        return null
      case 'deleteDevice':
        this.#intend(allocation, 'deleteDevice')
        await host.deleteDevice(identityOf(allocation, held), step)
        this.#deviceGone.add(tag)
        return null
      case 'detach':
        assert(this.#verified.has(tag), 'a drive is detached only when nothing needs it')
        this.#intend(allocation, 'detach')
        step.progress(`detach ${name}`)
        return await this.#unlessPower(allocation, () => provisioner.detach(tag, step))
      case 'release': {
        this.#intend(allocation, 'release')
        // One that was never made a drive may have on it what somebody left there.
        const keepsData = allocation.driveId === null
        step.progress(`give ${name} back, ${keepsData ? 'as it came' : 'erased where it can be'}`)
        await provisioner.release(tag, step, { keepsData })
        return null
      }
      case 'forget':
        intents.forget(tag)
        this.#verified.delete(tag)
        this.#deviceGone.delete(tag)
        this.#lost.delete(tag)
        return { is: 'gone', words: `${name} is free again` }
      default:
        return next satisfies never
    }
  }

  /**
   * Until the answer is here it is in doubt whether the appliance carries it out, and a refusal settles only the request that
   * it answers: an earlier one may be what took the drive.
   */
  async #reserve(allocation: Allocation, step: Step): Promise<Standing | null> {
    const { provisioner, intents, clock, times } = this.#world
    const { tag, place, name, doubtUntilMs } = allocation
    this.#intend(allocation, 'reserve', { doubtUntilMs: wallMs(clock) + times.doubtMs })
    step.progress(`reserve ${name}`)
    try {
      const held = await provisioner.reserve(tag, place, step)
      intents.change(tag, { ...identityOf(allocation, held), doubtUntilMs })
      return null
    } catch (error) {
      if (codeOf(error) !== 'EBUSY') throw error
      intents.change(tag, { doubtUntilMs })
      return this.#turnBack(allocation, `${name}: somebody else was quicker`)
    }
  }

  #toGive(allocation: Allocation, held: HeldDrive | null): DiskToGive {
    const { tag, driveId } = allocation
    const isLost = this.#lost.has(tag)
    const mayBeHidden = isLost || driveId === null || wasLetGo(allocation)
    return { ...identityOf(allocation, held), tag, drive: driveId, mayBeHidden, isLost }
  }

  async #make(allocation: Allocation, step: Step): Promise<Standing | null> {
    const { host, times, random, intents } = this.#world
    const { name, tag } = allocation
    try {
      this.#intend(allocation, 'wait')
      step.progress(`wait for this host to show ${name}, up to ${durationWords(times.diskMs)}`)
      const wanted = { ...identityOf(allocation, null), drive: allocation.driveId }
      const disk = await host.waitForDisk(wanted, times.diskMs, step)
      const id = allocation.driveId ?? newId<DriveId>(random)
      this.#intend(allocation, 'make', { driveId: id })
      step.progress(`make ${name} a drive`)
      await host.makeDrive(disk, { tag, id, class: allocation.class }, step)
    } catch (error) {
      if (step.signal.aborted || !DISK_TROUBLE.has(codeOf(error))) throw error
      // It has on it what is not ours, and is given back as it came.
      if (codeOf(error) === 'EUCLEAN') intents.change(tag, { driveId: null })
      return this.#turnBack(allocation, `${name}: ${messageOf(error)}`)
    }
    return null
  }

  #settled(allocation: Allocation, drive: PoolDrive): Standing {
    const { intents, log } = this.#world
    const { tag, name } = allocation
    intents.change(tag, { step: 'settled', driveId: drive.id, lastError: '' })
    this.#deviceGone.delete(tag)
    log.info({ op: 'provision.settled', tag, drive: drive.id }, 'a drive was taken from the frame')
    return { is: 'settled', words: `${name} is drive ${drive.id}` }
  }

  #turnBack(allocation: Allocation, words: string): Standing {
    const { clock, times } = this.#world
    this.#avoided.set(allocation.place, clock.monotonicMs() + times.avoidMs)
    this.turnOut(allocation.tag, words)
    return { is: 'turned-back', words }
  }

  async #unlessPower(
    allocation: Allocation,
    call: () => Promise<unknown>,
  ): Promise<Standing | null> {
    try {
      await call()
      return null
    } catch (error) {
      if (!isPowerRefusal(error)) throw error
      const words = powerWords(allocation, messageOf(error))
      this.#world.intents.change(allocation.tag, { step: NEEDS_POWER_OFF, lastError: words })
      return { is: 'needs-power-off', words }
    }
  }

  /** On disk before the step is begun. */
  #intend(
    { tag, step: before }: Allocation,
    step: Allocation['step'],
    more: Partial<Pick<Allocation, 'doubtUntilMs' | 'driveId'>> = {},
  ): void {
    this.#world.intents.change(tag, { ...more, step })
    this.#world.log.info({ op: 'provision.step', tag, step, before }, 'next step')
  }

  #isAvoided(place: string): boolean {
    const untilMs = this.#avoided.get(place)
    return untilMs !== undefined && untilMs > this.#world.clock.monotonicMs()
  }
}

export function isPowerRefusal(error: unknown): boolean {
  return error instanceof FsError && error.code === 'EPERM' && error.subject.needsPowerOff === true
}

export function powerRefusal(verb: string, tag: string, message: string): FsError {
  return new FsError('EPERM', `provision.${verb}`, { tag, needsPowerOff: true, message })
}

function powerWords({ tag, name, towards }: Allocation, reason: string): string {
  const [what, other] =
    towards === 'out'
      ? ['taken from this server', 'leave it where it is: nothing is on it any more']
      : ['put before this server', `give it back unused with \`weft synergy release ${tag}\``]
  return `${name} is set aside but the appliance says it is ${what} only with the server off (${reason}). Choose: change the profile yourself at the next shutdown, then weft synergy reconcile --retry-power; or ${other}`
}

/** The appliance may know the drive better than the list it was picked from; or, of one that it does not show now, nothing. */
function identityOf(allocation: Allocation, held: HeldDrive | null): DiskIdentity {
  return {
    serial: held?.serial || allocation.serial,
    wwid: held?.wwid || allocation.wwid,
    sizeBytes: held?.sizeBytes || allocation.sizeBytes,
  }
}

/**
 * It was looked at, last of all when it was taken out of the pool, and the kernel may have let go of it since: on that way the power
 * is asked for last. One that is in the pool all the same is drained, and looked at, anew.
 */
function wasLetGo({ towards, step }: Allocation): boolean {
  return towards === 'out' && LET_GO.has(step)
}

const LET_GO: ReadonlySet<Allocation['step']> = new Set([
  'takeOut',
  'deleteDevice',
  'detach',
  'release',
  'forget',
  NEEDS_POWER_OFF,
])

function noneGood(cos: ServiceClass, failures: readonly string[]): FsError {
  return new FsError('EIO', 'provision.allocate', {
    class: cos,
    message: `allocate: ${ATTEMPTS_MAX} drives were tried and none could be used; the last: ${failures.at(-1)}; see \`weft synergy status\``,
  })
}

function noneFree(cos: ServiceClass, failures: readonly string[]): FsError {
  const tried = failures.length === 0 ? '' : `; tried before: ${failures.join('; ')}`
  return new FsError('ENOSPC', 'provision.allocate', {
    class: cos,
    message: `allocate: no free drive of class ${cos} is in this node's reach${tried}; \`weft synergy free\` shows those of other classes`,
  })
}
