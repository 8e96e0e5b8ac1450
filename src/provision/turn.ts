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
 * One thing at a time is done with the frame's drives of a node. Who comes meanwhile waits, in order; but who takes drives
 * does not wait for drives to be given back, which may be hours of draining and erasing: that is stopped, and gone on with by
 * the next reconcile.
 */
export class Turn {
  readonly #clock: Clock
  #running: Running | null = null
  #last: Promise<unknown> = Promise.resolve()
  /** The one that runs among them. */
  #waiting = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get underWay(): UnderWay | null {
    if (!this.#running) return null
    const { what, towards, sinceMs, words } = this.#running
    return { what, towards, sinceMs, words }
  }

  get isBusy(): boolean {
    return this.#waiting > 0
  }

  /** Nothing but giving back stands in the way. */
  get yields(): boolean {
    return this.#waiting === 1 && this.#running?.towards === 'out'
  }

  /** @throws ECANCELED when aborted · EAGAIN when stopped for somebody who takes; else what `work` throws */
  async take<T>(
    what: string,
    towards: UnderWay['towards'],
    step: Step,
    work: (step: Step) => Promise<T>,
  ): Promise<T> {
    const before = this.#running
    if (before && towards === 'in' && before.towards === 'out') before.abort.abort()
    if (before) step.progress(`waits for: ${before.what}, since ${timeWords(before.sinceMs)}`)
    this.#waiting++
    const mine = this.#last.then(() => this.#run(what, towards, step, work))
    this.#last = mine.then(nothing, nothing)
    return await mine
  }

  async #run<T>(
    what: string,
    towards: UnderWay['towards'],
    { signal, progress }: Step,
    work: (step: Step) => Promise<T>,
  ): Promise<T> {
    const abort = new AbortController()
    const sinceMs = wallMs(this.#clock)
    const running: Running = { what, towards, sinceMs, words: what, abort }
    this.#running = running
    try {
      if (signal.aborted) throw new FsError('ECANCELED', `provision.${what}`)
      return await work({
        signal: AbortSignal.any([signal, abort.signal]),
        progress(words) {
          running.words = words
          progress(words)
        },
      })
    } catch (error) {
      if (!abort.signal.aborted || isBug(error)) throw error
      throw new FsError('EAGAIN', `provision.${what}`, {
        ...{ cause: error, retry: 'later' },
        message: `${what}: stopped, for drives are wanted first; it goes on by itself after that`,
      })
    } finally {
      this.#running = null
      this.#waiting--
    }
  }
}

function nothing(): void {}
