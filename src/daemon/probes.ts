import type { VolumeProbe } from '../api/index.ts'
import {
  background,
  type Clock,
  codeOf,
  isBug,
  isoTime,
  type Log,
  messageOf,
  type VolumeId,
} from '../base/index.ts'

/** A volume that is probed. */
export interface ProbeTarget {
  readonly volume: VolumeId
  /** Of one owner's life, or one session: what was found of another says nothing of this. */
  readonly life: string
  readonly kind: 'commit' | 'call'
  /** Fulfilled when it went all the way. Called once. */
  run(): Promise<void>
  /** What `run` waits for now, in words. */
  waitsFor(): string
  /** Somebody whom it needs has not been heard of lately: who asks is not answered with what was so before. */
  isDoubtful(): boolean
  /** Grows with every record that is on stable storage on every copy in sync; null where this node does not know. */
  committed(): number | null
}

/** One that is not. */
export interface Unprobed {
  readonly volume: VolumeId
  readonly why: 'locked' | 'closed' | 'unused'
}

export interface ProbesWorld {
  /** Every volume as it stands now. */
  look(): Iterable<ProbeTarget | Unprobed>
  readonly clock: Clock
  readonly log: Log
}

/** What is known of one life of one volume. */
interface Known {
  /** As it was looked at last. */
  target: ProbeTarget
  underWay: { readonly target: ProbeTarget; readonly sinceMs: number; over: Promise<void> } | null
  begunMs: number
  failure: { readonly code: string; readonly why: string; readonly atMs: number } | null
  /** The last success, a program's commit too. */
  succeeded: { readonly atMs: number; readonly at: string } | null
  /** Of the last probe that succeeded. */
  tookMs: number | null
  committed: number | null
}

/** Between two probes of a volume that nobody asks about. */
const REST_MS = 30_000
/** Whoever asks gets one that is not older … */
const FRESH_MS = 10_000
/** … and where it may be otherwise by now, a newer one. */
const FRESH_DOUBTFUL_MS = 1000
/** Whoever asks waits so long at most; one that has taken as long is told as no answer. */
const WAIT_MS = 900
const SILENT_MS = 850
const TICK_MS = 1000
/** Each holds the image of a chunk, and the engine's thread takes them one after the other. */
const UNDER_WAY_MAX = 64

/**
 * What status says of volumes: whether a probe that goes the way of a program's calls comes back, and how long that takes.
 * At rest each is probed every half minute. Not while programs' commits succeed: a commit of theirs that is on every copy
 * is a better probe than any of ours. It takes no word of the control plane's for it, nor does it wait for a hung volume.
 */
export class Probes {
  readonly #world: ProbesWorld
  readonly #known = new Map<VolumeId, Known>()
  readonly #unprobed = new Map<VolumeId, Unprobed['why']>()
  #underWay = 0
  #cancel: (() => void) | null = null
  #isClosed = false

  constructor(world: ProbesWorld) {
    this.#world = world
  }

  start(): void {
    this.#cancel = this.#world.clock.after(TICK_MS, () => {
      this.#look()
      for (const known of this.#known.values()) this.#atRest(known)
      if (!this.#isClosed) this.start()
    })
  }

  /** What is under way is left to its end. */
  close(): void {
    this.#isClosed = true
    this.#cancel?.()
  }

  /** Probes what was not probed lately, and waits for that, at most for WAIT_MS in all. */
  async fresh(): Promise<void> {
    this.#look()
    for (const known of this.#known.values()) {
      const isDoubtful = known.failure !== null || known.target.isDoubtful()
      this.#beginAfter(known, isDoubtful ? FRESH_DOUBTFUL_MS : FRESH_MS)
    }
    const over = [...this.#known.values()].flatMap(({ underWay }) => underWay?.over ?? [])
    let cancel = () => {}
    const late = new Promise<void>((resolve) => {
      cancel = this.#world.clock.after(WAIT_MS, resolve)
    })
    await Promise.race([Promise.allSettled(over), late])
    cancel()
  }

  of(volume: VolumeId): VolumeProbe {
    const known = this.#known.get(volume)
    const nothing = { kind: null, ms: null, succeededAt: null, succeededSeconds: null }
    const none = { forSeconds: 0, waitsFor: '', code: '', why: '' }
    if (!known) {
      return { state: this.#unprobed.get(volume) ?? 'unknown', ...nothing, ...none }
    }
    const now = this.#world.clock.monotonicMs()
    const secondsSince = (ms: number) => Math.max(0, Math.floor((now - ms) / 1000))
    const { target, underWay, failure, succeeded, tookMs } = known
    const seen = {
      kind: target.kind,
      ms: tookMs,
      succeededAt: succeeded?.at ?? null,
      succeededSeconds: succeeded && secondsSince(succeeded.atMs),
      ...none,
    }
    if (underWay && now - underWay.sinceMs >= SILENT_MS) {
      const waitsFor = underWay.target.waitsFor()
      return { state: 'silent', ...seen, forSeconds: secondsSince(underWay.sinceMs), waitsFor }
    }
    if (failure?.code === 'ENOKEY') return { state: 'locked', ...seen }
    if (failure) {
      const { code, why, atMs } = failure
      return { state: 'failed', ...seen, forSeconds: secondsSince(atMs), code, why }
    }
    return { state: succeeded ? 'ok' : 'unknown', ...seen }
  }

  #look(): void {
    const { look, clock } = this.#world
    const there = new Set<VolumeId>()
    this.#unprobed.clear()
    for (const found of look()) {
      if ('why' in found) {
        this.#unprobed.set(found.volume, found.why)
        continue
      }
      there.add(found.volume)
      let known = this.#known.get(found.volume)
      if (known?.target.life !== found.life) {
        known = newlyKnown(found)
        this.#known.set(found.volume, known)
      }
      known.target = found
      const committed = found.committed()
      if (committed !== null && committed > (known.committed ?? committed)) {
        known.succeeded = { atMs: clock.monotonicMs(), at: isoTime(clock) }
      }
      known.committed = committed
    }
    for (const volume of this.#known.keys()) if (!there.has(volume)) this.#known.delete(volume)
  }

  /** A commit of a program's since the last probe is a better one, but says nothing of what failed in that. */
  #atRest(known: Known): void {
    const { failure, succeeded } = known
    const { clock } = this.#world
    const isUsed = succeeded !== null && clock.monotonicMs() - succeeded.atMs < REST_MS
    if (failure || !isUsed) this.#beginAfter(known, REST_MS)
  }

  /** Unless one is under way, or began less than so long ago. */
  #beginAfter(known: Known, ms: number): void {
    if (known.underWay || this.#isClosed || this.#underWay >= UNDER_WAY_MAX) return
    if (this.#world.clock.monotonicMs() - known.begunMs >= ms) this.#begin(known)
  }

  #begin(known: Known): void {
    const { clock } = this.#world
    const { target } = known
    const sinceMs = clock.monotonicMs()
    known.begunMs = sinceMs
    this.#underWay++
    const over = target
      .run()
      .then(
        () => {
          const atMs = clock.monotonicMs()
          if (known.failure) this.#log(known, null)
          known.failure = null
          known.succeeded = { atMs, at: isoTime(clock) }
          known.tookMs = atMs - sinceMs
        },
        (error: unknown) => {
          const code = codeOf(error) || 'EIO'
          const failure = { code, why: messageOf(error), atMs: clock.monotonicMs() }
          if (known.failure?.code !== code) this.#log(known, failure)
          known.failure = failure
          if (isBug(error)) throw error
        },
      )
      .finally(() => {
        known.underWay = null
        this.#underWay--
      })
    known.underWay = { target, sinceMs, over }
    over.catch(background(this.#world.log, 'probe'))
  }

  /** Of a volume that has moved on meanwhile nothing is said. */
  #log({ target }: Known, failure: Known['failure']): void {
    const { volume, life } = target
    if (this.#known.get(volume)?.target.life !== life) return
    const { log } = this.#world
    if (failure) {
      const { code, why } = failure
      log.warn({ op: 'probe', volume, code, why }, 'a probe of the volume failed')
    } else log.info({ op: 'probe', volume }, 'probes of the volume succeed again')
  }
}

function newlyKnown(target: ProbeTarget): Known {
  return {
    target,
    underWay: null,
    begunMs: Number.NEGATIVE_INFINITY,
    failure: null,
    succeeded: null,
    tookMs: null,
    committed: null,
  }
}
