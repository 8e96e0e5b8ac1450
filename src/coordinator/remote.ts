import { setMaxListeners } from 'node:events'
import { type Clock, FsError, messageOf, ProtocolError } from '../base/index.ts'
import type {
  CasResult,
  Change,
  Coordinator,
  Entry,
  Step,
  TransactionResult,
} from './coordinator.ts'
import { closedError, outcomeOpen, pause, within } from './deadline.ts'
import { checkKey, checkPrefix, checkSteps } from './steps.ts'
import { tell, Watched } from './watched.ts'
import { type Answer, type Cursor, decodeAnswer, encodeRequest, type Request } from './wire.ts'

const DEADLINE_MS = 5000
/** A poll waits at the server for so long; its answer then has the deadline of any other. */
const WAIT_MS = 20_000
const TRIES = 3
const RETRY_MS_MIN = 50
const RETRY_MS_MAX = 2000

export interface RemoteOptions {
  /**
   * Carries one request to the node that serves the coordinator, and its answer back. Rejects when no answer came; whether
   * the request arrived is then open.
   * @param body the callee's from here on
   */
  readonly call: (
    body: Buffer,
    options: { readonly deadlineMs: number; readonly signal: AbortSignal },
  ) => Promise<Buffer>
  readonly clock: Clock
  /** Where the coordinator is, for messages: the node's name. */
  readonly name: string
  /** Of one call, all tries of a read together. */
  readonly deadlineMs?: number
}

/**
 * The coordinator that another node serves (served.ts). Nothing is cached: each read is answered there.
 *
 * Reads are tried again until the deadline. A transaction is sent once: when no answer comes nobody here knows whether it
 * was made, and to send it again would turn one that was made into a condition that does not hold.
 */
export class RemoteCoordinator implements Coordinator {
  readonly #options: RemoteOptions
  readonly #clock: Clock
  readonly #deadlineMs: number
  readonly #closing = new AbortController()

  constructor(options: RemoteOptions) {
    this.#options = options
    this.#clock = options.clock
    this.#deadlineMs = options.deadlineMs ?? DEADLINE_MS
    // Every call that waits listens to it: Node takes more than ten for a leak.
    setMaxListeners(0, this.#closing.signal)
  }

  async get(key: string): Promise<Entry | null> {
    this.#mustBeOpen()
    checkKey(key)
    const answer = await this.#read('get', { op: 'get', key })
    if (answer.kind !== 'entry') throw this.#unexpected('get', answer)
    return answer.entry
  }

  async list(prefix: string): Promise<Entry[]> {
    this.#mustBeOpen()
    checkPrefix(prefix)
    const untilMs = this.#clock.monotonicMs() + this.#deadlineMs
    for (;;) {
      const entries = await this.#pages(prefix, untilMs)
      if (entries !== null) return entries
    }
  }

  async compareAndSet(key: string, expected: number, value: Buffer | null): Promise<CasResult> {
    const { ok, versions } = await this.transaction([{ key, expected, value }])
    return { ok, version: versions[0] ?? 0 }
  }

  async transaction(steps: readonly Step[]): Promise<TransactionResult> {
    this.#mustBeOpen()
    checkSteps(steps)
    const body = encodeRequest({ op: 'transaction', steps })
    const late = () =>
      this.#failed(
        'transaction',
        'ETIMEDOUT',
        `no answer within ${this.#deadlineMs} ms; ${outcomeOpen}`,
      )
    const answer = await within(
      this.#clock,
      this.#deadlineMs,
      this.#closing.signal,
      late,
      async (signal) => {
        try {
          return await this.#send(body, this.#deadlineMs, signal)
        } catch (error) {
          throw this.#failed('transaction', 'EIO', `${messageOf(error)}; ${outcomeOpen}`, error)
        }
      },
    )
    const done = this.#understood('transaction', answer)
    if (done.kind !== 'done' || done.result.versions.length !== steps.length)
      throw this.#unexpected('transaction', done)
    return done.result
  }

  async watch(prefix: string, onChange: (change: Change) => void): Promise<() => void> {
    this.#mustBeOpen()
    checkPrefix(prefix)
    // The list first: what it has was made before the watch is in place, and what comes after the cursor is told.
    const watched = new Watched(await this.list(prefix))
    const cursor = await this.#cursor()
    const ending = new AbortController()
    const end = () => ending.abort()
    this.#closing.signal.addEventListener('abort', end)
    // Never rejects: it goes on until it is cancelled.
    void this.#follow(prefix, watched, cursor, ending.signal, onChange)
    return () => {
      ending.abort()
      this.#closing.signal.removeEventListener('abort', end)
    }
  }

  async close(): Promise<void> {
    this.#closing.abort()
  }

  /** All pages of one list; null when the server let it go in between. */
  async #pages(prefix: string, untilMs: number): Promise<Entry[] | null> {
    const entries: Entry[] = []
    let request: Request = { op: 'list', prefix }
    for (;;) {
      const answer = await this.#read('list', request, untilMs - this.#clock.monotonicMs())
      if (answer.kind === 'again') return null
      if (answer.kind !== 'entries') throw this.#unexpected('list', answer)
      entries.push(...answer.entries)
      if (answer.list === null) return entries
      request = { op: 'page', list: answer.list, from: entries.length }
    }
  }

  async #cursor(): Promise<Cursor> {
    const answer = await this.#read('watch', { op: 'poll', prefix: '', waitMs: 0, cursor: null })
    if (answer.kind !== 'changes') throw this.#unexpected('watch', answer)
    return answer.cursor
  }

  /** One request that changes nothing, tried until its deadline. */
  async #read(op: string, request: Request, deadlineMs = this.#deadlineMs): Promise<Answer> {
    let last = 'no answer'
    // Silence at the first try must leave time for others.
    const tryMs = deadlineMs / TRIES
    const silence = () => new Error(`silence for ${Math.round(tryMs)} ms`)
    const late = () =>
      this.#failed(op, 'ETIMEDOUT', `not answered within ${this.#deadlineMs} ms (${last})`)
    const answer = await within(
      this.#clock,
      deadlineMs,
      this.#closing.signal,
      late,
      async (signal) => {
        for (let waitMs = RETRY_MS_MIN; ; waitMs = Math.min(2 * waitMs, RETRY_MS_MAX)) {
          try {
            return await within(this.#clock, tryMs, signal, silence, (ended) =>
              this.#send(encodeRequest(request), tryMs, ended),
            )
          } catch (error) {
            last = messageOf(error)
          }
          await pause(this.#clock, waitMs, signal)
          // Late, and nobody listens any more: the promise that was raced has ended.
          if (signal.aborted) throw late()
        }
      },
    )
    return this.#understood(op, answer)
  }

  /** Tells the watcher of changes until it is cancelled. A broken connection is tried again, for as long as it takes. */
  async #follow(
    prefix: string,
    watched: Watched,
    from: Cursor,
    signal: AbortSignal,
    onChange: (change: Change) => void,
  ): Promise<void> {
    let cursor = from
    let waitMs = RETRY_MS_MIN
    while (!signal.aborted) {
      try {
        const answer = await this.#poll(prefix, cursor, signal)
        if (answer.kind === 'changes') {
          cursor = answer.cursor
          const news = answer.changes.filter((change) => watched.take(change))
          tell(news, signal, onChange)
        } else {
          // The cursor first: what changes while the list is made is then told by the next poll, or stands in the list.
          const now = await this.#cursor()
          tell(watched.compare(await this.list(prefix)), signal, onChange)
          cursor = now
        }
        waitMs = RETRY_MS_MIN
      } catch {
        // Every call says for itself why the coordinator does not answer; a watch only waits until it does.
        await pause(this.#clock, waitMs, signal)
        waitMs = Math.min(2 * waitMs, RETRY_MS_MAX)
      }
    }
  }

  async #poll(prefix: string, cursor: Cursor, signal: AbortSignal): Promise<Answer> {
    const deadlineMs = WAIT_MS + this.#deadlineMs
    const late = () => this.#failed('watch', 'ETIMEDOUT', `no answer within ${deadlineMs} ms`)
    const body = encodeRequest({ op: 'poll', prefix, waitMs: WAIT_MS, cursor })
    const answer = await within(this.#clock, deadlineMs, signal, late, (ended) =>
      this.#send(body, deadlineMs, ended),
    )
    const understood = this.#understood('watch', answer)
    if (understood.kind !== 'changes' && understood.kind !== 'again')
      throw this.#unexpected('watch', understood)
    return understood
  }

  async #send(body: Buffer, deadlineMs: number, signal: AbortSignal): Promise<Buffer> {
    return this.#options.call(body, { deadlineMs, signal })
  }

  /** @throws FsError: what the coordinator refused, in its own words, and EPROTO for an answer that is none */
  #understood(op: string, body: Buffer): Answer {
    let answer: Answer
    try {
      answer = decodeAnswer(body)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      throw this.#failed(
        op,
        'EPROTO',
        `an answer that is none (${error.message}): is it another version of weft?`,
        error,
      )
    }
    if (answer.kind !== 'refused') return answer
    const { code, retry, message } = answer
    throw new FsError(code, `coordinator.${op}`, { node: this.#options.name, retry, message })
  }

  #unexpected(op: string, answer: Answer): FsError {
    return this.#failed(
      op,
      'EPROTO',
      `answered with '${answer.kind}': is it another version of weft?`,
    )
  }

  #failed(op: string, code: 'ETIMEDOUT' | 'EIO' | 'EPROTO', why: string, cause?: unknown): FsError {
    const { name } = this.#options
    return new FsError(code, `coordinator.${op}`, {
      node: name,
      cause,
      retry: 'later',
      message: `coordinator on ${name}: ${op}: ${why}`,
    })
  }

  #mustBeOpen(): void {
    if (this.#closing.signal.aborted) throw closedError()
  }
}
