import type { Clock } from '../../src/base/index.ts'
import {
  type Coordinator,
  RemoteCoordinator,
  type ServedCoordinator,
  serveCoordinator,
} from '../../src/coordinator/index.ts'
import type { Seeded } from '../support/seeded.ts'

/** What happens to requests on their way. Chances are of 100. */
export interface Weather {
  readonly delayMsMax: number
  /** A read is lost before it arrives, or its answer is. */
  readonly loseReads: number
  readonly loseTransactions: number
}

/** Second byte of a request (wire.ts). */
const OP_TRANSACTION = 4

/** A node that serves a coordinator and peers that use it, over a wire in memory that delays, drops and restarts. */
export class LossyLink {
  readonly #coordinator: Coordinator
  readonly #random: Seeded
  readonly #clock: Clock
  weather: Weather
  #served: ServedCoordinator | null = null
  #connections = new Set<AbortController>()
  /** What got lost, so that a test knows that something did. */
  lost = 0

  constructor(coordinator: Coordinator, random: Seeded, clock: Clock, weather: Weather) {
    this.#coordinator = coordinator
    this.#random = random
    this.#clock = clock
    this.weather = weather
  }

  async start(): Promise<void> {
    const world = { clock: this.#clock, random: this.#random }
    this.#served = await serveCoordinator(this.#coordinator, world)
  }

  /** All connections break, the calls in them with no answer; nobody serves until start. */
  stop(): void {
    for (const connection of this.#connections) connection.abort()
    this.#served?.close()
    this.#served = null
  }

  client(deadlineMs = 3000): RemoteCoordinator {
    return new RemoteCoordinator({
      clock: this.#clock,
      name: 'node-a',
      deadlineMs,
      call: (body, { signal }) => this.call(body, signal),
    })
  }

  async call(body: Buffer, signal: AbortSignal): Promise<Buffer> {
    const { loseReads, loseTransactions, delayMsMax } = this.weather
    const chance = body[1] === OP_TRANSACTION ? loseTransactions : loseReads
    const connection = new AbortController()
    const cut = new Promise<never>((_, reject) => {
      const end = () => reject(new Error('the connection broke'))
      connection.signal.addEventListener('abort', end)
      signal.addEventListener('abort', end)
    })
    cut.catch(() => {})
    this.#connections.add(connection)
    try {
      await Promise.race([cut, this.#delay(delayMsMax)])
      if (this.#random.below(100) < chance) return await this.#lose(cut)
      if (this.#served === null) throw new Error('nobody serves there')
      const answer = this.#served.answer('node-b', Buffer.from(body), connection.signal)
      const got = await Promise.race([cut, answer])
      await Promise.race([cut, this.#delay(delayMsMax)])
      if (this.#random.below(100) < chance) return await this.#lose(cut)
      return got
    } finally {
      connection.abort()
      this.#connections.delete(connection)
    }
  }

  /** Sometimes the break is seen at once, sometimes there is silence first. */
  async #lose(cut: Promise<never>): Promise<never> {
    this.lost++
    if (this.#random.below(4) === 0) await Promise.race([cut, this.#delay(1000)])
    throw new Error('the connection broke')
  }

  #delay(msMax: number): Promise<void> {
    if (msMax === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#clock.after(this.#random.below(msMax), resolve)
    })
  }
}
