import { z } from 'zod'
import { type Clock, FsError } from '../../base/index.ts'
import type { Step } from '../provisioner.ts'
import type { Appliance } from './appliance.ts'
import type { Frame } from './frame.ts'
import type { Inventory, Seat } from './inventory.ts'
import { decode, drive, eTagOf, indexDrive, type LogicalJbod, logicalJbod } from './resources.ts'
import { followTask } from './tasks.ts'
import { Patience } from './waiting.ts'

/** HPE's own tests allow a JBOD six minutes to be Configured (facts §5). */
const CONFIGURE = { stepMs: 1000, msMax: 10_000, limitMs: 20 * 60_000 }
/** Sanitising a large disk goes over all of it. */
const ERASE = { stepMs: 5000, msMax: 60_000, limitMs: 24 * 3600_000 }
/** How long a JBOD that was asked for may be on its way to the list. */
const MAKE = { stepMs: 1000, msMax: 10_000, limitMs: 10 * 60_000 }
/** How long another operation on the same JBOD is waited for. */
const BUSY = { stepMs: 2000, msMax: 10_000, limitMs: 60 * 60_000 }
/** How long a JBOD may take to show that it will keep its data: meanwhile that is asked for again. */
const KEEP = { stepMs: 1000, msMax: 5000, limitMs: 2 * 60_000 }
/** How long after somebody else's JBOD took a bay it may not yet be listed [?]. */
const LISTED = { stepMs: 2000, msMax: 5000, limitMs: 20_000 }

const driveList = z.array(drive)

/**
 * Logical JBODs of one drive each, named with the tag they were made for. What they are made of is fixed; they are made
 * and deleted only (facts §5).
 */
export class LogicalJbods {
  readonly #appliance: Appliance
  readonly #frame: Frame
  readonly #clock: Clock

  constructor(appliance: Appliance, frame: Frame, clock: Clock) {
    this.#appliance = appliance
    this.#frame = frame
    this.#clock = clock
  }

  /** Null when there is none. @throws FsError EEXIST when two have the name: which is meant nobody can tell */
  async find(tag: string, signal: AbortSignal): Promise<LogicalJbod | null> {
    const [first, second] = await this.#frame.jbodsNamed(tag, signal)
    if (second === undefined) return first ?? null
    throw new FsError('EEXIST', 'oneview.jbod', {
      tag,
      message: `oneview: two logical JBODs are named ${tag}`,
      next: 'somebody made the second by hand: rename or delete it in OneView',
    })
  }

  /** @throws FsError ENOENT */
  async mustFind(tag: string, signal: AbortSignal): Promise<LogicalJbod> {
    const jbod = await this.find(tag, signal)
    if (jbod !== null) return jbod
    throw new FsError('ENOENT', 'oneview.jbod', {
      tag,
      message: `oneview: no logical JBOD is named ${tag}: the drive was never set aside, or was given back`,
      next: 'set a drive aside first',
    })
  }

  /**
   * The bays of its drives. Releases name them in the JBOD, or not; then its list of drives tells (facts §5). Empty when
   * the appliance says nothing.
   */
  async seatsOf(jbod: LogicalJbod, inventory: Inventory, signal: AbortSignal): Promise<Seat[]> {
    const named = jbod.driveBayUris ?? []
    if (named.length > 0) return named.flatMap((uri) => inventory.atBay(uri) ?? [])
    try {
      const purpose = { op: 'oneview.jbod', what: `read the drives of ${jbod.name}` }
      const answer = await this.#appliance.get(`${jbod.uri}/drives`, purpose, signal)
      const drives = decode(driveList, answer.body ?? [], `the drives of ${jbod.name}`)
      return drives.flatMap((one) => inventory.ofDrive(one) ?? [])
    } catch (error) {
      // Deleted since it was listed.
      if (error instanceof FsError && error.code === 'ENOENT') return []
      throw error
    }
  }

  /** Bays that are in any JBOD, whoever's. */
  async takenBays(inventory: Inventory, signal: AbortSignal): Promise<Set<string>> {
    const taken = new Set<string>()
    for (const jbod of await this.#frame.jbods(signal)) {
      for (const { bay } of await this.seatsOf(jbod, inventory, signal)) taken.add(bay.uri)
    }
    return taken
  }

  /**
   * The JBOD of this tag, made of the drive in this bay unless there is one already. A bay is in one JBOD at most, so asking
   * twice, after an answer was lost, makes no second.
   * @throws FsError EBUSY when another JBOD has the drive
   */
  async make(tag: string, bayUri: string, step: Step): Promise<LogicalJbod> {
    const patience = new Patience(this.#clock, MAKE)
    let asked: 'not yet' | 'maybe' | 'yes' = 'not yet'
    let last: unknown
    for (;;) {
      const jbod = await this.find(tag, step.signal)
      if (jbod !== null) return this.#untilConfigured(jbod, step)
      try {
        if (asked !== 'yes') await this.#post(tag, bayUri, step)
        asked = 'yes'
      } catch (error) {
        last = error
        if (isUnclear(error)) asked = 'maybe'
        // Refused because the first request, whose answer was lost, is being carried out.
        else if (asked === 'maybe') asked = 'yes'
        else if (!isOfTheDrive(error)) throw error
        else if (await this.#isTaken(bayUri, tag, step.signal)) throw takenError(tag, bayUri, error)
        else if (!isLocked(error)) throw error
      }
      if (!(await patience.again(step.signal))) throw neverListed(tag, last)
    }
  }

  async #post(tag: string, bayUri: string, step: Step): Promise<void> {
    const purpose = { op: 'oneview.reserve', what: `make logical JBOD ${tag}` }
    const body = {
      name: tag,
      description: 'Made by weft, which deletes it when it gives the drive back.',
      driveBayUris: [bayUri],
      eraseData: true,
    }
    const write = { method: 'POST', path: '/rest/sas-logical-jbods', body } as const
    const answer = await this.#appliance.write(write, purpose, step.signal)
    await followTask(this.#appliance, answer, purpose, step, this.#clock)
  }

  /** Whose fault a refusal is, no code that we know tells: the drive itself does. */
  async #isTaken(bayUri: string, tag: string, signal: AbortSignal): Promise<boolean> {
    const inventory = await this.#frame.inventory(signal)
    const patience = new Patience(this.#clock, LISTED)
    do {
      for (const jbod of await this.#frame.jbods(signal)) {
        if (jbod.name === tag) continue
        const seats = await this.seatsOf(jbod, inventory, signal)
        if (seats.some(({ bay }) => bay.uri === bayUri)) return true
      }
      const seat = inventory.atBay(bayUri)
      if (seat !== undefined && (await this.#indexOf(seat, signal))?.attributes.available === 'no')
        return true
    } while (await patience.again(signal))
    return false
  }

  async #untilConfigured(jbod: LogicalJbod, step: Step): Promise<LogicalJbod> {
    const patience = new Patience(this.#clock, CONFIGURE)
    for (let now = jbod; ; now = await this.#read(jbod.uri, step.signal)) {
      if (isConfigured(now)) return now
      const words = `logical JBOD ${jbod.name} is ${now.state}`
      step.progress(words)
      const isIll = now.state === 'ConfigError'
      if (!isIll && (await patience.again(step.signal))) continue
      throw new FsError('EIO', 'oneview.reserve', {
        jbod: jbod.uri,
        retry: isIll ? 'never' : 'later',
        message: `oneview: ${words}${now.stateReason ? ` (${now.stateReason})` : ''}`,
        next: 'look at it and at the SAS interconnects in OneView; weft can give the drive back and take another',
      })
    }
  }

  /** @throws FsError ENOENT */
  async #read(uri: string, signal: AbortSignal): Promise<LogicalJbod> {
    const purpose = { op: 'oneview.jbod', what: 'read the logical JBOD' }
    return decode(logicalJbod, (await this.#appliance.get(uri, purpose, signal)).body, uri)
  }

  /** Returns when it is gone; also when it was before. @throws FsError EBUSY when a server profile still names it */
  async delete(
    { uri, name }: LogicalJbod,
    step: Step,
    { keepsData }: { readonly keepsData: boolean },
  ): Promise<void> {
    const purpose = { op: 'oneview.release', what: `delete logical JBOD ${name}` }
    const patience = new Patience(this.#clock, BUSY)
    let keeping: Patience | null = null
    for (;;) {
      try {
        const now = await this.#read(uri, step.signal)
        if (keepsData && String(now.eraseData) !== 'false') {
          if (keeping && !(await keeping.again(step.signal))) throw erasesAnyway(now)
          keeping ??= new Patience(this.#clock, KEEP)
          await this.#keepData(now, step)
          continue
        }
        const write = { method: 'DELETE', path: uri, ifMatch: eTagOf(now) } as const
        const answer = await this.#appliance.write(write, purpose, step.signal)
        return await followTask(this.#appliance, answer, purpose, step, this.#clock)
      } catch (error) {
        if (!(error instanceof FsError)) throw error
        const { code, retry, subject } = error
        const isUnclear = subject.done === 'maybe'
        // Also one whose task is gone: that is not the JBOD.
        if (code === 'ENOENT' && !isUnclear) return
        const mayRedo = code === 'ESTALE' || retry === 'later' || isUnclear
        if (!mayRedo || !(await patience.again(step.signal))) throw error
      }
    }
  }

  /** From true to false it goes, and not back. Source: facts §5 */
  async #keepData(jbod: LogicalJbod, step: Step): Promise<void> {
    const purpose = { op: 'oneview.release', what: `have ${jbod.name} deleted without erasing` }
    const body = [{ op: 'replace', path: '/eraseData', value: 'false' }]
    const ifMatch = eTagOf(jbod)
    const write = { method: 'PATCH', path: jbod.uri, body, ifMatch } as const
    const answer = await this.#appliance.write(write, purpose, step.signal)
    await followTask(this.#appliance, answer, purpose, step, this.#clock)
  }

  /** Until the index has the drive as available: while it is erased it is not (facts §5, §9). */
  async untilFree(seat: Seat, step: Step): Promise<void> {
    const patience = new Patience(this.#clock, ERASE)
    for (;;) {
      const index = await this.#indexOf(seat, step.signal)
      // Pulled out, or broken: nobody will get it, and nothing is left to wait for.
      if (index === null || index.status === 'Critical') return
      if (index.attributes.available === 'yes') return
      step.progress('the appliance erases the drive')
      if (await patience.again(step.signal)) continue
      throw new FsError('EAGAIN', 'oneview.release', {
        bay: seat.bay.uri,
        retry: 'later',
        message: `oneview: the drive in ${seat.bay.uri} is not free after ${ERASE.limitMs / 3600_000} hours`,
        next: 'look at the drive in OneView: its erasing may have failed',
      })
    }
  }

  async #indexOf(seat: Seat, signal: AbortSignal) {
    const id = seat.drive.uri?.split('/').at(-1)
    const purpose = { op: 'oneview.index', what: 'read the drive in the index' }
    try {
      const answer = await this.#appliance.get(
        `/rest/index/resources/rest/drives/${id}`,
        purpose,
        signal,
      )
      return decode(indexDrive, answer.body, 'a drive of the index')
    } catch (error) {
      if (error instanceof FsError && error.code === 'ENOENT') return null
      throw error
    }
  }
}

/** Other states than these two are on the way to one of them [?]: facts §5 knows no full list. */
export function isConfigured({ state }: LogicalJbod): boolean {
  return state === 'Configured'
}

function isUnclear(error: unknown): boolean {
  return error instanceof FsError && error.code !== 'ECANCELED' && error.subject.done === 'maybe'
}

/** A refusal that may be for the drive's sake; others are of the user, the session or the appliance. */
function isOfTheDrive(error: unknown): boolean {
  return error instanceof FsError && ['EINVAL', 'EBUSY', 'ENOENT', 'EIO'].includes(error.code)
}

/** 409: another operation has something that is needed, and ends. */
function isLocked(error: unknown): boolean {
  return error instanceof FsError && error.code === 'EBUSY' && error.retry === 'later'
}

function erasesAnyway({ uri, name }: LogicalJbod): FsError {
  return new FsError('EIO', 'oneview.release', {
    jbod: uri,
    message: `oneview: logical JBOD ${name} was to be deleted without erasing its drive, and the appliance goes on saying that it erases it`,
    next: 'delete it in OneView, with the choice to keep the data',
  })
}

function takenError(tag: string, bayUri: string, cause: unknown): FsError {
  return new FsError('EBUSY', 'oneview.reserve', {
    tag,
    place: bayUri,
    cause,
    message: `oneview: the drive in ${bayUri} was taken by somebody else meanwhile`,
    next: 'take another one',
  })
}

function neverListed(tag: string, cause: unknown): FsError {
  return new FsError('EAGAIN', 'oneview.reserve', {
    tag,
    cause,
    retry: 'later',
    message: `oneview: the appliance was asked for logical JBOD ${tag} and does not list it`,
    next: 'look at the activity page of the appliance',
  })
}
