import type NoiseSecretStream from '@hyperswarm/secret-stream'
import Protomux, { type Channel, type Encoding } from 'protomux'
import {
  type Clock,
  codeOf,
  FsError,
  limits,
  messageOf,
  type PeerKey,
  ProtocolError,
} from '../base/index.ts'
import { type Address, peerKeyOf, shortKey } from './addresses.ts'
import { Calls, type Order, type Question } from './calls.ts'
import {
  decodeFrame,
  decodeHello,
  type EncodedFrame,
  encodeFrame,
  encodeHello,
  type Frame,
  type Hello,
  type Lane,
} from './frames.ts'
import { type SealedFrame, TcpPipe } from './tcp-pipe.ts'

/** How the bytes travel: straight, or through hyperdht's UDP streams, which get through NATs. */
export type Path = 'tcp' | 'udx'

export interface ConnectionOptions {
  readonly path: Path
  /** This side dialled: its hello says which lane it is and which dial. */
  readonly dialled: boolean
  readonly hello: Hello
  readonly clock: Clock
  readonly handle: (
    connection: Connection,
    question: Question,
    signal: () => AbortSignal,
  ) => Promise<Buffer>
  /** The other side will ask nothing more here. */
  readonly onBye: (connection: Connection) => void
  /** Once, after it was open. */
  readonly onClose: (connection: Connection, error: FsError) => void
}

interface Queued {
  readonly frame: EncodedFrame
  readonly sent: (() => void) | undefined
}

const protocolName = 'weft'
/** A connection that is replaced may finish its calls for so long. */
const retireMsMax = 10_000
/** A look at the silence that comes later than this was itself held up: then the silence may be ours. */
const lateMs = 2 * limits.netHeartbeatMs
/** Share of a new round trip in the mean, as RFC 6298 has it. */
const rttShare = 1 / 8

/** One authenticated stream to a peer, carrying the calls of one lane. Made by `open`; ends by itself or by `destroy`. */
export class Connection {
  readonly peer: PeerKey
  readonly path: Path
  readonly dialled: boolean
  readonly openedMs: number
  readonly #options: ConnectionOptions
  readonly #stream: NoiseSecretStream
  readonly #channel: Channel
  readonly #calls: Calls
  /** Not more than Calls lets under way. */
  readonly #urgent: Queued[] = []
  readonly #ordered: Queued[] = []
  readonly #pipe: TcpPipe | null
  #writable = true
  #pipeWritable = true
  #hello: Hello | undefined
  #error: FsError | undefined
  #byeSent = false
  #byeCame = false
  #cancelRetire: (() => void) | undefined
  #heardMs: number
  #tickedMs: number
  #pingedMs: number | undefined
  #pings = 0
  #rttMs: number | undefined

  /**
   * Greet over a stream whose handshake is done; the caller has checked its key, and ends the stream if this takes too long.
   * @throws FsError EACCES when the other side hangs up instead of greeting, EPROTO when it is no peer of this version
   */
  static open(stream: NoiseSecretStream, options: ConnectionOptions): Promise<Connection> {
    return new Promise((resolve, reject) => {
      new Connection(stream, options, resolve, reject)
    })
  }

  private constructor(
    stream: NoiseSecretStream,
    options: ConnectionOptions,
    opened: (connection: Connection) => void,
    failed: (error: FsError) => void,
  ) {
    this.#stream = stream
    this.#options = options
    this.peer = peerKeyOf(stream.remotePublicKey)
    this.path = options.path
    this.dialled = options.dialled
    this.openedMs = options.clock.monotonicMs()
    this.#heardMs = this.openedMs
    this.#tickedMs = this.openedMs
    this.#calls = new Calls({
      send: (frame, order, sent) => this.#send(frame, order, sent),
      handle: (question, signal) => options.handle(this, question, signal),
      handlersMax: () =>
        this.lane === 'bulk' ? limits.netBulkHandlersMax : limits.netControlHandlersMax,
      idle: () => this.#endWhenIdle(),
    })
    stream.on('error', (error: Error) => this.#fail(error))
    stream.on('close', () => {
      this.#error ??= this.#broken('the other side closed it')
      this.#cancelRetire?.()
      this.#calls.break(this.#error)
      for (const { frame } of this.#ordered.splice(0)) frame.sealed?.done()
      if (this.#hello) options.onClose(this, this.#error)
      else failed(this.#error)
    })
    this.#pipe = stream.rawStream instanceof TcpPipe ? stream.rawStream : null
    stream.rawStream?.on(this.#pipe ? 'bytes' : 'data', () => {
      this.#heardMs = options.clock.monotonicMs()
    })
    this.#pipe?.sendWith(options.hello.sealedKey)
    this.#pipe?.on('drain', () => {
      this.#pipeWritable = true
      this.#flush()
    })
    const channel = new Protomux(stream).createChannel<Hello, Frame | EncodedFrame>({
      protocol: protocolName,
      handshake: helloEncoding,
      messages: [{ encoding: frameEncoding, onmessage: (frame) => this.#take(frame as Frame) }],
      onopen: (hello) => {
        this.#hello = hello
        opened(this)
        this.#pipe?.receiveWith(hello.sealedKey, (came) => this.#takeSealed(came))
      },
      onclose: () => this.#fail(new ProtocolError('it closed its channel: not a peer of weft')),
      ondrain: () => {
        this.#writable = true
        this.#flush()
      },
    })
    if (!channel) throw new FsError('ECONNRESET', 'net.open', { message: 'net.open: hung up' })
    this.#channel = channel
    channel.open(options.hello)
  }

  get lane(): Lane {
    return this.dialled ? this.#options.hello.lane : this.#greeting.lane
  }

  /** Counts the dials of the side that dialled. */
  get dial(): number {
    return this.dialled ? this.#options.hello.dial : this.#greeting.dial
  }

  /** Of the other side: another one means it was started anew. */
  get instance(): string {
    return this.#greeting.instance
  }

  /** By which the other side says it is reached. */
  get addresses(): readonly Address[] {
    return this.#greeting.addresses
  }

  get closed(): boolean {
    return this.#error !== undefined
  }

  /** Neither side starts anything new on a connection that either has taken leave of. */
  get leaving(): boolean {
    return this.#byeSent || this.#byeCame
  }

  /** Mean round trip of a sign of life, milliseconds. */
  get rttMs(): number | undefined {
    return this.#rttMs
  }

  get bytesIn(): number {
    return this.#stream.rawBytesRead + (this.#pipe?.sealedIn ?? 0)
  }

  get bytesOut(): number {
    return this.#stream.rawBytesWritten + (this.#pipe?.sealedOut ?? 0)
  }

  /** @see Calls.ask */
  ask(question: Question, signal: AbortSignal): Promise<Buffer | null> {
    return this.#calls.ask(question, signal)
  }

  /** Ask for a sign of life; end the connection when there was none for too long. Called each heartbeat. */
  tick(): void {
    const now = this.#options.clock.monotonicMs()
    // A process that slept, or was busy, has not read what came meanwhile.
    if (now - this.#tickedMs > lateMs) this.#heardMs = now
    this.#tickedMs = now
    const silentMs = now - this.#heardMs
    if (silentMs >= limits.netSilentMs) {
      this.destroy(this.#broken(`silent for ${Math.round(silentMs / 1000)} s`))
      return
    }
    if (this.#pingedMs !== undefined) return
    this.#pingedMs = now
    this.#pings = (this.#pings + 1) >>> 0
    this.#send({ kind: 'ping', token: this.#pings }, 'urgent')
  }

  /** Another connection takes over: finish what is under way, ask nothing more, then end. */
  retire(): void {
    if (this.#byeSent || this.#error) return
    this.#byeSent = true
    this.#calls.retire()
    this.#send({ kind: 'bye' }, 'ordered')
    this.#cancelRetire = this.#options.clock.after(retireMsMax, () =>
      this.destroy(this.#broken('it was replaced by another and took too long to finish')),
    )
    this.#endWhenIdle()
  }

  destroy(error: FsError): void {
    this.#error ??= error
    this.#stream.destroy()
  }

  get #greeting(): Hello {
    if (!this.#hello) throw new ProtocolError('not open yet')
    return this.#hello
  }

  #take(frame: Frame): void {
    switch (frame.kind) {
      case 'ping':
        this.#send({ kind: 'pong', token: frame.token }, 'urgent')
        return
      case 'pong':
        this.#measure(frame.token)
        return
      case 'bye':
        this.#byeCame = true
        this.#options.onBye(this)
        this.retire()
        this.#endWhenIdle()
        return
      case 'request':
      case 'answer':
      case 'failure':
      case 'cancel':
        this.#calls.take(frame)
        return
      default:
        frame satisfies never
    }
  }

  /** Of a stranger nothing comes here: it cannot know the key. */
  #takeSealed({ frame: bytes, sealed, done }: SealedFrame): void {
    try {
      const frame = decodeFrame(bytes)
      if (frame.kind !== 'request') throw new ProtocolError(`${frame.kind} with bytes behind it`)
      this.#calls.take({ ...frame, sealed: { bytes: sealed, done } })
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.#fail(error)
    }
  }

  #measure(token: number): void {
    if (token !== this.#pings || this.#pingedMs === undefined)
      throw new ProtocolError('a sign of life that was not asked for')
    const ms = this.#options.clock.monotonicMs() - this.#pingedMs
    this.#pingedMs = undefined
    this.#rttMs = this.#rttMs === undefined ? ms : this.#rttMs + (ms - this.#rttMs) * rttShare
  }

  #send(frame: Frame, order: Order, sent?: () => void): void {
    if (this.#error) {
      if (frame.kind === 'request') frame.sealed?.done()
      return
    }
    const queue = order === 'urgent' ? this.#urgent : this.#ordered
    queue.push({ frame: encodeFrame(frame), sent })
    this.#flush()
  }

  /** Hand frames to the stream until it is full, so that an urgent one never finds more than a frame in front of it. */
  #flush(): void {
    while (this.#writable && this.#pipeWritable && !this.#error) {
      const next = this.#urgent.shift() ?? this.#ordered.shift()
      if (!next) return
      const { head, body, sealed } = next.frame
      if (sealed && this.#pipe) {
        const frame = Buffer.concat([head, body])
        this.#pipeWritable = this.#pipe.sendSealed(frame, sealed.bytes, () => sealed.done())
      } else {
        this.#writable = this.#channel.messages[0].send(next.frame)
        sealed?.done()
      }
      next.sent?.()
    }
  }

  #endWhenIdle(): void {
    if (!this.#byeSent || !this.#byeCame || !this.#calls.idle) return
    this.#error ??= this.#broken('it was replaced by another')
    this.#stream.end()
  }

  /** What comes without a system's or hyperdht's code was made of the bytes: by our codec, protomux or secret-stream. */
  #fail(error: Error): void {
    if (this.#error) return
    const broke = error instanceof ProtocolError || codeOf(error) === ''
    this.#error = broke
      ? this.#broken(
          `it broke the protocol: ${messageOf(error)}`,
          new ProtocolError(error.message, error),
        )
      : this.#broken(messageOf(error), error)
    this.#stream.destroy()
  }

  #broken(why: string, cause?: unknown): FsError {
    const subject = { peer: this.peer, retry: 'later', cause } as const
    if (this.#hello)
      return new FsError('ECONNRESET', 'net.call', {
        ...subject,
        message: `net.call: the connection to peer ${shortKey(this.peer)} broke: ${why}`,
      })
    if (cause instanceof ProtocolError)
      return new FsError('EPROTO', 'net.open', { ...subject, message: `net.open: ${why}` })
    return new FsError('EACCES', 'net.open', {
      ...subject,
      message:
        'net.open: it hung up after the handshake: this node is not a member there, or it is stopping',
    })
  }
}

const helloEncoding: Encoding<Hello> = {
  preencode: (state, hello) => {
    state.end += encodeHello(hello).length
  },
  encode: (state, hello) => {
    const bytes = encodeHello(hello)
    state.buffer.set(bytes, state.start)
    state.start += bytes.length
  },
  decode: (state) => {
    const bytes = state.buffer.subarray(state.start, state.end)
    state.start = state.end
    return decodeHello(bytes)
  },
}

/** Sent as encoded, received as frames: the body is copied once, into the message that is sealed in place. */
const frameEncoding: Encoding<Frame | EncodedFrame> = {
  preencode: (state, value) => {
    const { head, body, sealed } = value as EncodedFrame
    state.end += head.length + body.length + (sealed?.bytes.length ?? 0)
  },
  encode: (state, value) => {
    const { head, body, sealed } = value as EncodedFrame
    for (const bytes of [head, body, sealed?.bytes]) {
      if (!bytes) continue
      state.buffer.set(bytes, state.start)
      state.start += bytes.length
    }
  },
  decode: (state) => {
    const bytes = state.buffer.subarray(state.start, state.end)
    state.start = state.end
    return decodeFrame(bytes)
  },
}
