import { type Clock, FsError, isBug, wallMs } from '../base/index.ts'
import type { Step } from './provisioner.ts'
import { timeWords } from './words.ts'

/** What is being done with the frame's drives. */
export interface UnderWay {
  /** 'grow', for a person. */
  readonly what: string
  readonly towards: 'in' | 'out'
  /** Wall clock. */
  readonly sinceMs: number
  /** What goes on just now. */
  readonly words: string
}

interface Running extends UnderWay {
  words: string
  readonly abort: AbortController
}

/**
 * Who does something with the frame's drives of a node, and when. Taking drives is done by one at a time, in order, and while
 * nothing is given back. Giving back, which may be hours of draining and erasing, is done by several side by side, and keeps nobody
 * from taking: it steps aside when somebody comes for that, and begins anew when nobody takes any more. What it does can be begun
 * anew at any time (reconcile.ts).
 */
export class Turn {
  readonly #clock: Clock
  readonly #running = new Set<Running>()
  /** Of those who give back; they are ended when it is empty. */
  readonly #outs = new Set<Promise<unknown>>()
  #lastIn: Promise<unknown> = Promise.resolve()
  /** Who takes, and who waits for that. */
  #ins = 0
  /** Who waits for giving back. */
  #waiting = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Of several the one that takes, or the one that has gone on for longest. */
  get underWay(): UnderWay | null {
    const all = [...this.#running]
    const first = all.find((one) => one.towards === 'in') ?? all[0]
    if (!first) return null
    const { what, towards, sinceMs, words } = first
    return { what, towards, sinceMs, words }
  }

  get isBusy(): boolean {
    return this.isTaking || this.#waiting > 0 || this.#running.size > 0
  }

  /** Somebody takes drives, or waits for that. */
  get isTaking(): boolean {
    return this.#ins > 0
  }

  /** @throws ECANCELED when aborted; else what `work` throws */
  async take<T>(
    what: string,
    towards: UnderWay['towards'],
    step: Step,
    work: (step: Step) => Promise<T>,
  ): Promise<T> {
    return towards === 'in'
      ? await this.#takeIn(what, step, work)
      : await this.#takeOut(what, step, work)
  }

  async #takeIn<T>(what: string, step: Step, work: (step: Step) => Promise<T>): Promise<T> {
    this.#sayWhom(step)
    this.#ins++
    for (const one of this.#running) if (one.towards === 'out') one.abort.abort()
    const mine = this.#lastIn.then(async () => {
      try {
        await Promise.allSettled(this.#outs)
        return await this.#run(what, 'in', step, work)
      } finally {
        this.#ins--
      }
    })
    this.#lastIn = mine.then(nothing, nothing)
    return await mine
  }

  async #takeOut<T>(what: string, step: Step, work: (step: Step) => Promise<T>): Promise<T> {
    for (;;) {
      await this.#untilNobodyTakes(step)
      // Somebody may have come for that since; from here on it is among those that are told to step aside.
      if (this.isTaking && !step.signal.aborted) continue
      let isAside = false
      const mine = this.#run(what, 'out', step, work, () => {
        isAside = true
      })
      this.#outs.add(mine)
      try {
        return await mine
      } catch (error) {
        if (!isAside || step.signal.aborted || isBug(error)) throw error
      } finally {
        this.#outs.delete(mine)
      }
    }
  }

  async #untilNobodyTakes(step: Step): Promise<void> {
    this.#waiting++
    try {
      while (this.isTaking && !step.signal.aborted) {
        this.#sayWhom(step)
        await overOrAborted(this.#lastIn, step.signal)
      }
    } finally {
      this.#waiting--
    }
  }

  #sayWhom({ progress }: Step): void {
    const before = this.underWay
    if (before) progress(`waits for: ${before.what}, since ${timeWords(before.sinceMs)}`)
  }

  async #run<T>(
    what: string,
    towards: UnderWay['towards'],
    { signal, progress }: Step,
    work: (step: Step) => Promise<T>,
    onAside: () => void = nothing,
  ): Promise<T> {
    if (signal.aborted) throw new FsError('ECANCELED', `provision.${what}`)
    const abort = new AbortController()
    abort.signal.addEventListener('abort', onAside, { once: true })
    const running: Running = { what, towards, sinceMs: wallMs(this.#clock), words: what, abort }
    this.#running.add(running)
    try {
      return await work({
        signal: AbortSignal.any([signal, abort.signal]),
        progress(words) {
          running.words = words
          progress(words)
        },
      })
    } finally {
      this.#running.delete(running)
    }
  }
}

/** When the work has ended, in whatever way, or at once when the signal is raised. */
export async function overOrAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  let raise = nothing
  const raised = new Promise<void>((resolve) => {
    raise = resolve
    signal.addEventListener('abort', raise, { once: true })
  })
  await Promise.race([work.then(nothing, nothing), raised])
  signal.removeEventListener('abort', raise)
}

function nothing(): void {}
