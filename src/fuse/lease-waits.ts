import { readFileSync } from 'node:fs'
import { type Clock, codeOf } from '../base/index.ts'
import type { SharedVolume } from '../store/index.ts'
import { answer, answerBare } from './answer.ts'

/** A request, or the answer to one, that the kernel waits for. */
interface Waiting {
  readonly lease: SharedVolume
  readonly fd: number
  readonly uniqueLo: number
  readonly uniqueHi: number
  /** Thread that asks; 0 when the kernel asks by itself, or cannot tell it. */
  readonly pid: number
  readonly bytes: Buffer
  /** Null: `bytes` are the request, which has not been executed. Else the answer's errno, negative or 0. */
  readonly errno: number | null
}

interface Asked {
  readonly uniqueLo: number
  readonly uniqueHi: number
  readonly pid: number
}

/** With so much waiting no more is read: the kernel keeps the rest. Larger than what it has under way by itself. */
const BYTES_MAX = 96 * 1024 * 1024
const KILLED_LOOK_MS = 200
const EINTR = -4
const EIO = -5

/**
 * What may not be answered because the lease of its volume has run out (design §6.1): kept until the lease is back, or the
 * volume is lost and answers with an error. A thread that is being killed is let go meanwhile (§6.10).
 */
export class LeaseWaits {
  readonly #clock: Clock
  #waiting: Waiting[] = []
  #bytes = 0
  #killedLookMs = Number.NEGATIVE_INFINITY

  /** @param clock the one that leases are counted in */
  constructor(clock: Clock) {
    this.#clock = clock
  }

  get any(): boolean {
    return this.#waiting.length > 0
  }

  get full(): boolean {
    return this.#bytes >= BYTES_MAX
  }

  lapsed(lease: SharedVolume): boolean {
    return this.#clock.monotonicMs() >= lease.leaseUntilMs
  }

  /** @param bytes copied @param errno null for a request, else of the answer */
  add(lease: SharedVolume, asked: Asked, fd: number, bytes: Buffer, errno: number | null): void {
    const { uniqueLo, uniqueHi, pid } = asked
    this.#keep({ lease, fd, uniqueLo, uniqueHi, pid, bytes: Buffer.from(bytes), errno })
  }

  /** Requests that are to be executed now; answers that may go out now do. */
  *ready(): Generator<{ readonly fd: number; readonly bytes: Buffer }> {
    const nowMs = this.#clock.monotonicMs()
    const lookForKilled = nowMs - this.#killedLookMs >= KILLED_LOOK_MS
    if (lookForKilled) this.#killedLookMs = nowMs
    const waiting = this.#waiting
    this.#waiting = []
    this.#bytes = 0
    for (const one of waiting) {
      const { lease, fd, uniqueLo, uniqueHi, pid, bytes, errno } = one
      if (this.lapsed(lease) && !lease.stopped) {
        if (lookForKilled && isKilled(pid)) answerBare(fd, EINTR, uniqueLo, uniqueHi)
        else this.#keep(one)
      } else if (errno === null) yield one
      // An answer of before the volume was lost: another owner may have given others since.
      else if (lease.stopped) answerBare(fd, errno || EIO, uniqueLo, uniqueHi)
      else answer(fd, bytes, bytes.length, errno, uniqueLo, uniqueHi)
    }
  }

  #keep(one: Waiting): void {
    this.#waiting.push(one)
    this.#bytes += one.bytes.length
  }
}

/**
 * Whether a thread has SIGKILL before it, which it also has when another signal is going to end it. A signal that its program
 * handles is not looked at: the kernel interrupts a wait for those too, and a read or write must not fail by them.
 * Source: linux kernel/signal.c, complete_signal; proc(5), SigPnd.
 */
export function isKilled(thread: number): boolean {
  if (thread === 0) return false
  try {
    const pending = /^SigPnd:\s*([0-9a-f]+)$/m.exec(
      readFileSync(`/proc/${thread}/status`, 'latin1'),
    )
    return (BigInt(`0x${pending?.[1] ?? '0'}`) & SIGKILL_BIT) !== 0n
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return false
    throw error
  }
}

const SIGKILL_BIT = 1n << 8n
