import {
  Alarm,
  assert,
  background,
  type Clock,
  CorruptError,
  type FailureDomain,
  FsError,
  isBug,
  isoTime,
  type Log,
  messageOf,
  type NodeId,
  ProtocolError,
  type Random,
  wallMs,
} from '../base/index.ts'
import type { Coordinator, Entry } from '../coordinator/index.ts'
import { discoveryTopic, wipeClusterKeys } from '../crypto/index.ts'
import type { Disk } from '../disk/index.ts'
import { openWrapped, type Self } from './authority.ts'
import { readCache, writeCache } from './cache.ts'
import type { Member, Removal } from './certificate.ts'
import { accessFor, type EtcdAccess } from './coordinator-access.ts'
import type { Contact } from './invite-line.ts'
import { endOf, type InviteRecord, invitesIn } from './invites.ts'
import { type Life, newLife } from './lives.ts'
import { decodeMemberList, encodeMemberList } from './member-list.ts'
import {
  changeBetween,
  learnFrom,
  type MembershipChange,
  mergeViews,
  withSuccession,
} from './merge-views.ts'
import type { NodeSigned } from './node-signed.ts'
import { rebuiltCluster } from './rebuild-cluster.ts'
import {
  CLUSTER,
  type ClusterRecord,
  type CoordinatorPlace,
  INVITES,
  MEMBERS,
  REMOVED,
} from './record.ts'
import { signSuccession } from './succession.ts'
import { type ClusterEntries, type ClusterView, closeView, listEntries, viewOf } from './view.ts'

export interface MembershipWorld {
  readonly home: string
  readonly disk: Disk
  readonly self: Self
  readonly coordinator: Coordinator
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** Whether what this node believes is what the coordinator has, and if not, why. */
export type Freshness =
  | { readonly state: 'current' }
  /** @property since ISO time of the first question that was not answered, or of the start */
  | { readonly state: 'cached'; readonly reason: string; readonly since: string }

/** A watch wakes at once; asking all the same finds what a watch that broke unnoticed has missed. */
const pollMs = 5000

/**
 * Who belongs to the cluster, answered from memory: read from home/cluster.json at the start, kept fresh from the
 * coordinator, and kept as it is while that is away. A change is in force, and written down unless the disk fails, before
 * listeners are told.
 */
export class Membership {
  /** This start of the daemon, for judgeLife. */
  readonly life: Life
  readonly #world: MembershipWorld
  readonly #ownKey: string
  readonly #listeners = new Set<(change: MembershipChange) => void>()
  #view: ClusterView
  #nodeByKey: ReadonlyMap<string, NodeId> = new Map()
  #removedByKey: ReadonlyMap<string, Removal> = new Map()
  #invitesByKey: ReadonlyMap<string, InviteRecord> = new Map()
  #topic: Buffer | null = null
  #freshness: Freshness
  #cancels: (() => void)[] = []
  #turn: Promise<void> = Promise.resolve()
  #following: Promise<void> = Promise.resolve()
  /** Of what was taken last; '' before. */
  #stamp = ''
  /** The disk has not taken the view as it stands. */
  #unwritten = false
  readonly #alarm: Alarm
  #closed = false

  /**
   * @returns the membership, following the coordinator until `close`; null when the home is in no cluster
   * @throws as readCache; FsError of the disk when the start cannot be written down
   */
  static open(world: MembershipWorld): Membership | null {
    const cached = readCache(world.home, world.disk, world.self)
    if (cached === null) return null
    // Not below the clock: the number grows also when the file was lost and the node joined again.
    const start = Math.max(cached.start + 1, Math.floor(wallMs(world.clock) / 1000))
    writeCache(world.home, world.disk, { ...cached, start })
    const membership = new Membership(world, cached.view, newLife(world.random, start))
    membership.#following = membership.#follow().catch(background(world.log, 'cluster.follow'))
    return membership
  }

  private constructor(world: MembershipWorld, view: ClusterView, life: Life) {
    this.#world = world
    this.#view = view
    this.life = life
    const reason = 'the coordinator was not asked yet'
    this.#freshness = { state: 'cached', reason, since: isoTime(world.clock) }
    this.#alarm = new Alarm(world.clock)
    this.#ownKey = world.self.keys.sign.publicKey.toString('hex')
    this.#index()
  }

  get record(): ClusterRecord {
    return this.#view.record
  }

  /** This node's certificate; null when it was removed. */
  get self(): Member | null {
    return this.#view.members.get(this.#world.self.id)?.member ?? null
  }

  get freshness(): Freshness {
    return this.#freshness
  }

  /** Where the members meet in the DHT, 32 bytes; null when the cluster's keys are not wrapped for this node. */
  get topic(): Buffer | null {
    return this.#topic
  }

  /** By name. */
  members(): Member[] {
    const members = [...this.#view.members.values()].map(({ member }) => member)
    return members.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  member(id: NodeId): Member | null {
    return this.#view.members.get(id)?.member ?? null
  }

  domainOf(id: NodeId): FailureDomain | null {
    return this.member(id)?.domain ?? null
  }

  isRemoved(id: NodeId): boolean {
    return this.#view.removed.has(id)
  }

  removals(): Removal[] {
    return [...this.#view.removed.values()].map(({ removal }) => removal)
  }

  /**
   * What a peer that has proven this key (hex) may be here; null: refuse it. A guest may call JOIN_SERVICE and nothing
   * else. This node's own key is refused too: whoever shows it is a copy of this machine.
   */
  admit(publicKey: string): 'member' | 'guest' | null {
    if (publicKey === this.#ownKey) return null
    if (this.#nodeByKey.has(publicKey)) return 'member'
    const invite = this.#invitesByKey.get(publicKey)
    if (invite === undefined) return null
    return endOf(invite, wallMs(this.#world.clock)) === null ? 'guest' : null
  }

  /** Why `admit` refuses this key, for the log; '' when it does not. */
  refusalOf(publicKey: string): string {
    if (this.admit(publicKey) !== null) return ''
    if (publicKey === this.#ownKey) return "this node's own key: a copy of this machine is running"
    const removal = this.#removedByKey.get(publicKey)
    if (removal !== undefined) return `node ${removal.node}, removed at ${removal.removedAt}`
    const invite = this.#invitesByKey.get(publicKey)
    if (invite === undefined) return 'a stranger: no member and no invite has this key'
    return `invite ${invite.id}, ${endOf(invite, wallMs(this.#world.clock))}`
  }

  nodeOf(publicKey: string): NodeId | null {
    return this.#nodeByKey.get(publicKey) ?? null
  }

  /** Who an invite should name: this node first, then others that state an address. */
  contacts(): Contact[] {
    const { self } = this
    const others = this.members().filter(
      ({ node, addresses }) => node !== self?.node && addresses.length > 0,
    )
    return (self === null ? others : [self, ...others]).map(({ signKey, addresses }) => ({
      signKey,
      addresses,
    }))
  }

  /** What MEMBERS_SERVICE answers: certificates and tombstones for a member that may not reach the coordinator. */
  memberList(): Buffer {
    return encodeMemberList(closeView(this.#view))
  }

  /** What an etcd asks for; nothing when it asks for nothing. @throws CorruptError when the keys here do not open it */
  accessTo(place: Extract<CoordinatorPlace, { kind: 'etcd' }>): EtcdAccess {
    return accessFor(place, this.record, this.#view.wrapped, this.#world.self)
  }

  /** The last rebuilding of the coordinator that was heard of: each member tells it to those that come back. */
  get succession(): NodeSigned | null {
    return this.#view.succession
  }

  /** Says that the coordinator is rebuilt on this node, above all generations that it has seen. In force by `succeed`. */
  announceSuccession(): { readonly signed: NodeSigned; readonly list: Buffer } {
    const { self, clock } = this.#world
    const { id, generation } = this.record
    const signed = signSuccession(id, generation + 1, self, clock)
    return { signed, list: encodeMemberList({ ...closeView(this.#view), succession: signed }) }
  }

  /** From here on this node obeys the coordinator that is said to be rebuilt, and none of a lower generation. */
  succeed(signed: NodeSigned): void {
    this.#obey(withSuccession(this.#view, signed))
  }

  /** What a coordinator that is rebuilt on this node begins with of the cluster: keys and their values. @throws FsError EACCES */
  rebuilt(): ReadonlyMap<string, Buffer> {
    return rebuiltCluster(this.#world.self, this.#view)
  }

  /**
   * Takes the answer of another member.
   * @throws ProtocolError for garbage and for a statement that does not hold: nothing of it is taken then
   */
  learn(bytes: Buffer): void {
    const heard = decodeMemberList(bytes)
    let view: ClusterView
    try {
      view = learnFrom(this.#view, heard)
    } catch (error) {
      if (!(error instanceof CorruptError)) throw error
      throw new ProtocolError(`member list that does not hold: ${error.message}`, error)
    }
    this.#obey(view)
  }

  /** @throws FsError EIO when a higher generation is not on the drive: a restart would obey the lower one again */
  #obey(view: ClusterView): void {
    const before = this.record.generation
    this.#believe(view)
    if (!this.#unwritten || view.record.generation === before) return
    throw new FsError('EIO', 'cluster.succeed', {
      message: `the home of this node takes no changes: that the coordinator is of generation ${view.record.generation} now is not written down`,
    })
  }

  /** Called after each change, when it is in force. @returns cancel */
  onChange(listener: (change: MembershipChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Asks the coordinator now. @throws what it throws; FsError ESTALE when it is behind and not obeyed */
  refresh(): Promise<void> {
    return this.refreshFrom(this.#world.coordinator)
  }

  /** The same, of the coordinator as somebody else has opened it. */
  refreshFrom(coordinator: Coordinator): Promise<void> {
    const turn = this.#turn.then(
      () => this.#refresh(coordinator),
      () => this.#refresh(coordinator),
    )
    this.#turn = turn
    return turn
  }

  /** Ends when the question that is on its way has been answered. */
  async close(): Promise<void> {
    this.#closed = true
    this.#alarm.ring()
    for (const cancel of this.#cancels.splice(0)) cancel()
    await this.#following
  }

  async #follow(): Promise<void> {
    const { log } = this.#world
    while (!this.#closed) {
      try {
        await this.#watch()
        await this.refresh()
      } catch (error) {
        if (isBug(error)) throw error
        if (this.#closed) return
        const reason = messageOf(error)
        if (this.#freshness.state === 'current' || this.#freshness.reason !== reason) {
          log.warn({ op: 'cluster.refresh', error: reason }, 'members are as last known')
        }
        const { freshness } = this
        const since = freshness.state === 'cached' ? freshness.since : isoTime(this.#world.clock)
        this.#freshness = { state: 'cached', reason, since }
      }
      await this.#alarm.sleep(pollMs)
    }
  }

  /** Once; a watch only wakes, the state is read anew. */
  async #watch(): Promise<void> {
    if (this.#cancels.length > 0) return
    const cancels: (() => void)[] = []
    const wake = () => this.#alarm.ring()
    try {
      for (const prefix of [CLUSTER, MEMBERS, REMOVED, INVITES]) {
        cancels.push(await this.#world.coordinator.watch(prefix, wake))
      }
    } catch (error) {
      for (const cancel of cancels) cancel()
      throw error
    }
    if (this.#closed) for (const cancel of cancels) cancel()
    else this.#cancels = cancels
  }

  async #refresh(coordinator: Coordinator): Promise<void> {
    const entries = await listEntries(coordinator)
    const invites = await coordinator.list(INVITES)
    if (this.#closed) throw new FsError('ECANCELED', 'cluster.refresh')
    const stamp = stampOf([...entries.cluster, ...entries.members, ...entries.removed, ...invites])
    // Opening a thousand certificates takes a tenth of a second: not every five seconds for nothing.
    if (stamp !== this.#stamp || this.#unwritten) this.#take(entries, invites)
    this.#stamp = stamp
    this.#freshness = { state: 'current' }
  }

  #take(entries: ClusterEntries, invites: readonly Entry[]): void {
    const { self, log } = this.#world
    const { view, unreadable } = viewOf(entries, self.id)
    for (const { key, error } of unreadable) {
      log.error({ op: 'cluster.refresh', key, error: messageOf(error) }, 'statement passed over')
    }
    this.#believe(mergeViews(this.#view, view))
    this.#invitesByKey = new Map(invitesIn(invites).map((invite) => [invite.publicKey, invite]))
  }

  #believe(view: ClusterView): void {
    const change = changeBetween(this.#view, view)
    const differs = JSON.stringify(closeView(this.#view)) !== JSON.stringify(closeView(view))
    if (differs) {
      this.#view = view
      this.#index()
    }
    // In force first: refusing a removed node must not wait for a disk that is full.
    if (differs || this.#unwritten) this.#write()
    if (change === null) return
    for (const listener of this.#listeners) listener(change)
  }

  #write(): void {
    const { home, disk, log } = this.#world
    try {
      writeCache(home, disk, { view: this.#view, start: this.life.start })
      this.#unwritten = false
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      if (!this.#unwritten) {
        log.error({ op: 'cluster.cache', error: messageOf(error) }, 'members not written down yet')
      }
      this.#unwritten = true
    }
  }

  #index(): void {
    const { members, removed } = this.#view
    assert(
      [...removed.keys()].every((id) => !members.has(id)),
      'nobody is both a member and removed',
    )
    this.#nodeByKey = new Map(
      [...members.values()].map(({ member }) => [member.signKey, member.node]),
    )
    this.#removedByKey = new Map(
      [...removed.values()].map(({ removal }) => [removal.signKey, removal]),
    )
    this.#topic = this.#topicOf(this.#view)
  }

  #topicOf({ wrapped, record }: ClusterView): Buffer | null {
    if (wrapped === '') return null
    try {
      const keys = openWrapped(wrapped, record, this.#world.self)
      const topic = discoveryTopic(keys.secret)
      wipeClusterKeys(keys)
      return topic
    } catch (error) {
      if (!(error instanceof CorruptError)) throw error
      // Members are known by their keys and addresses all the same.
      this.#world.log.error({ op: 'cluster.keys', error: messageOf(error) }, 'no topic')
      return null
    }
  }
}

/** Versions are never given twice, so equal stamps mean equal entries. */
function stampOf(entries: readonly Entry[]): string {
  return entries.map(({ key, version }) => `${key}@${version}`).join()
}
