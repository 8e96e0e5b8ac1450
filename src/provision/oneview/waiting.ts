import { type Clock, FsError } from '../../base/index.ts'

/** @throws FsError ECANCELED once the signal is raised */
export function mustGoOn(signal: AbortSignal): void {
  if (signal.aborted) {
    throw new FsError('ECANCELED', 'oneview', {
      message: 'oneview: given up, for whoever asked no longer waits',
      cause: signal.reason,
    })
  }
}

/** The one error of every request after close. */
export function closedError(): FsError {
  return new FsError('ECANCELED', 'oneview', { message: 'oneview: closed; the node is stopping' })
}

/** Fulfilled after `ms`. @throws FsError ECANCELED as soon as the signal is raised */
export async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  mustGoOn(signal)
  await new Promise<void>((resolve) => {
    const done = () => {
      cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const cancel = clock.after(ms, done)
    signal.addEventListener('abort', done)
  })
  mustGoOn(signal)
}

/**
 * What the promise gives, or ECANCELED as soon as the signal is raised: for work that others wait for too, and which goes
 * on without this caller.
 */
export async function orGiveUp<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  mustGoOn(signal)
  let giveUp = () => {}
  const raised = new Promise<null>((resolve) => {
    giveUp = () => resolve(null)
    signal.addEventListener('abort', giveUp)
  })
  try {
    const first = await Promise.race([work.then((value) => ({ value })), raised])
    if (first !== null) return first.value
  } finally {
    signal.removeEventListener('abort', giveUp)
  }
  mustGoOn(signal)
  return work
}

/** Waits that grow by one step each: 1, 2, 3 … 10, 10 seconds, as HPE's own Python library polls (facts §7). */
export interface Pace {
  readonly stepMs: number
  readonly msMax: number
  /** Of all waits together; above it there is no further one. */
  readonly limitMs: number
}

export class Patience {
  readonly #clock: Clock
  readonly #pace: Pace
  readonly #begunMs: number
  #waits = 0

  constructor(clock: Clock, pace: Pace) {
    this.#clock = clock
    this.#pace = pace
    this.#begunMs = clock.monotonicMs()
  }

  /** Wait once more. @returns false, at once, when the limit is over. @throws FsError ECANCELED */
  async again(signal: AbortSignal): Promise<boolean> {
    mustGoOn(signal)
    const { stepMs, msMax, limitMs } = this.#pace
    if (this.#clock.monotonicMs() - this.#begunMs >= limitMs) return false
    this.#waits++
    await pause(this.#clock, Math.min(this.#waits * stepMs, msMax), signal)
    return true
  }
}
