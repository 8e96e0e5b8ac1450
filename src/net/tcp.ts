import { type AddressInfo, createServer, type Server } from 'node:net'
import NoiseSecretStream from '@hyperswarm/secret-stream'
import { type Clock, codeOf, type ErrnoCode, FsError, messageOf } from '../base/index.ts'
import { type Address, formatAddress } from './addresses.ts'
import type { HalfOpen } from './half-open.ts'
import { TcpPipe } from './tcp-pipe.ts'
import { TcpSource } from './tcp-source.ts'

export interface NoiseKeyPair {
  /** Ed25519, 32 bytes. */
  readonly publicKey: Buffer
  /** Ed25519, 64 bytes. */
  readonly secretKey: Buffer
}

export interface TcpListenerOptions {
  /** Absent: every address of this machine, IPv4 and IPv6. */
  readonly host: string | undefined
  /** 0: any free one. */
  readonly port: number
  readonly keyPair: NoiseKeyPair
  readonly halfOpen: HalfOpen
  /** Whether this key may come in; asked before anything it sent is read. */
  readonly admit: (publicKey: Buffer, from: string) => boolean
  /** The stream is open from here on as far as the listener knows. */
  readonly onStream: (stream: NoiseSecretStream) => Promise<void>
}

/** Noise IK: the dialler knows whom it dials, and only who has that key can answer (noiseprotocol.org §7.5). */
const pattern = 'IK'
/** First message of IK behind secret-stream's u24 length: ephemeral key 32, static key 32 + 16, empty payload 16. */
const firstMessageBytes = 96
const firstFrameBytes = 3 + firstMessageBytes
/** The next address is tried when the one before has not answered for so long (RFC 8305, Connection Attempt Delay). */
const nextAddressMs = 250

/** Accepts peers over TCP. */
export class TcpListener {
  readonly port: number
  readonly #server: Server

  /** @throws FsError EADDRINUSE, EADDRNOTAVAIL, EACCES: as listen(2) */
  static async listen(options: TcpListenerOptions): Promise<TcpListener> {
    const server = createServer({ noDelay: true, pauseOnConnect: true }, (accepted) =>
      greet(TcpSource.accepted(accepted), options),
    )
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) =>
        reject(
          new FsError(codeOf(error) as ErrnoCode, 'net.listen', {
            cause: error,
            message: `net.listen: TCP port ${options.port}${options.host ? ` of ${options.host}` : ''}: ${messageOf(error)}; choose another port or stop what has it`,
          }),
        ),
      )
      server.listen(
        { port: options.port, ...(options.host ? { host: options.host } : {}) },
        resolve,
      )
    })
    return new TcpListener(server)
  }

  private constructor(server: Server) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
  }

  /** Accepts no more. Connections that are open stay their owners'. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve())
    })
  }
}

/** A stranger costs a socket and 99 bytes until it has sent what only a dialler of this node can have made. */
function greet(source: TcpSource, options: TcpListenerOptions): void {
  const { socket } = source
  const left = options.halfOpen.enter(() => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.once('close', left)
  let first: Buffer = Buffer.alloc(0)
  source.take = (bytes) => {
    if (socket.destroyed) return
    first = Buffer.concat([first, bytes])
    if (first.length < firstFrameBytes) return
    if (first.readUIntLE(0, 3) === firstMessageBytes) shakeHands(source, first, options, left)
    else socket.destroy()
  }
}

/** @param first all that came so far */
function shakeHands(
  source: TcpSource,
  first: Buffer,
  options: TcpListenerOptions,
  left: () => void,
): void {
  const { socket } = source
  const from = formatAddress({ host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 })
  const pipe = new TcpPipe(source, first)
  const stream = new NoiseSecretStream(false, pipe, { pattern, keyPair: options.keyPair })
  stream.on('error', () => socket.destroy())
  stream.once('handshake', () => {
    if (!options.admit(stream.remotePublicKey, from)) stream.destroy()
  })
  void stream.opened.then(async (open) => {
    if (!open || stream.destroying) return
    await options.onStream(stream)
    left()
  })
}

export interface TcpDialOptions {
  readonly addresses: readonly Address[]
  /** 32 bytes; whoever else answers is refused. */
  readonly publicKey: Buffer
  readonly keyPair: NoiseKeyPair
  readonly clock: Clock
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/**
 * Reach a peer at one of its addresses, in their order, each begun when the one before failed or is slow.
 * @throws FsError EHOSTUNREACH naming what was wrong with each; the signal's reason
 */
export async function dialTcp(options: TcpDialOptions): Promise<NoiseSecretStream> {
  const over = new AbortController()
  const stop = () => over.abort()
  options.signal.addEventListener('abort', stop, { once: true })
  const cancel = options.clock.after(options.timeoutMs, stop)
  const reasons: string[] = []
  try {
    return await new Promise<NoiseSecretStream>((resolve, reject) => {
      const waiting = [...options.addresses]
      let underWay = 0
      let won = false
      const next = () => {
        const address = waiting.shift()
        if (!address || over.signal.aborted || won) {
          if (underWay === 0) reject(new Error('none left'))
          return
        }
        underWay++
        let begun = false
        const go = () => {
          if (begun) return
          begun = true
          next()
        }
        const cancelNext = options.clock.after(nextAddressMs, go)
        dialOne(address, options, over.signal).then(
          (stream) => {
            cancelNext()
            if (won) stream.destroy()
            won = true
            resolve(stream)
          },
          (error: unknown) => {
            cancelNext()
            reasons.push(`${formatAddress(address)} ${messageOf(error)}`)
            underWay--
            if (begun) next()
            else go()
          },
        )
      }
      next()
    })
  } catch {
    if (options.signal.aborted) throw options.signal.reason
    throw new FsError('EHOSTUNREACH', 'net.dial', { retry: 'later', message: reasons.join('; ') })
  } finally {
    cancel()
    options.signal.removeEventListener('abort', stop)
    stop()
  }
}

/** @throws Error whose message says what was wrong, in words that follow the address */
async function dialOne(
  address: Address,
  { publicKey, keyPair, timeoutMs }: TcpDialOptions,
  over: AbortSignal,
): Promise<NoiseSecretStream> {
  const source = TcpSource.connect({ host: address.host, port: address.port, noDelay: true })
  const { socket } = source
  let connected = false
  socket.once('connect', () => {
    connected = true
  })
  const stream = new NoiseSecretStream(true, new TcpPipe(source), {
    pattern,
    keyPair,
    remotePublicKey: publicKey,
  })
  let failure: Error | undefined
  stream.on('error', (error: Error) => {
    failure = error
  })
  const stop = () => stream.destroy()
  over.addEventListener('abort', stop, { once: true })
  const closed = new Promise<void>((resolve) => stream.once('close', resolve))
  try {
    if ((await stream.opened) && !stream.destroying) return stream
    // `opened` is told first; the error comes with the end of the stream.
    await closed
  } finally {
    over.removeEventListener('abort', stop)
  }
  if (over.aborted) throw new Error(`did not answer within ${timeoutMs} ms`)
  if (!connected) throw new Error(connectWords(failure))
  throw new Error('failed the handshake: another key than expected answers there')
}

function connectWords(error: Error | undefined): string {
  switch (codeOf(error)) {
    case 'ECONNREFUSED':
      return 'refused the connection: nothing listens there'
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'has no route from here'
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'is a name that is not known here'
    default:
      return error ? messageOf(error) : 'hung up'
  }
}
