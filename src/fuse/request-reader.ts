import { readSync } from 'node:fs'
import { type Clock, codeOf } from '../base/index.ts'
import { deviceCalls } from './device-calls.ts'

/**
 * How long an idle thread asks before it sleeps. A caller that makes one request after another is back within it; longer
 * found hardly more of them (docs/bench.md).
 */
const POLL_MS = 0.06
/** A sleeper hears of a request this much later than one who asks: two such pauses are alike. */
const WAKE_MS = 0.04
/** Share of short pauses among the last below which asking costs more than it spares. */
const LIKELY_MIN = 0.25
/** Weight of the newest pause in that share. */
const LEARN = 1 / 8
/** A mount command follows the start of its thread within some of these. */
const MOUNT_MS = 2

/** What a read is told that finds no request. */
export const NOTHING = -1

export interface RequestDescriptors {
  /** The connection's /dev/fuse, whose read blocks. */
  readonly fd: number
  /** A clone of it whose read does not; null without one. Source: FUSE_DEV_IOC_CLONE in include/uapi/linux/fuse.h */
  readonly polledFd: number | null
  /** Whether the clone is connected by now. */
  readonly polled: () => boolean
  readonly clock: Clock
  /** Sleeps in this thread. */
  readonly sleep: (ms: number) => void
}

/**
 * Reads a connection's requests. Waking a sleeping thread costs 20 µs and more, each way; so after an answer the thread
 * asks for the next request a while before it sleeps, as long as that mostly finds one (docs/adr/0014).
 */
export class RequestReader {
  readonly #from: RequestDescriptors
  /** Of the last pauses, about how many were short enough to be worth asking through. */
  #likely = 1
  #last: number
  readonly #calls = deviceCalls()

  constructor(from: RequestDescriptors) {
    this.#from = from
    this.#last = from.fd
  }

  /** Where the last request came from. Its answer must go there: the kernel looks for it nowhere else. */
  get fd(): number {
    return this.#last
  }

  /**
   * The next request, waited for.
   * @returns its bytes; 0 when the connection has ended
   * @throws what read(2) says beyond what its callers must expect
   */
  next(buffer: Buffer): number {
    const { fd, polledFd, polled, clock } = this.#from
    const sinceMs = clock.monotonicMs()
    const asks = polledFd !== null && this.#likely >= LIKELY_MIN && polled()
    if (asks) {
      do {
        const n = this.#look(polledFd, buffer)
        if (n >= 0) {
          this.#learn(true)
          return n
        }
      } while (clock.monotonicMs() - sinceMs < POLL_MS)
      this.#learn(false)
    }
    let n = NOTHING
    while (n < 0) n = this.#read(fd, buffer)
    if (!asks) this.#learn(clock.monotonicMs() - sinceMs < POLL_MS + WAKE_MS)
    return n
  }

  /** Whether `ask` may be called. */
  get canAsk(): boolean {
    return this.#from.polledFd !== null && this.#from.polled()
  }

  /** The next request, if there is one. @returns as `next`; NOTHING when there is none yet */
  ask(buffer: Buffer): number {
    const { polledFd } = this.#from
    return polledFd === null ? NOTHING : this.#read(polledFd, buffer)
  }

  #learn(short: boolean): void {
    this.#likely += ((short ? 1 : 0) - this.#likely) * LEARN
  }

  /** What is there now. Why there is nothing, and that the connection has ended, is told by the read that waits. */
  #look(fd: number, buffer: Buffer): number {
    const n = this.#calls.read(fd, buffer)
    if (n <= 0) return NOTHING
    this.#last = fd
    return n
  }

  /** @returns NOTHING when there is none yet, or none any more */
  #read(fd: number, buffer: Buffer): number {
    const n = this.#look(fd, buffer)
    return n === NOTHING ? this.#readByNode(fd, buffer) : n
  }

  /** As `read`. @throws what nobody expects */
  #readByNode(fd: number, buffer: Buffer): number {
    try {
      const n = readSync(fd, buffer, 0, buffer.length, null)
      this.#last = fd
      return n
    } catch (error) {
      switch (codeOf(error)) {
        case 'EAGAIN':
        case 'EINTR':
        case 'ENOENT': // interrupted before it was read
          return NOTHING
        case 'ENODEV':
        case 'ECONNABORTED': // by hand, or because another node owns the volume
          return 0
        case 'EPERM': // not mounted yet: mount(2) comes right after this thread was started
          this.#from.sleep(MOUNT_MS)
          return NOTHING
        default:
          throw error
      }
    }
  }
}
