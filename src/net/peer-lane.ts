import {
  type Clock,
  codeOf,
  FsError,
  limits,
  messageOf,
  type PeerKey,
  type Random,
} from '../base/index.ts'
import { shortKey } from './addresses.ts'
import type { Connection } from './connection.ts'

export interface PeerLaneOptions {
  readonly own: PeerKey
  readonly peer: PeerKey
  readonly clock: Clock
  readonly random: Random
  /** @throws FsError saying in words why there is no way to the peer; the signal's reason */
  readonly dial: (signal: AbortSignal) => Promise<Connection>
  /** Whether this side keeps the lane up without a call that waits for it. */
  readonly wanted: () => boolean
  /** A connection came in place of none, or the last one went. */
  readonly changed: (up: boolean, why: string) => void
}

interface Waiter {
  readonly done: (connection: Connection | Error) => void
}

const redialMsMin = 250
const redialMsMax = 15_000
/** A call that waits cuts a pause of redialling short, but not below this. */
const impatientMs = 500
/** A connection that held so long was a good one: the next dial comes at once. */
const steadyMs = 5000

/** What decides which of two connections of one lane is kept. */
export interface Standing {
  readonly path: 'tcp' | 'udx'
  readonly dialledBy: PeerKey
  readonly dial: number
}

/**
 * Both sides may dial at once. Of two connections both sides keep the same one, whichever they see first: TCP before UDX,
 * then the one dialled by the smaller key, then the younger dial.
 */
export function outranks(a: Standing, b: Standing): boolean {
  if (a.path !== b.path) return a.path === 'tcp'
  if (a.dialledBy !== b.dialledBy) return a.dialledBy < b.dialledBy
  return a.dial > b.dial
}

/** One lane to one peer: the connection in use, who waits for one, and redialling with back-off and jitter. */
export class PeerLane {
  readonly #options: PeerLaneOptions
  #current: Connection | undefined
  readonly #waiters = new Set<Waiter>()
  #dialling: AbortController | undefined
  #cancelRedial: (() => void) | undefined
  /** Dials in a row that came to nothing. */
  #failures = 0
  #dialEndedMs = Number.NEGATIVE_INFINITY
  #why = ''
  #stopped: FsError | undefined

  constructor(options: PeerLaneOptions) {
    this.#options = options
  }

  get current(): Connection | undefined {
    return this.#current
  }

  /** Why there is no connection, or was none last; '' when there always was. */
  get why(): string {
    return this.#why
  }

  get idle(): boolean {
    return !this.#current && !this.#dialling && this.#waiters.size === 0
  }

  /**
   * Those who wait get theirs in the order in which they came, and before who comes later.
   * @throws FsError EHOSTUNREACH saying why after so long, or when the signal ends the wait with ETIMEDOUT; else its reason;
   * EAGAIN
   */
  connection(signal: AbortSignal, waitMs: number | null): Promise<Connection> {
    if (this.#stopped) return Promise.reject(this.#stopped)
    if (signal.aborted) return Promise.reject(this.#whyNone(signal.reason))
    if (this.#current && this.#waiters.size === 0) return Promise.resolve(this.#current)
    if (this.#waiters.size >= limits.netWaitingMax)
      return Promise.reject(
        new FsError('EAGAIN', 'net.call', {
          peer: this.#options.peer,
          retry: 'later',
          message: `net.call: ${this.#waiters.size} calls wait for a connection to peer ${shortKey(this.#options.peer)} already: ${this.#why}`,
        }),
      )
    return new Promise((resolve, reject) => {
      const giveUp = () => waiter.done(this.#whyNone(signal.reason))
      const late = () => waiter.done(this.#unreachable())
      const cancelLate = waitMs === null ? null : this.#options.clock.after(waitMs, late)
      const waiter: Waiter = {
        done: (result) => {
          this.#waiters.delete(waiter)
          signal.removeEventListener('abort', giveUp)
          cancelLate?.()
          if (result instanceof Error) reject(result)
          else resolve(result)
        },
      }
      signal.addEventListener('abort', giveUp, { once: true })
      this.#waiters.add(waiter)
      this.#hurry()
    })
  }

  /** Take an open connection into use, or take leave of it when the one in use is better. */
  adopt(connection: Connection): void {
    if (this.#stopped) {
      connection.destroy(this.#stopped)
      return
    }
    if (connection.closed || connection.leaving) return
    const before = this.#current
    if (before && before.instance === connection.instance) {
      if (!outranks(this.#standing(connection), this.#standing(before))) {
        connection.retire()
        return
      }
      this.#current = connection
      before.retire()
    } else {
      this.#current = connection
      if (before) this.#replaceDead(before)
      this.#options.changed(true, '')
    }
    this.#cancelRedial?.()
    this.#cancelRedial = undefined
    for (const waiter of this.#waiters) waiter.done(connection)
  }

  /** The connection broke, or the other side took leave of it. */
  lost(connection: Connection, why: string): void {
    if (connection !== this.#current) return
    this.#current = undefined
    this.#why = why
    const heldMs = this.#options.clock.monotonicMs() - connection.openedMs
    this.#failures = heldMs >= steadyMs ? 0 : this.#failures + 1
    this.#options.changed(false, why)
    this.redial()
  }

  /** Dial when the lane is wanted and there is nothing yet: at once after success, else after a pause. */
  redial(): void {
    if (this.#stopped || this.#current || this.#dialling || this.#cancelRedial) return
    if (!this.#options.wanted() && this.#waiters.size === 0) return
    if (this.#failures === 0) {
      this.#dial()
      return
    }
    const pauseMs = Math.min(redialMsMax, redialMsMin * 2 ** (this.#failures - 1))
    const jitter = 0.5 + this.#options.random.bytes(4).readUInt32LE() / 2 ** 32
    this.#cancelRedial = this.#options.clock.after(pauseMs * jitter, () => {
      this.#cancelRedial = undefined
      this.#dial()
    })
  }

  /** Something new is known of the peer: the pause is over. */
  dialNow(): void {
    this.#cancelRedial?.()
    this.#cancelRedial = undefined
    this.#failures = 0
    this.redial()
  }

  /** End the connection, fail who waits, dial no more. */
  stop(error: FsError): void {
    this.#stopped = error
    this.#cancelRedial?.()
    this.#dialling?.abort(error)
    const current = this.#current
    this.#current = undefined
    current?.destroy(error)
    if (current) this.#options.changed(false, error.message)
    for (const waiter of this.#waiters) waiter.done(error)
  }

  /** The process behind it is gone, whatever the network says. */
  #replaceDead(connection: Connection): void {
    const error = new FsError('ECONNRESET', 'net.call', {
      peer: this.#options.peer,
      retry: 'later',
      message: `net.call: peer ${shortKey(this.#options.peer)} was started anew`,
    })
    connection.destroy(error)
    this.#options.changed(false, error.message)
  }

  #hurry(): void {
    const restedMs = this.#options.clock.monotonicMs() - this.#dialEndedMs
    if (this.#cancelRedial && restedMs >= impatientMs) {
      this.#cancelRedial()
      this.#cancelRedial = undefined
      this.#dial()
    } else this.redial()
  }

  #dial(): void {
    if (this.#stopped || this.#current || this.#dialling) return
    const dialling = new AbortController()
    this.#dialling = dialling
    void this.#options.dial(dialling.signal).then(
      (connection) => {
        this.#dialEnded()
        this.adopt(connection)
        this.redial()
      },
      (error: unknown) => {
        this.#dialEnded()
        this.#failures++
        this.#why = messageOf(error)
        this.redial()
      },
    )
  }

  #dialEnded(): void {
    this.#dialling = undefined
    this.#dialEndedMs = this.#options.clock.monotonicMs()
  }

  #standing(connection: Connection): Standing {
    const { own, peer } = this.#options
    return {
      path: connection.path,
      dialledBy: connection.dialled ? own : peer,
      dial: connection.dial,
    }
  }

  #whyNone(reason: Error): Error {
    return codeOf(reason) === 'ETIMEDOUT' ? this.#unreachable() : reason
  }

  #unreachable(): FsError {
    const { peer } = this.#options
    return new FsError('EHOSTUNREACH', 'net.call', {
      peer,
      retry: 'later',
      message: `net.call: no connection to peer ${shortKey(peer)}: ${this.#why || 'it has not answered yet'}`,
    })
  }
}
