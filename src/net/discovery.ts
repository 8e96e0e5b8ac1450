import { createSocket } from 'node:dgram'
import { isIPv4 } from 'node:net'
import { networkInterfaces } from 'node:os'
import type NoiseSecretStream from '@hyperswarm/secret-stream'
import HyperDHT, { type DhtAddress } from 'hyperdht'
import Hyperswarm, { type TopicSession } from 'hyperswarm'
import {
  background,
  type Clock,
  codeOf,
  type ErrnoCode,
  FsError,
  type Log,
  messageOf,
  type PeerKey,
} from '../base/index.ts'
import { type Address, formatAddress, peerKeyOf } from './addresses.ts'
import type { NoiseKeyPair } from './tcp.ts'

export interface DiscoveryOptions {
  readonly keyPair: NoiseKeyPair
  /** 32 bytes. */
  readonly topic: Buffer
  /** Address the UDP socket is bound to; absent: the advertised one when it is of this machine, else all. */
  readonly host: string | undefined
  /** UDP; the same number as for TCP. */
  readonly port: number
  readonly advertise: readonly Address[]
  readonly bootstrap: readonly Address[]
  readonly admit: (publicKey: Buffer, from: string) => boolean
  /** A peer dialled this node; its handshake is done. */
  readonly onStream: (stream: NoiseSecretStream) => void
  /** @param addresses TCP addresses it may have */
  readonly onFound: (peer: PeerKey, addresses: readonly Address[]) => void
  readonly clock: Clock
  readonly log: Log
}

const lookMsMin = 1000
const lookMsMax = 10_000
/** Taking the announcement back asks other nodes, which may be gone. */
const farewellMsMax = 1000
const relaysMax = 1024

/**
 * Finds peers by topic in a DHT of the cluster's own nodes, and reaches them through NATs.
 *
 * A node that advertises an IPv4 address with the port it listens on is told to the DHT as reachable there: with few nodes
 * hyperdht cannot find that out by itself (design §1). Any other is taken for one behind a NAT.
 * hyperswarm announces; connecting is done here, since hyperswarm keeps one connection per peer and bans who is refused once.
 */
export class Discovery {
  readonly #options: DiscoveryOptions
  readonly #dht: HyperDHT
  readonly #swarm: Hyperswarm
  readonly #session: TopicSession
  /** Asked as well as the others: in a DHT of two nodes each holds what the other looks for. */
  readonly #self: readonly DhtAddress[]
  /** By public key in hex: nodes of the DHT that know the way. */
  readonly #relays = new Map<PeerKey, readonly DhtAddress[]>()
  #pauseMs = lookMsMin
  #cancelLook: (() => void) | undefined
  #closed = false

  /** @throws FsError EADDRINUSE and others of bind(2) */
  static async open(options: DiscoveryOptions): Promise<Discovery> {
    const reachable = options.advertise.find(
      ({ host, port }) => isIPv4(host) && port === options.port,
    )
    const dhtOptions = {
      bootstrap: options.bootstrap
        .filter((address) => !options.advertise.some((own) => sameAddress(own, address)))
        .map(formatAddress),
      port: options.port,
      host: options.host ?? (reachable && isLocal(reachable.host) ? reachable.host : '0.0.0.0'),
      anyPort: false,
    }
    await tryPort(dhtOptions.port, dhtOptions.host)
    const dht = reachable
      ? HyperDHT.bootstrapper(options.port, reachable.host, dhtOptions)
      : new HyperDHT(dhtOptions)
    await dht.bind()
    return new Discovery(options, dht, reachable)
  }

  private constructor(options: DiscoveryOptions, dht: HyperDHT, reachable: Address | undefined) {
    this.#options = options
    this.#dht = dht
    this.#self = reachable ? [reachable] : []
    this.#swarm = new Hyperswarm({ dht, keyPair: options.keyPair })
    const server = this.#swarm.server
    server.removeAllListeners('connection')
    server.on('connection', (stream: NoiseSecretStream) => {
      // Until its owner listens; the reason comes with 'close'.
      stream.on('error', () => {})
      if (this.#closed) stream.destroy()
      else options.onStream(stream)
    })
    server.firewall = (publicKey, _payload, { host, port }) =>
      !options.admit(publicKey, formatAddress({ host, port }))
    this.#session = this.#swarm.join(options.topic, { server: true, client: false })
    this.#look()
  }

  /**
   * Reach a peer over UDX.
   * @throws FsError EHOSTUNREACH saying why; the signal's reason
   */
  async dial(
    publicKey: Buffer,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<NoiseSecretStream> {
    const { clock, keyPair } = this.#options
    const stream = this.#dht.connect(publicKey, {
      keyPair,
      relayAddresses: this.#relays.get(peerKeyOf(publicKey)) ?? [],
    })
    let why = 'not reached'
    stream.on('error', (error: Error) => {
      why = messageOf(error).toLowerCase()
    })
    const closed = new Promise<void>((resolve) => stream.once('close', resolve))
    const stop = () => stream.destroy()
    const cancel = clock.after(timeoutMs, () => {
      why = `no answer within ${timeoutMs} ms`
      stop()
    })
    signal.addEventListener('abort', stop, { once: true })
    try {
      if ((await stream.opened) && !stream.destroying) return stream
      await closed
    } finally {
      cancel()
      signal.removeEventListener('abort', stop)
    }
    if (signal.aborted) throw signal.reason
    throw new FsError('EHOSTUNREACH', 'net.dial', {
      retry: 'later',
      message: `through the DHT: ${why}`,
    })
  }

  /** Ends within a second or so, whoever else is there. */
  async close(): Promise<void> {
    this.#closed = true
    this.#cancelLook?.()
    const cancel = this.#options.clock.after(farewellMsMax, () => {
      this.#dht.destroy({ force: true }).catch(background(this.#options.log, 'net.discovery'))
    })
    await this.#swarm.destroy().catch((error: unknown) => {
      this.#options.log.debug({ error: messageOf(error) }, 'left the DHT without a farewell')
    })
    cancel()
    await this.#dht.destroy({ force: true })
  }

  /** Announce and ask who else did; again after a pause that grows while nobody new is found. */
  #look(): void {
    this.#cancelLook = undefined
    void this.#findPeers()
      .catch((error: unknown) => {
        // Nobody answers: the first node, or a network that is down. The next look tells.
        this.#options.log.debug({ error: messageOf(error) }, 'nobody answers in the DHT')
        return 0
      })
      .then((news) => {
        if (this.#closed) return
        this.#pauseMs = news > 0 ? lookMsMin : Math.min(lookMsMax, this.#pauseMs * 2)
        this.#cancelLook = this.#options.clock.after(this.#pauseMs, () => this.#look())
      })
  }

  /** @returns how many peers were not known before */
  async #findPeers(): Promise<number> {
    await this.#session.refresh({ server: true, client: false })
    let news = 0
    const lookup = this.#dht.lookup(this.#options.topic, { nodes: this.#self })
    for await (const { peers } of lookup) {
      if (this.#closed) return 0
      for (const { publicKey, relayAddresses } of peers) {
        if (publicKey.equals(this.#options.keyPair.publicKey)) continue
        const key = peerKeyOf(publicKey)
        if (!this.#relays.has(key)) news++
        this.#relays.delete(key)
        this.#relays.set(key, relayAddresses)
        const [oldest] = this.#relays.keys()
        if (this.#relays.size > relaysMax && oldest) this.#relays.delete(oldest)
        // A node that is reached directly names itself first; TCP has the same port there.
        this.#options.onFound(key, relayAddresses.slice(0, 1))
      }
    }
    return news
  }
}

/** Asked before hyperdht is: when its own bind fails it never lets go of the process. */
async function tryPort(port: number, host: string): Promise<void> {
  const socket = createSocket('udp4')
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.bind({ port, address: host, exclusive: true }, resolve)
    })
  } catch (error) {
    throw new FsError((codeOf(error) || 'EIO') as ErrnoCode, 'net.listen', {
      cause: error,
      message: `net.listen: UDP port ${port} of ${host}: ${messageOf(error)}; choose another port or stop what has it`,
    })
  } finally {
    socket.close()
  }
}

function sameAddress(a: Address, b: Address): boolean {
  return formatAddress(a) === formatAddress(b)
}

function isLocal(host: string): boolean {
  return Object.values(networkInterfaces()).some((addresses) =>
    addresses?.some(({ address }) => address === host),
  )
}
