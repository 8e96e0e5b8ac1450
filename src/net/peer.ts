import { type Clock, FsError, type PeerKey, type Random, type Timespec } from '../base/index.ts'
import { type Address, formatAddress, shortKey } from './addresses.ts'
import type { Connection, Path } from './connection.ts'
import { addressesMax, type Lane } from './frames.ts'
import { PeerLane } from './peer-lane.ts'

export interface PeerStatus {
  readonly key: PeerKey
  readonly connected: boolean
  /** Of the control connection; null when there is none. */
  readonly path: Path | null
  readonly bulkPath: Path | null
  /** Two, when both lanes are up; more while one replaces another. */
  readonly connections: number
  /** Mean of the control connection; null before the first sign of life. */
  readonly rttMs: number | null
  readonly bytesIn: number
  readonly bytesOut: number
  /** When it was connected, or lost, or first known. */
  readonly since: Timespec
  /** Why it is not connected, or was not last, in words; '' when there is nothing to tell. */
  readonly lastError: string
}

export interface PeerOptions {
  readonly own: PeerKey
  readonly key: PeerKey
  readonly clock: Clock
  readonly random: Random
  /** @param tcpOnly do not fall back on UDX */
  readonly dial: (
    peer: Peer,
    lane: Lane,
    tcpOnly: boolean,
    signal: AbortSignal,
  ) => Promise<Connection>
  /** The control connection came or went. */
  readonly changed: (peer: Peer, up: boolean, why: string) => void
}

/** While bulk goes over UDX, TCP is tried again so often. */
const tcpAgainMs = 60_000

/** What this node knows of one peer: where it may be, its two lanes, and what went over them. */
export class Peer {
  readonly key: PeerKey
  readonly #options: PeerOptions
  readonly #lanes: Readonly<Record<Lane, PeerLane>>
  readonly #connections = new Set<Connection>()
  /** By the node above, by the peer itself, by discovery: in this order they are dialled. */
  #told: readonly Address[] = []
  #said: readonly Address[] = []
  #found: readonly Address[] = []
  #isFound = false
  #since: Timespec
  #bytesIn = 0
  #bytesOut = 0
  #tcpAgainMs: number
  #tcpAgain: AbortController | undefined

  constructor(options: PeerOptions) {
    this.#options = options
    this.key = options.key
    this.#since = options.clock.now()
    this.#tcpAgainMs = options.clock.monotonicMs() + tcpAgainMs
    const lane = (name: Lane, wanted: () => boolean, changed: (up: boolean, why: string) => void) =>
      new PeerLane({
        own: options.own,
        peer: options.key,
        clock: options.clock,
        random: options.random,
        dial: (signal) => options.dial(this, name, false, signal),
        wanted,
        changed,
      })
    this.#lanes = {
      control: lane(
        'control',
        () => this.#told.length > 0 || this.#isFound,
        (up, why) => {
          this.#since = options.clock.now()
          options.changed(this, up, why)
          if (up) this.#lanes.bulk.dialNow()
        },
      ),
      // Who could dial control can dial bulk.
      bulk: lane(
        'bulk',
        () => this.#lanes.control.current?.dialled === true,
        () => {},
      ),
    }
  }

  /** Where to dial, best first. */
  get addresses(): readonly Address[] {
    const seen = new Map<string, Address>()
    for (const address of [...this.#told, ...this.#said, ...this.#found])
      seen.set(formatAddress(address), seen.get(formatAddress(address)) ?? address)
    return [...seen.values()].slice(0, addressesMax)
  }

  get connections(): number {
    return this.#connections.size
  }

  /** Nobody would miss it: nothing is open, awaited, or known of where it is. */
  get forgettable(): boolean {
    return (
      this.#connections.size === 0 &&
      this.#told.length === 0 &&
      !this.#isFound &&
      this.#lanes.control.idle &&
      this.#lanes.bulk.idle
    )
  }

  tell(addresses: readonly Address[]): void {
    this.#told = addresses
    this.#lanes.control.dialNow()
  }

  /** @param addresses where discovery supposes it */
  find(addresses: readonly Address[]): void {
    const isNews = !this.#isFound
    this.#isFound = true
    this.#found = addresses
    if (isNews) this.#lanes.control.dialNow()
  }

  /** @see PeerLane.connection */
  connection(lane: Lane, signal: AbortSignal, waitMs: number | null): Promise<Connection> {
    return this.#lanes[lane].connection(signal, waitMs)
  }

  /** An open connection is of this peer, whether a lane takes it into use or not. */
  track(connection: Connection): void {
    if (!connection.closed) this.#connections.add(connection)
    if (connection.addresses.length > 0) this.#said = connection.addresses
  }

  /** The peer dialled. */
  adopt(connection: Connection): void {
    this.track(connection)
    this.#lanes[connection.lane].adopt(connection)
  }

  left(connection: Connection): void {
    this.#lanes[connection.lane].lost(connection, 'the other side took leave')
  }

  closed(connection: Connection, error: FsError): void {
    if (!this.#connections.delete(connection)) return
    this.#bytesIn += connection.bytesIn
    this.#bytesOut += connection.bytesOut
    this.#lanes[connection.lane].lost(connection, error.message)
  }

  /** Called each heartbeat. */
  tick(): void {
    for (const connection of this.#connections) connection.tick()
    const now = this.#options.clock.monotonicMs()
    if (now < this.#tcpAgainMs) return
    this.#tcpAgainMs = now + tcpAgainMs
    if (this.#lanes.bulk.current?.path === 'udx' && this.addresses.length > 0) this.#tryTcp()
  }

  /** End its connections now, and dial it no more. */
  stop(error: FsError): void {
    this.#told = []
    this.#isFound = false
    this.#tcpAgain?.abort(error)
    for (const lane of Object.values(this.#lanes)) lane.stop(error)
    for (const connection of this.#connections) connection.destroy(error)
  }

  status(): PeerStatus {
    const control = this.#lanes.control.current
    const open = [...this.#connections]
    const sum = (bytes: (connection: Connection) => number) =>
      open.reduce((total, connection) => total + bytes(connection), 0)
    return {
      key: this.key,
      connected: control !== undefined,
      path: control?.path ?? null,
      bulkPath: this.#lanes.bulk.current?.path ?? null,
      connections: open.length,
      rttMs: control?.rttMs ?? null,
      bytesIn: this.#bytesIn + sum((connection) => connection.bytesIn),
      bytesOut: this.#bytesOut + sum((connection) => connection.bytesOut),
      since: this.#since,
      lastError: this.#lanes.control.why,
    }
  }

  /** A better connection takes over by its rank; a failure changes nothing. */
  #tryTcp(): void {
    const attempt = new AbortController()
    this.#tcpAgain = attempt
    this.#options.dial(this, 'bulk', true, attempt.signal).then(
      (connection) => this.#lanes.bulk.adopt(connection),
      () => {},
    )
  }
}

/** @param why follows the peer in the message */
export function unreachable(key: PeerKey, why: string): FsError {
  return new FsError('EHOSTUNREACH', 'net.call', {
    peer: key,
    message: `net.call: no connection to peer ${shortKey(key)}: ${why}`,
  })
}
