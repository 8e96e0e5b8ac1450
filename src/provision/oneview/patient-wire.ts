import { type Clock, FsError, type Log } from '../../base/index.ts'
import { Patience } from './waiting.ts'
import type { Answer, Request, Wire } from './wire.ts'

/** A fail-over of a Synergy Composer pair, and an appliance that starts, take some minutes [?]. */
export const AWAY_MS_MAX = 10 * 60_000
const PACE = { stepMs: 1000, msMax: 10_000 }

/**
 * Waits for an appliance that is starting, failing over or overloaded, and says so in the log once. Only what was certainly
 * not carried out is sent again: what never left, what was answered 503, and a GET whose connection broke.
 */
export class PatientWire implements Wire {
  readonly #inner: Wire
  readonly #clock: Clock
  readonly #log: Log
  readonly #awayMs: number

  /** @param awayMs how long an appliance is waited for; 0 for not at all */
  constructor(inner: Wire, clock: Clock, log: Log, awayMs: number = AWAY_MS_MAX) {
    this.#inner = inner
    this.#clock = clock
    this.#log = log
    this.#awayMs = awayMs
  }

  async send(request: Request): Promise<Answer> {
    const patience = new Patience(this.#clock, { ...PACE, limitMs: this.#awayMs })
    let isTold = false
    for (;;) {
      const away = await this.#attempt(request)
      if ('answer' in away) return away.answer
      if (!isTold)
        this.#log.warn({ op: 'oneview.wait', why: away.why }, 'the appliance is away, waiting')
      isTold = true
      if (!(await patience.again(request.signal))) throw away.error()
    }
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  async #attempt(
    request: Request,
  ): Promise<{ answer: Answer } | { why: string; error: () => Error }> {
    try {
      const answer = await this.#inner.send(request)
      if (!isAwayStatus(answer.status, request.method)) return { answer }
      return {
        why: `it answers ${answer.status}`,
        error: () => this.#awayError(request, answer.status),
      }
    } catch (error) {
      if (!isAway(error, request.method)) throw error
      return { why: error.message, error: () => error }
    }
  }

  #awayError({ method, path }: Request, status: number): FsError {
    const minutes = Math.round(this.#awayMs / 60_000)
    const forLong =
      minutes > 0 ? `has answered ${status} for ${minutes} minutes` : `answers ${status}`
    return new FsError('EAGAIN', 'oneview.send', {
      done: 'no',
      status,
      retry: 'later',
      message: `oneview: ${method} ${path}: the appliance ${forLong}: it is starting, failing over or overloaded`,
      next: 'its state is at /controller-state.json; ask again when that says OK',
    })
  }
}

/** 502 and 504 are a proxy's: the appliance itself may have done what was asked. */
function isAwayStatus(status: number, method: Request['method']): boolean {
  return status === 503 || (method === 'GET' && (status === 502 || status === 504))
}

function isAway(error: unknown, method: Request['method']): error is FsError {
  if (!(error instanceof FsError)) return false
  if (error.code === 'EHOSTUNREACH') return error.retry === 'later'
  return error.code === 'ECONNRESET' && method === 'GET'
}
