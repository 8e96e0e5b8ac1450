import { join } from 'node:path'
import type { MemberStatus } from '../api/index.ts'
import {
  background,
  type Clock,
  FsError,
  isBug,
  type Log,
  messageOf,
  type NodeId,
  type PeerKey,
  type Random,
} from '../base/index.ts'
import {
  type Authority,
  answerJoin,
  type ClusterRecord,
  type CoordinatorPlace,
  formatAddress,
  JOIN_SERVICE,
  MEMBERS_SERVICE,
  type Member,
  Membership,
  type MembershipChange,
  type NodeSigned,
  parseAddress,
  readCache,
  restateMember,
  type Self,
  successorIn,
} from '../cluster/index.ts'
import {
  type Coordinator,
  type EtcdOptions,
  generationGuarded,
  openEmbeddedCoordinator,
  openEtcdCoordinator,
  RemoteCoordinator,
  type ServedCoordinator,
  serveCoordinator,
} from '../coordinator/index.ts'
import { systemDisk } from '../disk/index.ts'
import type { CallOptions, Net, PeerStatus } from '../net/index.ts'
import { ClusterCoordinator } from './cluster-coordinator.ts'
import { addressesOf, type Network, readNetwork } from './cluster-network.ts'
import { type Etcd, etcdOptionsFor, formatEtcd, movedTo } from './cluster-place.ts'
import {
  endIntent,
  generationIn,
  type Intent,
  readIntent,
  setAside,
  writeIntent,
} from './cluster-successor.ts'

export interface ClusterWorld {
  readonly home: string
  readonly self: Self
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** RPC service of the node that has the embedded coordinator, for members. */
const COORDINATOR_SERVICE = 'coordinator'
/** A member tells another who belongs to the cluster: the body is what MEMBERS_SERVICE answers. */
const TELL_SERVICE = 'cluster.tell'

const CALL_MS = 5000
/** To a node that is being removed: it may be away for good. */
const PARTING_MS = 2000
const removedWords = 'this node was removed from the cluster'
/** A port that another program has may be free later. */
const LISTEN_AGAIN_MS = 5000

/**
 * This node's part in its cluster: peers as channels, who they are, and the coordinator, wherever it is. Open it for a home
 * that is in a cluster only; nothing here waits for a peer, so a node starts also when it is alone.
 */
export class ClusterMember {
  readonly coordinator: ClusterCoordinator
  readonly membership: Membership
  readonly #world: ClusterWorld
  readonly #network: Network
  #net: Net | null = null
  /** Why this node listens nowhere; '' when it does. */
  #notListening = ''
  #embedded: Coordinator | null = null
  #served: ServedCoordinator | null = null
  /** Removed a moment ago, and not yet told so. */
  readonly #parting = new Set<string>()
  readonly #reached = new Set<() => void>()
  /** Where the coordinator was when this life began. */
  readonly place: string
  /** What was needed to open it then, as JSON. */
  readonly #access: string
  /** Of the coordinator that this life obeys from its beginning on: of what it owns, nothing is of a lower one. */
  readonly generation: number
  /** A coordinator that is rebuilt on this node; null when none is, or when it is done. */
  #intent: Intent | null
  /** In this home, of a generation that is over; '' when there is none. */
  #past = ''
  #onMoved: () => void = () => {}
  readonly #offers: ((net: Net) => void)[] = []
  /** Nobody is asked before this node is whole; rejected when it will not be. */
  readonly #whole: Promise<void>
  #isWhole: () => void = () => {}
  #isNot: (error: unknown) => void = () => {}
  /** Another node's coordinator or etcd, open or being opened. */
  #inner: Coordinator | null = null
  #cancelListen = () => {}
  #closed = false

  /** @returns null when the home is in no cluster. @throws as readCache, readNetwork; what the embedded coordinator throws */
  static async open(world: ClusterWorld): Promise<ClusterMember | null> {
    const cached = readCache(world.home, systemDisk, world.self)
    if (cached === null) return null
    const member = new ClusterMember(world)
    try {
      await member.#start()
      member.#isWhole()
      return member
    } catch (error) {
      member.#isNot(error)
      await member.close()
      throw error
    }
  }

  private constructor(world: ClusterWorld) {
    this.#world = world
    this.#network = readNetwork(world.home, systemDisk)
    this.#whole = new Promise((resolve, reject) => {
      this.#isWhole = resolve
      this.#isNot = reject
    })
    // The first one to wait for it hears of it.
    this.#whole.catch(() => {})
    this.coordinator = new ClusterCoordinator(
      () => this.#openCoordinator(),
      (error) => this.#explained(error),
    )
    const { home, self, clock, random, log } = world
    const { coordinator } = this
    const membership = Membership.open({
      home,
      disk: systemDisk,
      self,
      coordinator,
      clock,
      random,
      log,
    })
    if (membership === null) throw new FsError('ENOENT', 'cluster.open', { home })
    this.membership = membership
    this.#intent = readIntent(home, systemDisk)
    // Told to others and not yet obeyed here: the daemon ended in between.
    if (this.#intent) membership.succeed(this.#intent.succession)
    this.place = this.#placeNow()
    this.#access = this.#accessNow()
    this.generation = this.record.generation
  }

  /** A coordinator that is rebuilt here: whom it is rebuilt from, and what is to be filled. Null when none is. */
  get rebuilding(): { readonly expects: readonly NodeId[]; readonly target: Coordinator } | null {
    const target = this.embedded
    return this.#intent && target ? { expects: this.#intent.expects, target } : null
  }

  /** It is there, and the others look for it at once. */
  async isRebuilt(): Promise<void> {
    this.#endIntent()
    await this.membership.refresh()
    for (const { signKey } of this.#others()) this.#tell(signKey as PeerKey)
  }

  #endIntent(): void {
    this.#intent = null
    endIntent(this.#world.home, systemDisk)
  }

  /** Words on a coordinator in this home that nobody obeys any more; '' when there is none. */
  get pastCoordinator(): string {
    return this.#past
  }

  /**
   * Written down here, and then told to the others: the coordinator is this node's, of the next generation. In force here
   * from the next life on.
   * @param expects who answers now, and is to be asked then
   */
  async beSuccessor(expects: readonly NodeId[]): Promise<void> {
    const { signed, list } = this.membership.announceSuccession()
    writeIntent(this.#world.home, systemDisk, { succession: signed, expects })
    const others = expects.filter((id) => id !== this.#world.self.id)
    const options = { deadlineMs: CALL_MS }
    const told = others.map((id) =>
      this.#call(this.peerOf(id) ?? undefined, TELL_SERVICE, list, options),
    )
    for (const done of await Promise.allSettled(told)) {
      // Who did not hear hears of it when it is reached again.
      if (done.status === 'rejected') this.#logged('cluster.tell', done.reason)
      else this.#mustObey(done.value, signed)
    }
  }

  /** Two members at once, each on a person's word. @throws FsError EBUSY, of another one that was quicker */
  #mustObey(list: Buffer, mine: NodeSigned): void {
    const { node } = successorIn(list) ?? mine
    if (node === mine.node) return
    endIntent(this.#world.home, systemDisk)
    this.membership.learn(list)
    throw new FsError('EBUSY', 'coordinator.recover', {
      retry: 'later',
      message: `the coordinator is being rebuilt on node ${this.nameOf(node)} already`,
      next: 'weft cluster coordinator shows how far it is; give the command again if it does not come',
    })
  }

  #placeNow(): string {
    const { coordinator } = this.record
    return coordinator.kind === 'etcd' ? formatEtcd(coordinator) : JSON.stringify(coordinator)
  }

  /** Sealed anew with each change of the cluster's keys, it is the same. */
  #accessNow(): string {
    const { coordinator } = this.record
    if (coordinator.kind !== 'etcd' || this.membership.self === null) return ''
    return JSON.stringify(this.membership.accessTo(coordinator))
  }

  get record(): ClusterRecord {
    return this.membership.record
  }

  get authority(): Authority {
    const { self, clock, random, log } = this.#world
    const generationSeen = () => this.record.generation
    return { coordinator: this.coordinator, self, clock, random, log, generationSeen }
  }

  /** Whether this node has the cluster's coordinator. */
  get hasCoordinator(): boolean {
    const { coordinator } = this.record
    return coordinator.kind === 'embedded' && coordinator.node === this.#world.self.id
  }

  /** In words, for a node that may have been removed since. */
  nameOf(id: NodeId): string {
    const member = this.membership.member(id)
    const removal = this.membership.removals().find(({ node }) => node === id)
    return member?.name ?? removal?.name ?? id
  }

  /** Where the coordinator is, and why it does not answer; '' when it does, as far as is known without asking. */
  coordinatorState(): { place: string; why: string; since: string | null } {
    if (this.membership.self === null) {
      return { place: 'no place that this node may ask', why: removedWords, since: null }
    }
    const { coordinator } = this.record
    const place =
      coordinator.kind === 'etcd'
        ? formatEtcd(coordinator)
        : `node ${this.nameOf(coordinator.node)}`
    const { freshness } = this.membership
    const since = freshness.state === 'cached' ? freshness.since : null
    if (this.rebuilding) return { place, why: 'it is being rebuilt here', since }
    return { place, why: this.#unreachable() || this.#staleness(), since }
  }

  /** Why there is no channel to the node that has the coordinator; '' when there is, or none is needed. */
  #unreachable(): string {
    const { coordinator } = this.record
    if (coordinator.kind === 'etcd' || this.hasCoordinator) return ''
    const status = this.peer(coordinator.node)
    if (status?.connected) return ''
    const reason = this.#notListening || status?.lastError || 'no answer yet'
    return `node ${this.nameOf(coordinator.node)} is not reachable: ${reason}`
  }

  /** Why the members are as last known; '' when they are as the coordinator has them. */
  #staleness(): string {
    const { freshness } = this.membership
    return freshness.state === 'cached' ? freshness.reason : ''
  }

  peer(id: NodeId): PeerStatus | null {
    const key = this.membership.member(id)?.signKey
    return this.#net?.peers().find((peer) => peer.key === key) ?? null
  }

  /** How this node reaches another one; nothing is asked. */
  statusOf(id: NodeId): MemberStatus {
    const nothing = { path: null, rttMs: null, since: null, why: '' }
    if (id === this.#world.self.id) return { ...nothing, connection: 'self' }
    if (this.membership.isRemoved(id)) return { ...nothing, connection: 'removed' }
    if (this.membership.self === null) return { ...nothing, connection: 'down', why: removedWords }
    const peer = this.peer(id)
    if (peer === null) {
      const why = this.#notListening || 'no address of it is known'
      return { ...nothing, connection: 'down', why }
    }
    const since = new Date(peer.since.sec * 1000 + peer.since.nsec / 1e6).toISOString()
    const { connected, path, rttMs, lastError } = peer
    if (connected) return { connection: 'up', path, rttMs, since, why: '' }
    return {
      connection: 'down',
      path: null,
      rttMs: null,
      since,
      why: lastError || 'no answer yet',
    }
  }

  get notListening(): string {
    return this.#notListening
  }

  /** Services that the rest of this node offers to members, on the net that is open and on each that is opened later. */
  offer(serve: (net: Net) => void): void {
    this.#offers.push(serve)
    if (this.#net) serve(this.#net)
  }

  /** As Net.call. @throws FsError EHOSTUNREACH also while this node has no net */
  readonly call: Net['call'] = async (peer, service, body, options) =>
    await this.#call(peer, service, body, options)

  /** Null when the node is no member. */
  peerOf(node: NodeId): PeerKey | null {
    return (this.membership.member(node)?.signKey as PeerKey | undefined) ?? null
  }

  /** Null when the key is no member's. */
  nodeOf(peer: PeerKey): NodeId | null {
    return this.membership.members().find(({ signKey }) => signKey === peer)?.node ?? null
  }

  /** Called when a member has been reached that was not: what was waited for may work now. @returns cancel */
  onReached(listener: () => void): () => void {
    this.#reached.add(listener)
    return () => this.#reached.delete(listener)
  }

  /** The record says that the coordinator is elsewhere than when this life began: another life begins with it there. */
  onMoved(listener: () => void): void {
    this.#onMoved = listener
  }

  /** The coordinator in this home, as it is moved: neither guarded nor served. Null when it is not here. */
  get embedded(): Coordinator | null {
    return this.hasCoordinator ? this.#embedded : null
  }

  /**
   * A removal, told to the removed node before its channel ends: from then on nobody lets it in, and it could not ask why.
   * @param remove makes the removal
   */
  async parting<T>(id: NodeId, remove: () => Promise<T>): Promise<T> {
    const key = this.membership.member(id)?.signKey
    if (key === undefined) return await remove()
    this.#parting.add(key)
    try {
      const removed = await remove()
      await this.membership.refresh()
      await this.#net
        ?.call(key as PeerKey, TELL_SERVICE, this.membership.memberList(), {
          deadlineMs: PARTING_MS,
        })
        .catch((error: unknown) => this.#logged('cluster.tell', error))
      return removed
    } finally {
      this.#parting.delete(key)
      if (this.membership.isRemoved(id)) this.#net?.drop(key as PeerKey)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancelListen()
    this.#served?.close()
    // First: what is on its way to it would be tried again until its deadline.
    await this.#inner?.close()
    await Promise.all([this.#net?.close(), this.membership.close(), this.coordinator.close()])
    await this.#embedded?.close()
  }

  async #start(): Promise<void> {
    const { coordinator } = this.record
    const { home, self, clock, random, log } = this.#world
    const directory = join(home, 'coordinator')
    const isHere = coordinator.kind === 'embedded' && coordinator.node === self.id
    if (isHere) {
      if (this.#intent && (await setAside(directory, systemDisk, this.generation)))
        this.#endIntent()
      this.#embedded = await openEmbeddedCoordinator(directory)
    } else {
      // Another node has rebuilt it since.
      if (this.#intent) this.#endIntent()
      if (coordinator.kind === 'etcd') this.#embedded = await openMoved(directory)
      else this.#past = await pastIn(directory, this.generation)
    }
    if (this.#past) log.error({ op: 'coordinator.open' }, this.#past)
    if (this.#embedded) this.#served = await serveCoordinator(this.#embedded, { clock, random })
    this.membership.onChange((change) => this.#changed(change))
    if (this.membership.self === null) {
      log.error({ op: 'cluster.open' }, 'this node was removed from its cluster')
      return
    }
    await this.#listen()
    this.#restate().catch((error: unknown) => this.#logged('cluster.restate', error))
  }

  /** The cluster's coordinator, guarded. Ends within a few seconds. */
  async #openCoordinator(): Promise<Coordinator> {
    await this.#whole
    if (this.membership.self === null) throw this.#removed()
    const { coordinator } = this.record
    try {
      return await this.#guarded(coordinator)
    } catch (error) {
      const next = movedTo(error)
      if (next === null) throw error
      return await this.#guarded(next)
    }
  }

  async #guarded(place: CoordinatorPlace): Promise<Coordinator> {
    const guard = { generationMin: this.record.generation }
    if (place.kind === 'embedded' && this.#embedded !== null) {
      return await generationGuarded(this.#embedded, guard)
    }
    const inner = await this.#openInner(place)
    this.#inner = inner
    try {
      return await generationGuarded(inner, guard)
    } catch (error) {
      await inner.close()
      throw error
    }
  }

  async #openInner(place: CoordinatorPlace): Promise<Coordinator> {
    const { clock } = this.#world
    if (place.kind === 'etcd') return await openEtcdCoordinator(this.etcdOptions(place))
    const key = this.membership.member(place.node)?.signKey
    return new RemoteCoordinator({
      name: this.nameOf(place.node),
      clock,
      call: (body, options) => this.#call(key, COORDINATOR_SERVICE, body, options),
    })
  }

  /** Clusters that share an etcd have keys of their own there. */
  etcdOptions(place: Etcd): EtcdOptions {
    return etcdOptionsFor(
      place,
      this.membership.accessTo(place),
      this.record.name,
      this.#world.clock,
    )
  }

  #removed(): FsError {
    return new FsError('EACCES', 'coordinator.open', {
      message: `this node was removed from the cluster ${this.record.name}: no member lets it in any more`,
      next: 'to join again, begin with an empty home: weft --home DIR up',
    })
  }

  /** Nobody answered: the channel to that node says why. Whether a change was made stays open then. */
  #explained(error: unknown): unknown {
    if (this.membership.self === null) return this.#removed()
    const isSilence = error instanceof FsError && ['ETIMEDOUT', 'EIO'].includes(error.code)
    const why = this.#unreachable()
    if (!isSilence || why === '') return error
    const { place } = this.coordinatorState()
    return new FsError(error.code, error.op, {
      cause: error,
      retry: 'later',
      message: `the coordinator (${place}) does not answer: ${why}`,
      next: 'weft cluster status shows it; try again when it is back, and look first whether it was done',
    })
  }

  async #call(
    key: string | undefined,
    service: string,
    body: Buffer,
    options: CallOptions,
  ): Promise<Buffer> {
    if (this.#net === null || key === undefined) {
      const why = this.#notListening || 'its node is no member'
      throw new FsError('EHOSTUNREACH', 'cluster.call', { message: why, retry: 'later' })
    }
    return await this.#net.call(key as PeerKey, service, body, options)
  }

  /** Opens the net; what cannot be opened now is tried again. */
  async #listen(): Promise<void> {
    const { self, clock, random, log } = this.#world
    // Loaded here and not at the top: hyperswarm takes a fifth of a second, and a node that is alone needs none of it.
    const { Net } = await import('../net/index.ts')
    const others = this.#others()
    const net = new Net({
      keyPair: self.keys.sign,
      listen: this.#network.listen,
      advertise: addressesOf(this.#network),
      topic: this.membership.topic,
      bootstrap: others.flatMap(({ addresses }) => addresses.map(formatAddress)),
      admit: (key) => this.membership.admit(key) ?? (this.#parting.has(key) ? 'guest' : null),
      refusalOf: (key) => this.membership.refusalOf(key),
      clock,
      random,
      log,
    })
    this.#serve(net)
    for (const offer of this.#offers) offer(net)
    net.onPeer(({ key, up }) => {
      if (up) this.#peerUp(key)
    })
    try {
      await net.open()
    } catch (error) {
      this.#notListening = `this node cannot listen: ${messageOf(error)}`
      log.error({ op: 'cluster.listen', error: messageOf(error) }, 'no peer can be reached')
      if (this.#closed) return
      this.#cancelListen = clock.after(LISTEN_AGAIN_MS, () => {
        this.#listen().catch(background(log, 'cluster.listen'))
      })
      return
    }
    if (this.#closed) return await net.close()
    this.#notListening = ''
    this.#net = net
    for (const member of others) this.#dial(member)
  }

  #serve(net: Net): void {
    const { authority } = this
    const control = { lane: 'control' } as const
    net.serve(JOIN_SERVICE, ({ body, peer }) => answerJoin(authority, body, peer), {
      ...control,
      guests: true,
    })
    net.serve(MEMBERS_SERVICE, async () => this.membership.memberList(), control)
    net.serve(
      TELL_SERVICE,
      async ({ body }) => {
        this.membership.learn(body)
        // A coordinator that was away may be back: who is told looks at once.
        if (this.membership.freshness.state === 'cached') this.#look()
        return this.membership.memberList()
      },
      control,
    )
    const served = this.#served
    if (served !== null) {
      net.serve(
        COORDINATOR_SERVICE,
        ({ peer, body, signal }) => served.answer(peer, body, signal),
        control,
      )
    }
  }

  #others(): Member[] {
    return this.membership.members().filter(({ node }) => node !== this.#world.self.id)
  }

  #dial({ signKey, addresses }: Member): void {
    this.#net?.addresses(signKey as PeerKey, addresses.map(formatAddress))
  }

  #changed({ joined, removed, restated, record }: MembershipChange): void {
    const isElsewhere = this.#placeNow() !== this.place || this.#accessNow() !== this.#access
    if (record && isElsewhere) this.#onMoved()
    if (removed.includes(this.#world.self.id)) {
      this.#world.log.error({ op: 'cluster.removed' }, 'this node was removed from its cluster')
      // Not before the answer to whoever told us is out.
      this.#world.clock.after(PARTING_MS, () => {
        const net = this.#net
        this.#net = null
        net?.close().catch(background(this.#world.log, 'cluster.close'))
      })
      return
    }
    for (const { node, signKey } of this.membership.removals()) {
      const isNews = removed.includes(node) && !this.#parting.has(signKey)
      if (isNews) this.#net?.drop(signKey as PeerKey)
    }
    for (const id of [...joined, ...restated]) {
      const member = this.membership.member(id)
      if (member !== null && id !== this.#world.self.id) this.#dial(member)
    }
  }

  #peerUp(key: PeerKey): void {
    for (const reached of this.#reached) reached()
    if (this.membership.succession) this.#tell(key)
    if (this.membership.freshness.state === 'current') return
    this.#learn(key).catch((error: unknown) => this.#logged('cluster.learn', error))
  }

  #look(): void {
    this.membership.refresh().then(
      () => {
        for (const reached of this.#reached) reached()
      },
      (error: unknown) => this.#logged('cluster.refresh', error),
    )
  }

  /** Where the coordinator was rebuilt, a node that was away meanwhile knows from nobody else. */
  #tell(key: PeerKey): void {
    if (this.membership.admit(key) !== 'member') return
    const options = { deadlineMs: CALL_MS }
    this.#call(key, TELL_SERVICE, this.membership.memberList(), options).catch((error: unknown) =>
      this.#logged('cluster.tell', error),
    )
  }

  /** The coordinator first; while it is away, what a peer knows of the members is better than nothing. */
  async #learn(key: PeerKey): Promise<void> {
    if (this.membership.admit(key) !== 'member') return
    try {
      await this.membership.refresh()
      await this.#restate()
    } catch (error) {
      this.#logged('cluster.refresh', error)
      const options = { deadlineMs: CALL_MS }
      this.membership.learn(await this.#call(key, MEMBERS_SERVICE, Buffer.alloc(0), options))
    }
  }

  /** A machine's addresses may have changed since it said them. */
  async #restate(): Promise<void> {
    await this.#whole
    const addresses = addressesOf(this.#network).map(parseAddress)
    const said = this.membership.self?.addresses.map(formatAddress).join()
    if (said === addresses.map(formatAddress).join()) return
    await restateMember(this.authority, { addresses })
  }

  #logged(op: string, error: unknown): void {
    if (isBug(error)) throw error
    this.#world.log.warn({ op, error: messageOf(error) }, 'not done')
  }
}

/**
 * The coordinator that was in this home until it moved: a node that was away meanwhile asks here, and is told where to.
 * Null when none was here.
 */
async function openMoved(directory: string): Promise<Coordinator | null> {
  if (!systemDisk.exists(directory)) return null
  const old = await openEmbeddedCoordinator(directory)
  try {
    await generationGuarded(old, { generationMin: 0 })
  } catch (error) {
    if (movedTo(error)) return old
  }
  await old.close()
  return null
}

/** @returns words on a coordinator that was in use here and is of a generation that is over; '' when there is none */
async function pastIn(directory: string, generation: number): Promise<string> {
  if (!systemDisk.exists(directory)) return ''
  const found = await generationIn(directory)
  if (typeof found !== 'number' || found >= generation) return ''
  return `the coordinator in ${directory} is of generation ${found}, and generation ${generation} is obeyed: it was rebuilt on another node`
}
