import type NoiseSecretStream from '@hyperswarm/secret-stream'
import {
  assert,
  background,
  type Clock,
  codeOf,
  FsError,
  type Log,
  limits,
  messageOf,
  newId,
  type PeerKey,
  ProtocolError,
  type Random,
} from '../base/index.ts'
import { type Address, parseAddress, peerKeyOf, shortKey } from './addresses.ts'
import type { Question } from './calls.ts'
import { Connection, type Path } from './connection.ts'
import { Discovery } from './discovery.ts'
import { addressesMax, type Lane, SERVICE_NAME } from './frames.ts'
import { HalfOpen } from './half-open.ts'
import { Peer, type PeerStatus, unreachable } from './peer.ts'
import { sealedKeyBytes } from './sealed-bytes.ts'
import { dialTcp, type NoiseKeyPair, TcpListener } from './tcp.ts'

/** A guest is let in before it is a member, to ask for just that: it may call services that are open to guests. */
export type Role = 'member' | 'guest'

export interface NetOptions {
  /** Ed25519; the public key is what peers know this node by. Read, never kept elsewhere. */
  readonly keyPair: NoiseKeyPair
  readonly listen: {
    /** Absent: every address of this machine. */
    readonly host?: string
    /** TCP, and UDP for the DHT; 0 takes any free one. */
    readonly port: number
  }
  /** "host:port" each by which others reach this node; port 0 stands for the one listened on. */
  readonly advertise: readonly string[]
  /** 32 bytes known to the cluster alone: peers are looked for, and UDX is used. Null: only known addresses, TCP. */
  readonly topic: Buffer | null
  /** "host:port" each of nodes that carry the DHT; none for the first node. The public DHT is asked only if named here. */
  readonly bootstrap: readonly string[]
  /** Asked at each handshake and each call of a guest or member; null is refused. */
  readonly admit: (key: PeerKey) => Role | null
  /** Why `admit` refuses a key, for the log. */
  readonly refusalOf?: (key: PeerKey) => string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

export interface Call {
  readonly peer: PeerKey
  readonly role: Role
  /** The handler's to keep. */
  readonly body: Buffer
  /** As CallOptions.sealed, lent until the handler's promise is settled; null when it came as the end of the body, or not at all. */
  readonly sealed: Buffer | null
  /** Aborted when the caller gave up or is gone. */
  readonly signal: AbortSignal
}

/** Answers a call with bytes of which it gives up ownership; an FsError goes to the caller with its code and message. */
export type Handler = (call: Call) => Promise<Buffer>

export interface ServeOptions {
  /** Calls on the other lane are refused. */
  readonly lane: Lane
  /** Guests may call it too. */
  readonly guests?: boolean
}

export interface CallOptions {
  readonly lane?: Lane
  /** From now, for everything: connecting, waiting for a place, the answer. */
  readonly deadlineMs: number
  /** Of that, at most so long for a connection. */
  readonly connectMs?: number
  readonly signal?: AbortSignal
  /**
   * Bytes behind the body that nobody can read without a key that the connection does not know: they need no second seal,
   * only that not a bit of them changes on the way. Borrowed as the body is.
   */
  readonly sealed?: Buffer
}

export interface PeerChange {
  readonly key: PeerKey
  readonly up: boolean
  /** When down: in words. */
  readonly why: string
}

/** With UDX to fall back on, TCP has so long; alone it may wait out a lost packet or two. */
export const tcpMsBeforeUdx = 1500
const tcpMs = 5000
const udxMs = 10_000
const greetMs = 5000
/** Refusals are logged at most so often, with a count: strangers must not fill the log. */
const refusalLogMs = 1000

export class Net {
  readonly key: PeerKey
  readonly #options: NetOptions
  readonly #halfOpen: HalfOpen
  /** Drawn anew at each start. */
  readonly #instance: string
  readonly #peers = new Map<PeerKey, Peer>()
  readonly #services = new Map<string, { handler: Handler } & ServeOptions>()
  readonly #listeners = new Set<(change: PeerChange) => void>()
  #advertise: readonly Address[] = []
  #listener: TcpListener | undefined
  #discovery: Discovery | undefined
  #dials = 0
  #refused = { count: 0, loggedMs: Number.NEGATIVE_INFINITY }
  #cancelTick: (() => void) | undefined
  #closed: FsError | undefined

  /** Nothing happens before `open`; services are offered in between, so that no call comes too early. */
  constructor(options: NetOptions) {
    this.#options = options
    this.key = peerKeyOf(options.keyPair.publicKey)
    this.#halfOpen = new HalfOpen(options.clock)
    this.#instance = newId(options.random)
  }

  /**
   * Listen, and look for peers when there is a topic. Waits for nobody.
   * @throws FsError EINVAL for an option that makes no sense; EADDRINUSE and others of bind(2)
   */
  async open(): Promise<void> {
    try {
      await this.#start()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** The port listened on. */
  get port(): number {
    assert(this.#listener !== undefined, 'the port is asked of an open net')
    return this.#listener.port
  }

  /** Offer a service. @param service a-z, 0-9, dot and dash */
  serve(service: string, handler: Handler, options: ServeOptions): void {
    assert(SERVICE_NAME.test(service), `${service} can be the name of a service`)
    assert(!this.#services.has(service), `service ${service} is offered once`)
    this.#services.set(service, { handler, ...options })
  }

  /**
   * Call a service of a peer. Calls of one lane begin there in the order in which they were made, while the connection
   * stays the same.
   * @param body at most limits.netBodyBytesMax; borrowed until the promise is settled
   * @throws FsError with the peer's own code when it answered with an error; EHOSTUNREACH with the reason in words when
   * there was no connection in time, and the peer knows nothing of the call; ETIMEDOUT when there was no answer; ECONNRESET when the connection broke
   * meanwhile, the peer may have done it or not; ECANCELED by the signal or after close; EAGAIN when too many calls wait;
   * EMSGSIZE for too large a body
   */
  async call(
    key: PeerKey,
    service: string,
    body: Buffer,
    { lane = 'control', deadlineMs, connectMs, signal, sealed }: CallOptions,
  ): Promise<Buffer> {
    if (this.#closed) throw this.#closed
    const bytes = body.length + (sealed?.length ?? 0)
    if (bytes > limits.netBodyBytesMax)
      throw new FsError('EMSGSIZE', 'net.call', {
        message: `net.call: ${service} with ${bytes} bytes, at most ${limits.netBodyBytesMax}; send it in parts`,
      })
    if (key === this.key) throw unreachable(key, 'that is this node itself')
    if (!this.#options.admit(key)) throw unreachable(key, 'it is not a member here')
    const peer = this.#peer(key)
    const over = new AbortController()
    const cancel = this.#options.clock.after(deadlineMs, () =>
      over.abort(
        new FsError('ETIMEDOUT', 'net.call', {
          peer: key,
          retry: 'later',
          message: `net.call: peer ${shortKey(key)} did not answer ${service} within ${deadlineMs} ms`,
        }),
      ),
    )
    const giveUp = () =>
      over.abort(
        new FsError('ECANCELED', 'net.call', {
          cause: signal?.reason,
          message: `net.call: ${service} was given up`,
        }),
      )
    if (signal?.aborted) giveUp()
    signal?.addEventListener('abort', giveUp, { once: true })
    try {
      for (;;) {
        const connection = await peer.connection(lane, over.signal, connectMs ?? null)
        const question = { service, body, sealed: sealed ?? null }
        const answer = await connection.ask(question, over.signal)
        if (answer) return answer
      }
    } finally {
      cancel()
      signal?.removeEventListener('abort', giveUp)
      this.#forget(peer)
    }
  }

  /**
   * Where a peer is reached, best first: it is dialled now, and again whenever it is lost. An empty list ends that.
   * @param addresses "host:port" each
   * @throws FsError EINVAL for one that is not
   */
  addresses(key: PeerKey, addresses: readonly string[]): void {
    if (this.#closed || key === this.key) return
    const parsed = parseAll(addresses)
    const peer = this.#peer(key)
    peer.tell(parsed)
    this.#forget(peer)
  }

  peers(): PeerStatus[] {
    return [...this.#peers.values()].map((peer) => peer.status())
  }

  /** End the connections of a peer now, and forget where it is: it was revoked, or left. `admit` keeps it out from here on. */
  drop(key: PeerKey): void {
    const peer = this.#peers.get(key)
    if (!peer) return
    this.#peers.delete(key)
    peer.stop(unreachable(key, 'it was dropped'))
  }

  /** Told when a peer is connected, and when it is no more. @returns cancel */
  onPeer(listener: (change: PeerChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Calls under way fail with ECANCELED, handlers are told to stop. Ends within about a second, whoever is there. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = new FsError('ECANCELED', 'net.call', {
      message: 'net.call: the node is stopping',
    })
    this.#cancelTick?.()
    for (const peer of this.#peers.values()) peer.stop(this.#closed)
    this.#peers.clear()
    this.#halfOpen.closeAll()
    await Promise.all([this.#listener?.close(), this.#discovery?.close()])
  }

  async #start(): Promise<void> {
    const { keyPair, listen, advertise, topic, bootstrap, clock } = this.#options
    if (topic && topic.length !== 32)
      throw new FsError('EINVAL', 'net.open', {
        message: `net.open: a topic has 32 bytes, this one ${topic.length}`,
      })
    const advertised = parseAll(advertise)
    const known = parseAll(bootstrap)
    this.#listener = await TcpListener.listen({
      host: listen.host,
      port: listen.port,
      keyPair,
      halfOpen: this.#halfOpen,
      admit: (publicKey, from) => this.#admit(publicKey, from),
      onStream: (stream) => this.#greet(stream, 'tcp'),
    })
    const { port } = this.#listener
    this.#advertise = advertised.map((address) =>
      address.port === 0 ? { ...address, port } : address,
    )
    if (topic)
      this.#discovery = await Discovery.open({
        keyPair,
        topic,
        host: listen.host,
        port,
        advertise: this.#advertise,
        bootstrap: known,
        admit: (publicKey, from) => this.#admit(publicKey, from),
        onStream: (stream) => this.#greetUdx(stream),
        onFound: (key, addresses) => {
          if (!this.#closed && this.#options.admit(key)) this.#peer(key).find(addresses)
        },
        clock,
        log: this.#options.log,
      })
    this.#tick()
  }

  #tick(): void {
    this.#cancelTick = this.#options.clock.after(limits.netHeartbeatMs, () => {
      for (const peer of this.#peers.values()) peer.tick()
      this.#tick()
    })
  }

  /** Who comes in: asked in the handshake, before anything else is read. */
  #admit(publicKey: Buffer, from: string): boolean {
    if (this.#closed) return false
    const key = peerKeyOf(publicKey)
    if (key === this.key) return false
    const why = this.#refusalOf(key)
    if (why) this.#logRefusal(key, from, why)
    return why === ''
  }

  /** Why this peer may not have one more connection; '' when it may. */
  #refusalOf(key: PeerKey): string {
    const role = this.#options.admit(key)
    if (!role) return this.#options.refusalOf?.(key) || 'not a member'
    const known = this.#peers.get(key)
    if (known && known.connections >= limits.netConnectionsPerPeerMax) return 'too many connections'
    const isNewGuest = role === 'guest' && !known
    return isNewGuest && this.#guests() >= limits.netGuestsMax ? 'too many guests' : ''
  }

  #guests(): number {
    let guests = 0
    for (const key of this.#peers.keys()) if (this.#options.admit(key) === 'guest') guests++
    return guests
  }

  #logRefusal(peer: PeerKey, from: string, why: string): void {
    this.#refused.count++
    const now = this.#options.clock.monotonicMs()
    if (now - this.#refused.loggedMs < refusalLogMs) return
    this.#options.log.warn(
      { op: 'net.admit', peer, from, why, refused: this.#refused.count },
      'refused a peer in the handshake',
    )
    this.#refused = { count: 0, loggedMs: now }
  }

  #greetUdx(stream: NoiseSecretStream): void {
    const left = this.#halfOpen.enter(() => stream.destroy())
    stream.once('close', left)
    void stream.opened.then(async (open) => {
      if (!open || stream.destroying) return
      await this.#greet(stream, 'udx')
      left()
    })
  }

  /** The handshake of one who dialled is done: hear what it wants. */
  async #greet(stream: NoiseSecretStream, path: Path): Promise<void> {
    try {
      const connection = await this.#open(stream, path, undefined)
      this.#adopt(connection)
    } catch (error) {
      const peer = peerKeyOf(stream.remotePublicKey)
      this.#options.log.info({ op: 'net.greet', peer, error: messageOf(error) }, 'no greeting')
    }
  }

  /** Asked once more: many may have been in their handshake at a time. */
  #adopt(connection: Connection): void {
    const { peer } = connection
    const why = this.#refusalOf(peer)
    if (why) this.#logRefusal(peer, '', why)
    if (this.#closed || why) connection.destroy(this.#closed ?? unreachable(peer, why))
    // It may have closed between its greeting and now.
    if (!connection.closed) this.#peer(peer).adopt(connection)
  }

  /** @param lane that this side dialled for; undefined when the other side did */
  #open(stream: NoiseSecretStream, path: Path, lane: Lane | undefined): Promise<Connection> {
    return Connection.open(stream, {
      path,
      dialled: lane !== undefined,
      hello: {
        lane: lane ?? 'control',
        instance: this.#instance,
        dial: lane === undefined ? 0 : ++this.#dials,
        sealedKey: this.#options.random.bytes(sealedKeyBytes),
        addresses: this.#advertise.slice(0, addressesMax),
      },
      clock: this.#options.clock,
      handle: (connection, question, signal) => this.#handle(connection, question, signal),
      onBye: (connection) => this.#peers.get(connection.peer)?.left(connection),
      onClose: (connection, error) => {
        if (error.cause instanceof ProtocolError)
          this.#options.log.warn(
            { op: 'net.peer', peer: connection.peer, error: error.message },
            'broke the protocol',
          )
        const peer = this.#peers.get(connection.peer)
        if (!peer) return
        peer.closed(connection, error)
        this.#forget(peer)
      },
    })
  }

  async #dial(peer: Peer, lane: Lane, tcpOnly: boolean, signal: AbortSignal): Promise<Connection> {
    if (!this.#options.admit(peer.key)) throw unreachable(peer.key, 'it is not a member here')
    const publicKey = Buffer.from(peer.key, 'hex')
    const { keyPair, clock } = this.#options
    const { addresses } = peer
    const discovery = tcpOnly ? undefined : this.#discovery
    const reasons: string[] = []
    if (addresses.length > 0)
      try {
        const timeoutMs = discovery ? tcpMsBeforeUdx : tcpMs
        const dialling = { addresses, publicKey, keyPair, clock, timeoutMs, signal }
        const stream = await dialTcp(dialling)
        return this.#dialled(peer, await this.#openWithin(stream, 'tcp', lane, signal))
      } catch (error) {
        // It answered, and does not want us: no other way changes that.
        if (signal.aborted || codeOf(error) !== 'EHOSTUNREACH') throw error
        reasons.push(messageOf(error))
      }
    if (discovery)
      try {
        const stream = await discovery.dial(publicKey, udxMs, signal)
        return this.#dialled(peer, await this.#openWithin(stream, 'udx', lane, signal))
      } catch (error) {
        if (signal.aborted || codeOf(error) !== 'EHOSTUNREACH') throw error
        reasons.push(messageOf(error))
      }
    if (reasons.length === 0) reasons.push('no address of it is known')
    throw new FsError('EHOSTUNREACH', 'net.dial', { retry: 'later', message: reasons.join('; ') })
  }

  #dialled(peer: Peer, connection: Connection): Connection {
    // Counted from here on, whether the lane takes it or not.
    peer.track(connection)
    return connection
  }

  async #openWithin(
    stream: NoiseSecretStream,
    path: Path,
    lane: Lane,
    signal: AbortSignal,
  ): Promise<Connection> {
    const stop = () => stream.destroy()
    const cancel = this.#options.clock.after(greetMs, stop)
    signal.addEventListener('abort', stop, { once: true })
    try {
      return await this.#open(stream, path, lane)
    } finally {
      cancel()
      signal.removeEventListener('abort', stop)
    }
  }

  async #handle(
    connection: Connection,
    { service: name, body, sealed }: Question,
    signalOf: () => AbortSignal,
  ): Promise<Buffer> {
    const { peer } = connection
    const role = this.#options.admit(peer)
    if (!role) {
      this.drop(peer)
      throw refusal('EACCES', name, 'the caller is no longer a member')
    }
    const service = this.#services.get(name)
    if (!service) throw refusal('EOPNOTSUPP', name, 'no such service here; upgrade the older node')
    if (role === 'guest' && !service.guests) throw refusal('EACCES', name, 'for members only')
    if (service.lane !== connection.lane)
      throw refusal('EINVAL', name, `is served on the ${service.lane} lane`)
    try {
      return await service.handler({
        peer,
        role,
        body,
        sealed,
        get signal() {
          return signalOf()
        },
      })
    } catch (error) {
      if (!(error instanceof FsError))
        Promise.reject(error).catch(background(this.#options.log, `net.serve ${name}`))
      throw error
    }
  }

  #peer(key: PeerKey): Peer {
    const known = this.#peers.get(key)
    if (known) return known
    const peer = new Peer({
      own: this.key,
      key,
      clock: this.#options.clock,
      random: this.#options.random,
      dial: (who, lane, tcpOnly, signal) => this.#dial(who, lane, tcpOnly, signal),
      changed: (who, up, why) => this.#changed(who, up, why),
    })
    this.#peers.set(key, peer)
    return peer
  }

  #forget(peer: Peer): void {
    if (peer.forgettable && this.#peers.get(peer.key) === peer) this.#peers.delete(peer.key)
  }

  #changed(peer: Peer, up: boolean, why: string): void {
    this.#options.log.info(
      { op: 'net.peer', peer: peer.key, up, why },
      up ? 'peer up' : 'peer down',
    )
    for (const listener of this.#listeners) listener({ key: peer.key, up, why })
  }
}

function refusal(code: 'EACCES' | 'EOPNOTSUPP' | 'EINVAL', service: string, why: string): FsError {
  return new FsError(code, 'net.serve', { service, message: `net.serve: ${service}: ${why}` })
}

function parseAll(texts: readonly string[]): Address[] {
  return texts.map((text) => {
    const address = parseAddress(text)
    if (!address)
      throw new FsError('EINVAL', 'net.open', {
        message: `net.open: ${JSON.stringify(text.slice(0, 300))} is not host:port`,
      })
    return address
  })
}
