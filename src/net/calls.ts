import { codeOf, type ErrnoCode, errnoOf, FsError, limits, ProtocolError } from '../base/index.ts'
import type { Frame, Lent } from './frames.ts'

/** `urgent` overtakes `ordered`: answers and signs of life never wait behind requests. */
export type Order = 'urgent' | 'ordered'

/** One call. The sender lends its bytes until the call is settled, the receiver's are its handler's until that is done. */
export interface Question {
  readonly service: string
  readonly body: Buffer
  /** Bytes behind the body that are sealed already, where they came beside it; null when there are none. */
  readonly sealed: Buffer | null
}

export interface CallsOptions {
  /** @param sent called once the frame has left this node's queue */
  readonly send: (frame: Frame, order: Order, sent?: () => void) => void
  /** Work on a call of the peer. The body belongs to it, what is sealed is lent until the promise is settled. */
  readonly handle: (question: Question, signal: () => AbortSignal) => Promise<Buffer>
  /** Known once the other side has said which lane this is, before its first call. */
  readonly handlersMax: () => number
  /** Nothing is under way any more, either way. */
  readonly idle: () => void
}

interface Asked {
  readonly bytes: number
  /** Empty once the caller gave up: the place is kept until the other side has answered. */
  settle: ((answer: Buffer | FsError) => void) | undefined
}

interface Waiting {
  readonly bytes: number
  readonly go: (granted: boolean | FsError) => void
}

interface Asking {
  readonly id: number
  readonly service: string
  readonly body: Buffer
  readonly sealed: Lent | undefined
  readonly bytes: number
  /** Since the handler wants to know when its caller has given up: few do. */
  controller: AbortController | undefined
  /** Why it has; undefined while it has not. */
  givenUp: FsError | undefined
}

/**
 * The calls of one connection, both ways. Calls begin at the other side in the order in which they were made here.
 *
 * At most `netCallsMax` calls and `netWindowBytes` of their bodies are under way each way: more wait here, and a peer that
 * sends more breaks the protocol. A call that was given up keeps its place until it is answered, so both sides count alike.
 */
export class Calls {
  readonly #options: CallsOptions
  readonly #asked = new Map<number, Asked>()
  readonly #waiting = new Set<Waiting>()
  #places = 0
  #placesBytes = 0
  #nextId = 1
  readonly #asking = new Map<number, Asking>()
  readonly #queue: Asking[] = []
  #askingBytes = 0
  #running = 0
  #unsentBytes = 0
  #retired = false
  #broken: FsError | undefined

  constructor(options: CallsOptions) {
    this.#options = options
  }

  get idle(): boolean {
    return this.#places === 0 && this.#asking.size === 0
  }

  /**
   * @param question its bytes are borrowed until the promise is settled, whatever becomes of it
   * @returns null when the connection was retired before the call was sent: take another one
   * @throws the signal's reason; what the peer answered; ECONNRESET when the connection breaks; EAGAIN when too many wait
   */
  async ask({ service, body, sealed }: Question, signal: AbortSignal): Promise<Buffer | null> {
    const bytes = body.length + (sealed?.length ?? 0)
    if (!(await this.#place(bytes, signal))) return null
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      let isLent = sealed !== null
      let afterwards = () => {}
      /** Not before the caller may use the sealed bytes again. */
      const whenBack = (settle: () => void) => {
        if (isLent) afterwards = settle
        else settle()
      }
      const giveUp = () => {
        asked.settle = undefined
        whenBack(() => reject(signal.reason))
        this.#options.send({ kind: 'cancel', id }, 'ordered')
      }
      const asked: Asked = {
        bytes,
        settle: (answer) => {
          signal.removeEventListener('abort', giveUp)
          whenBack(() => (answer instanceof FsError ? reject(answer) : resolve(answer)))
        },
      }
      signal.addEventListener('abort', giveUp, { once: true })
      this.#asked.set(id, asked)
      const done = () => {
        isLent = false
        afterwards()
      }
      const behind = sealed ? { sealed: { bytes: sealed, done } } : {}
      this.#options.send({ kind: 'request', id, service, body, ...behind }, 'ordered')
    })
  }

  /** @throws ProtocolError for a frame that has no business here */
  take(frame: Extract<Frame, { id: number }>): void {
    switch (frame.kind) {
      case 'request':
        this.#begin(frame)
        return
      case 'answer':
        this.#settle(frame.id, frame.body)
        return
      case 'failure':
        this.#settle(frame.id, failureOf(frame))
        return
      case 'cancel':
        this.#cancel(frame.id)
        return
      default:
        frame satisfies never
    }
  }

  /** No new call; those that wait go elsewhere, those under way go on. */
  retire(): void {
    this.#retired = true
    for (const waiting of this.#waiting) waiting.go(false)
  }

  /** The connection is gone: every call of ours fails with `error`, every handler is told to stop. */
  break(error: FsError): void {
    if (this.#broken) return
    this.#broken = error
    for (const waiting of this.#waiting) waiting.go(error)
    for (const asked of this.#asked.values()) asked.settle?.(error)
    for (const asking of this.#asking.values()) abortHandler(asking, error)
    this.#asked.clear()
    this.#asking.clear()
    this.#queue.length = 0
  }

  /** Take a place among the calls under way, after those who wait already and before who comes later. */
  #place(bytes: number, signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return Promise.reject(signal.reason)
    if (this.#broken) return Promise.reject(this.#broken)
    if (this.#retired) return Promise.resolve(false)
    if (this.#waiting.size === 0 && this.#fits(bytes)) {
      this.#places++
      this.#placesBytes += bytes
      return Promise.resolve(true)
    }
    if (this.#waiting.size >= limits.netWaitingMax)
      return Promise.reject(
        new FsError('EAGAIN', 'net.call', {
          retry: 'later',
          message: `net.call: ${this.#waiting.size} calls wait for this peer already; try later`,
        }),
      )
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        this.#waiting.delete(waiting)
        reject(signal.reason)
        // It may have been the one too large for the room that was left.
        this.#grant()
      }
      const waiting: Waiting = {
        bytes,
        go: (granted) => {
          this.#waiting.delete(waiting)
          signal.removeEventListener('abort', giveUp)
          if (granted instanceof FsError) reject(granted)
          else resolve(granted)
        },
      }
      signal.addEventListener('abort', giveUp, { once: true })
      this.#waiting.add(waiting)
    })
  }

  #fits(bytes: number): boolean {
    return this.#places < limits.netCallsMax && this.#placesBytes + bytes <= limits.netWindowBytes
  }

  #grant(): void {
    for (const waiting of this.#waiting) {
      if (!this.#fits(waiting.bytes)) return
      this.#places++
      this.#placesBytes += waiting.bytes
      waiting.go(true)
    }
  }

  #settle(id: number, answer: Buffer | FsError): void {
    const asked = this.#asked.get(id)
    if (!asked) throw new ProtocolError(`answer to call ${id}, which was not made`)
    this.#asked.delete(id)
    this.#places--
    this.#placesBytes -= asked.bytes
    asked.settle?.(answer)
    this.#grant()
    if (this.idle) this.#options.idle()
  }

  #begin({ id, service, body, sealed }: Extract<Frame, { kind: 'request' }>): void {
    const bytes = body.length + (sealed?.bytes.length ?? 0)
    if (this.#asking.has(id)) throw new ProtocolError(`call ${id} is under way already`)
    if (
      this.#asking.size >= limits.netCallsMax ||
      this.#askingBytes + bytes > limits.netWindowBytes
    )
      throw new ProtocolError('more calls under way than the protocol allows')
    const nothing = { controller: undefined, givenUp: undefined }
    const asking: Asking = { id, service, body, sealed, bytes, ...nothing }
    this.#asking.set(id, asking)
    this.#askingBytes += bytes
    this.#queue.push(asking)
    this.#pump()
  }

  #pump(): void {
    while (
      this.#running < this.#options.handlersMax() &&
      this.#unsentBytes < limits.netWindowBytes
    ) {
      const next = this.#queue.shift()
      if (!next) return
      this.#run(next)
    }
  }

  #run(asking: Asking): void {
    this.#running++
    const { service, body, sealed } = asking
    void this.#options
      .handle({ service, body, sealed: sealed?.bytes ?? null }, () => signalOf(asking))
      .finally(() => sealed?.done())
      .then(
        (body) => answerOf(asking.id, body),
        (error: unknown) => failureFrame(asking.id, error),
      )
      .then((frame) => this.#answer(asking, frame, () => this.#running--))
  }

  /** @param left called when the answer has left, so that a peer that does not read begins no further handlers */
  #answer(asking: Asking, frame: Frame, left: () => void): void {
    if (this.#broken) return
    const bytes = frame.kind === 'answer' ? frame.body.length : 0
    this.#unsentBytes += bytes
    this.#options.send(frame, 'urgent', () => {
      this.#unsentBytes -= bytes
      this.#askingBytes -= asking.bytes
      this.#asking.delete(asking.id)
      left()
      this.#pump()
      if (this.idle) this.#options.idle()
    })
  }

  /** A cancel may cross the answer: then there is nothing left to stop. */
  #cancel(id: number): void {
    const asking = this.#asking.get(id)
    if (!asking) return
    const canceled = new FsError('ECANCELED', 'net.call', {
      message: 'net.call: the caller gave up',
    })
    const at = this.#queue.indexOf(asking)
    if (at < 0) {
      // Its handler runs; or it was cancelled before, has none, and its answer is on the way.
      abortHandler(asking, canceled)
      return
    }
    this.#queue.splice(at, 1)
    asking.sealed?.done()
    this.#answer(asking, failureFrame(id, canceled), () => {})
  }
}

function signalOf(asking: Asking): AbortSignal {
  asking.controller ??= new AbortController()
  if (asking.givenUp) asking.controller.abort(asking.givenUp)
  return asking.controller.signal
}

function abortHandler(asking: Asking, why: FsError): void {
  asking.givenUp ??= why
  asking.controller?.abort(why)
}

function answerOf(id: number, body: Buffer): Frame {
  if (body.length <= limits.netBodyBytesMax) return { kind: 'answer', id, body }
  return failureFrame(
    id,
    new FsError('EMSGSIZE', 'net.serve', {
      message: `net.serve: an answer of ${body.length} bytes, at most ${limits.netBodyBytesMax}; ask for less`,
    }),
  )
}

/** What a peer is told of an error: an expected one as it is, any other as EIO without its words. */
function failureFrame(id: number, error: unknown): Frame {
  if (!(error instanceof FsError))
    return {
      kind: 'failure',
      id,
      retry: 'never',
      code: 'EIO',
      message: 'failed inside; the log of that node has the reason',
    }
  return { kind: 'failure', id, retry: error.retry, code: codeOf(error), message: error.message }
}

function failureOf(frame: Extract<Frame, { kind: 'failure' }>): FsError {
  // A code that only the peer's version knows: errnoOf answers 5 for those.
  const known = frame.code === 'EIO' || errnoOf(frame.code) !== errnoOf('EIO')
  const code = known ? (frame.code as ErrnoCode) : 'EIO'
  return new FsError(code, 'net.call', { retry: frame.retry, message: frame.message })
}
