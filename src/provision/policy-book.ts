import { join } from 'node:path'
import { type Clock, wallMs } from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import type { ServiceClass } from '../drives/index.ts'
import type { PoolDrive } from './host.ts'
import type { Allocation } from './intents.ts'
import type { Decision, Failure, PastAct } from './policy.ts'
import { type LogEntry, PolicyLog } from './policy-log.ts'
import { changeSettings, type PolicySettings, type PolicyWords, settingsWords } from './settings.ts'
import { readSettings, writeSettings } from './settings-file.ts'
import { UseRates } from './use-rate.ts'

/** Before a frame has shown how long it takes to give a drive: an edit of a profile, and the host's wait. */
const GROW_MS_DEFAULT = 20 * 60_000
/** The longest of so many counts. */
const GROW_TIMES = 5
/** Their durations are those of a frame that gives a drive. */
const TIMED: ReadonlySet<LogEntry['what']> = new Set(['ended', 'paused', 'by-hand'])
/** After the first failure; twice as long after each further one, up to the longest. */
const REST_MS = 60_000
const REST_MS_MAX = 30 * 60_000

/** What the policy remembers: its settings, what it did and why, how fast pools fill, how long a frame takes. */
export class PolicyBook {
  readonly #disk: Disk
  readonly #clock: Clock
  readonly #settingsPath: string
  readonly #log: PolicyLog
  readonly #rates = new UseRates()
  /** What was last said of each class, but for its numbers: the same is written once. */
  readonly #said = new Map<ServiceClass, string>()
  /** Of growing, since it last went well. */
  readonly #failures = new Map<ServiceClass, { count: number; untilMs: number; why: string }>()
  #settings: PolicySettings

  /** @throws CorruptError, FsError when a file can not be read */
  constructor(disk: Disk, directory: string, clock: Clock) {
    this.#disk = disk
    this.#clock = clock
    this.#settingsPath = join(directory, 'policy.json')
    this.#settings = readSettings(disk, this.#settingsPath)
    this.#log = new PolicyLog(disk, join(directory, 'policy.log'))
  }

  get settings(): PolicySettings {
    return this.#settings
  }

  get entries(): readonly LogEntry[] {
    return this.#log.entries()
  }

  /** Durable when it returns. @throws FsError EINVAL */
  set(words: PolicyWords): PolicySettings {
    const settings = changeSettings(this.#settings, words)
    writeSettings(this.#disk, this.#settingsPath, settings)
    this.#settings = settings
    this.#said.clear()
    this.#log.add({
      ...{ atMs: wallMs(this.#clock), what: 'settings', act: 'set', class: null },
      ...{ drives: 0, ms: null, why: settingsWords(settings), numbers: {} },
    })
    return settings
  }

  see(drives: readonly PoolDrive[]): void {
    const used = new Map<ServiceClass, { bytes: number; ids: string }>()
    for (const { id, class: cos, state, usedBytes } of drives) {
      if (cos === null || state === 'gone') continue
      const { bytes, ids } = used.get(cos) ?? { bytes: 0, ids: '' }
      used.set(cos, { bytes: bytes + usedBytes, ids: `${ids} ${id}` })
    }
    const nowMs = this.#clock.monotonicMs()
    for (const [cos, { bytes, ids }] of used) this.#rates.see(cos, nowMs, bytes, ids)
  }

  /** Bytes a millisecond. */
  rateOf(cos: ServiceClass): number {
    return this.#rates.bytesPerMs(cos)
  }

  /** Milliseconds. */
  seenOf(cos: ServiceClass): number {
    return this.#rates.seenMs(cos)
  }

  /** How long a frame takes to give one drive. */
  growMs(): number {
    const times = this.entries.flatMap(({ what, act, ms }) =>
      TIMED.has(what) && act === 'grow' && ms !== null ? [ms] : [],
    )
    return times.length === 0 ? GROW_MS_DEFAULT : Math.max(...times.slice(-GROW_TIMES))
  }

  /** What was begun counts, unless it failed and moved nothing; what a person did is of no budget, and cooled down after too. */
  acts(): readonly PastAct[] {
    const acts: (PastAct & Pick<LogEntry, 'act' | 'class'>)[] = []
    for (const { what, act, class: cos, atMs, drives } of this.entries) {
      if (what === 'began') acts.push({ act, class: cos, atMs, drives })
      if (what === 'by-hand') acts.push({ act, class: cos, atMs, drives: 0 })
      if (what !== 'failed' || drives > 0) continue
      const at = acts.findLastIndex((one) => one.act === act && one.class === cos && one.drives > 0)
      if (at >= 0) acts.splice(at, 1)
    }
    return acts
  }

  /** Null when the last try to grow a class went well, or has been rested from for long enough. */
  failureOf(cos: ServiceClass): Failure | null {
    const failure = this.#failures.get(cos)
    if (!failure) return null
    const waitMs = failure.untilMs - this.#clock.monotonicMs()
    return waitMs > 0 ? { why: failure.why, waitMs } : null
  }

  /** Refusals, and what a dry run would do, when they are not what was said before. */
  noteWords(decisions: readonly Decision[]): void {
    for (const decision of decisions) {
      const isRefusal = decision.do === 'refused'
      const wanted = isRefusal ? decision.wanted : decision.do
      const said = `${wanted} ${isRefusal ? decision.because : ''}`
      const isNews = this.#said.get(decision.class) !== said
      this.#said.set(decision.class, said)
      if (!isNews || wanted === 'none') continue
      if (isRefusal) this.#note('refused', wanted, decision, 0, decision.why, null)
      else if (this.#settings.dryRun) this.#note('would', wanted, decision, 0, decision.why, null)
    }
  }

  /** A person has had drives taken, or one given back. @param ms of each, where that tells how long the frame takes */
  noteByHand(act: 'grow' | 'shrink', cos: ServiceClass, drives: number, ms: number | null): void {
    const why = act === 'grow' ? 'allocate' : 'release'
    const atMs = wallMs(this.#clock)
    const entry = { atMs, act, class: cos, drives, ms, why, numbers: {} }
    this.#log.add({ ...entry, what: 'by-hand' })
  }

  /** Nothing but the daemon's restart stands between a drive and its being in use: so long the frame has taken. */
  notePause(decision: Act, ms: number): void {
    const why = 'goes on with the next life of the daemon'
    this.#note('paused', decision.do, decision, drivesOf(decision), why, Math.round(ms))
  }

  /** A drive stands ready, or is on its way to that; it is of no budget, for nothing was put on it. */
  notePrepared(cos: ServiceClass, why: string): void {
    this.#failures.delete(cos)
    this.#noteReady('ended', cos, 1, why)
  }

  noteNotPrepared(cos: ServiceClass, why: string): void {
    this.#rest(cos, why)
    this.#noteReady('failed', cos, 0, why)
  }

  #noteReady(what: LogEntry['what'], cos: ServiceClass, drives: number, why: string): void {
    const entry = { atMs: wallMs(this.#clock), what, class: cos, drives, why } as const
    this.#log.add({ ...entry, act: 'prepare', ms: null, numbers: {} })
  }

  #rest(cos: ServiceClass, why: string): void {
    const count = (this.#failures.get(cos)?.count ?? 0) + 1
    const restMs = Math.min(REST_MS_MAX, REST_MS * 2 ** (count - 1))
    this.#failures.set(cos, { count, untilMs: this.#clock.monotonicMs() + restMs, why })
  }

  noteBegin(decision: Act): void {
    this.#note('began', decision.do, decision, drivesOf(decision), decision.why, null)
  }

  /** @param ms that it took */
  noteEnd(decision: Act, ms: number): void {
    if (decision.do === 'grow') this.#failures.delete(decision.class)
    const drives = drivesOf(decision)
    this.#note('ended', decision.do, decision, drives, decision.why, Math.round(ms / drives))
  }

  /**
   * What was begun earlier is done. How long it took is not known: the node, or the frame, may have been away meanwhile, and a
   * frame that seems to take a day is asked a day too early.
   */
  noteDone({ class: cos, towards, name }: Allocation): void {
    const act = towards === 'out' ? 'shrink' : 'grow'
    const why = `${name}: gone on with later`
    const entry = { atMs: wallMs(this.#clock), act, class: cos, drives: 1, ms: null } as const
    if (act === 'grow') this.#failures.delete(cos)
    this.#log.add({ ...entry, what: 'ended', why, numbers: {} })
  }

  /** @param drives that it has moved all the same */
  noteFailure(decision: Act, why: string, drives: number): void {
    if (decision.do === 'grow') this.#rest(decision.class, why)
    this.#note('failed', decision.do, decision, drives, why, null)
  }

  #note(
    what: LogEntry['what'],
    act: LogEntry['act'],
    { class: cos, numbers }: Decision,
    drives: number,
    why: string,
    ms: number | null,
  ): void {
    const atMs = wallMs(this.#clock)
    this.#log.add({ atMs, what, act, class: cos, drives, ms, why, numbers: { ...numbers } })
  }
}

/** A decision by which something is done. */
export type Act = Extract<Decision, { do: 'grow' | 'shrink' }>

function drivesOf(act: Act): number {
  return act.do === 'grow' ? act.drives : 1
}
