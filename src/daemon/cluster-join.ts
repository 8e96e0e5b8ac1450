import {
  type Clock,
  FsError,
  type Log,
  type PeerKey,
  type Random,
  silentLog,
} from '../base/index.ts'
import {
  type CachedCluster,
  type Call,
  formatAddress,
  type Invite,
  joinCluster,
  type MemberWords,
  type Self,
} from '../cluster/index.ts'
import { inviteKeyPair, wipe } from '../crypto/index.ts'
import { systemDisk } from '../disk/index.ts'
import type { Net, NoiseKeyPair } from '../net/index.ts'

export interface JoinWorld {
  readonly home: string
  readonly self: Self
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/**
 * Who has not let us in by then and gave a reason is not waited for: an invite that is used up is refused again and again.
 * Longer than a daemon takes to start anew.
 */
const PATIENCE_MS = 3000

/**
 * Asks the nodes of an invite to let this one in, over channels that last as long as that: first with the invite's key, as a
 * guest; as itself when it was let in before and never heard so.
 * @param invite its seed stays the caller's to wipe. @throws as joinCluster
 */
export async function joinOverNet(
  world: JoinWorld,
  invite: Invite,
  node: MemberWords,
): Promise<CachedCluster> {
  const { home, self, clock, log } = world
  const pair = inviteKeyPair(invite.seed)
  const guest = new Channels(world, invite, pair)
  const member = new Channels(world, invite, self.keys.sign)
  try {
    return await joinCluster({
      home,
      disk: systemDisk,
      self,
      clock,
      log,
      invite,
      node,
      asGuest: guest.call,
      asNode: member.call,
    })
  } finally {
    await Promise.all([guest.close(), member.close()])
    wipe(pair.secretKey)
  }
}

/** To the nodes of an invite, with one key; opened by the first call. */
class Channels {
  readonly #world: JoinWorld
  readonly #invite: Invite
  readonly #keyPair: NoiseKeyPair
  #net: Promise<Net> | null = null

  constructor(world: JoinWorld, invite: Invite, keyPair: NoiseKeyPair) {
    this.#world = world
    this.#invite = invite
    this.#keyPair = keyPair
  }

  readonly call: Call = async (peer, service, body, { deadlineMs }) => {
    this.#net ??= this.#open()
    const net = await this.#net
    const over = new AbortController()
    const cancel = this.#world.clock.after(PATIENCE_MS, () => {
      const status = net.peers().find(({ key }) => key === peer)
      if (status && !status.connected && status.lastError) over.abort(status.lastError)
    })
    try {
      return await net.call(peer as PeerKey, service, body, { deadlineMs, signal: over.signal })
    } catch (error) {
      if (!over.signal.aborted) throw error
      const message = String(over.signal.reason)
      throw new FsError('EHOSTUNREACH', 'cluster.join', { cause: error, retry: 'later', message })
    } finally {
      cancel()
    }
  }

  async close(): Promise<void> {
    const net = await this.#net?.catch(() => null)
    await net?.close()
  }

  async #open(): Promise<Net> {
    const { clock, random } = this.#world
    const { contacts } = this.#invite
    const { Net } = await import('../net/index.ts')
    const net = new Net({
      keyPair: this.#keyPair,
      // A net listens; nobody is to find this one.
      listen: { host: '127.0.0.1', port: 0 },
      advertise: [],
      topic: null,
      bootstrap: [],
      admit: (key) => (contacts.some(({ signKey }) => signKey === key) ? 'member' : null),
      clock,
      random,
      // What fails is told by the call that failed.
      log: silentLog,
    })
    await net.open()
    for (const { signKey, addresses } of contacts) {
      net.addresses(signKey as PeerKey, addresses.map(formatAddress))
    }
    return net
  }
}
