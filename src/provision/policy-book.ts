import { join } from 'node:path'
import { type Clock, wallMs } from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import type { ServiceClass } from '../drives/index.ts'
import type { PoolDrive } from './host.ts'
import type { Allocation } from './intents.ts'
import type { Decision, PastAct } from './policy.ts'
import { type LogEntry, PolicyLog } from './policy-log.ts'
import { changeSettings, type PolicySettings, type PolicyWords, settingsWords } from './settings.ts'
import { readSettings, writeSettings } from './settings-file.ts'
import { UseRates } from './use-rate.ts'

/** Before a frame has shown how long it takes to give a drive: an edit of a profile, and the host's wait. */
const GROW_MS_DEFAULT = 20 * 60_000
/** The longest of so many counts. */
const GROW_TIMES = 5

/** What the policy remembers: its settings, what it did and why, how fast pools fill, how long a frame takes. */
export class PolicyBook {
  readonly #disk: Disk
  readonly #clock: Clock
  readonly #settingsPath: string
  readonly #log: PolicyLog
  readonly #rates = new UseRates()
  /** What was last said of each class, but for its numbers: the same is written once. */
  readonly #said = new Map<ServiceClass, string>()
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
    const used = new Map<ServiceClass, number>()
    for (const { class: cos, usedBytes } of drives) {
      used.set(cos, (used.get(cos) ?? 0) + usedBytes)
    }
    for (const [cos, bytes] of used) this.#rates.see(cos, this.#clock.monotonicMs(), bytes)
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
      what === 'ended' && act === 'grow' && ms !== null ? [ms] : [],
    )
    return times.length === 0 ? GROW_MS_DEFAULT : Math.max(...times.slice(-GROW_TIMES))
  }

  /** What was begun counts, whatever came of it. */
  acts(): readonly PastAct[] {
    return this.entries.filter(({ what }) => what === 'began')
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

  noteBegin(decision: Act): void {
    this.#note('began', decision.do, decision, drivesOf(decision), decision.why, null)
  }

  /** @param ms that it took */
  noteEnd(decision: Act, ms: number): void {
    const drives = drivesOf(decision)
    this.#note('ended', decision.do, decision, drives, decision.why, Math.round(ms / drives))
  }

  /** What an earlier life of the daemon had begun is done: making a drive, and taking one out, restarts it. */
  noteDone({ class: cos, sinceMs, towards, name }: Allocation): void {
    const nowMs = wallMs(this.#clock)
    const act = towards === 'out' ? 'shrink' : 'grow'
    const why = `${name}: gone on with after a restart of the daemon`
    const ms = Math.max(0, nowMs - sinceMs)
    this.#log.add({ atMs: nowMs, what: 'ended', act, class: cos, drives: 1, ms, why, numbers: {} })
  }

  noteFailure(decision: Act, why: string): void {
    this.#note('failed', decision.do, decision, drivesOf(decision), why, null)
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
