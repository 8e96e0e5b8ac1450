import { hostname } from 'node:os'
import { isDeepStrictEqual } from 'node:util'
import type {
  ClusterControl,
  ClusterCreateRequest,
  ClusterEntered,
  ClusterInfo,
  CoordinatorMoved,
  MemberInfo,
  Problem,
} from '../api/index.ts'
import { assert, FsError, type NodeId, systemRandom, wallMs } from '../base/index.ts'
import {
  type Authority,
  type CachedCluster,
  type ClusterRecord,
  checkName,
  checkWords,
  createCluster,
  createInvite,
  type EtcdAccess,
  formatAddress,
  listInvites,
  type MemberWords,
  openWrapped,
  parseAddress,
  parseDomain,
  parseInvite,
  readCluster,
  recordMove,
  removeMember,
  revokeInvite,
  rotateClusterKeys,
  toClusterStatus,
  toInviteInfo,
  toNodeList,
  withAccess,
  withClusterKeys,
  writeCache,
} from '../cluster/index.ts'
import {
  beginGeneration,
  type Coordinator,
  type EtcdOptions,
  generationGuarded,
  migrate,
  openEtcdCoordinator,
  readStanding,
} from '../coordinator/index.ts'
import { wipe, wipeClusterKeys } from '../crypto/index.ts'
import { systemDisk } from '../disk/index.ts'
import { copyOn, type VolumeRecord } from '../volumes/index.ts'
import { joinOverNet } from './cluster-join.ts'
import type { ClusterMember } from './cluster-member.ts'
import { addressesOf, mustBeFree, parseNetwork, writeNetwork } from './cluster-network.ts'
import {
  type Etcd,
  etcdOptionsFor,
  formatEtcd,
  parseEtcd,
  placeOf,
  wordsOf,
} from './cluster-place.ts'
import type { Recovery } from './cluster-recovery.ts'
import type { Node } from './node.ts'
import { couldOwnNow } from './take-over-now.ts'

/** Of the first coordinator of a cluster. */
const FIRST_GENERATION = 1

/** What a person asks of the cluster, through one of its nodes. */
export function clusterControl(node: Node): ClusterControl {
  const member = (): ClusterMember => {
    if (node.cluster) return node.cluster
    throw new FsError('ENOENT', 'cluster', {
      message: 'this node is in no cluster',
      next: 'make one: weft cluster create NAME; or join one: weft cluster join INVITE',
    })
  }
  const recovery = (): Recovery => {
    member()
    assert(node.recovery !== null, 'a member can rebuild the coordinator')
    return node.recovery
  }
  return {
    status: async () => clusterInfo(node, member()),
    create: (request) => create(node, request),
    join: async ({ invite: line, ...request }) => {
      const invite = parseInvite(line)
      try {
        mustHaveNoVolumes(node)
        const words = await prepared(node, request)
        const { home, clock, log } = node
        const world = { home, self: selfOf(node), clock, random: systemRandom, log }
        return await enter(node, await joinOverNet(world, invite, words))
      } finally {
        wipe(invite.seed)
      }
    },
    invite: async (asked) => {
      const { authority, membership } = member()
      const contacts = membership.contacts()
      const { line, invite } = await createInvite(authority, { ...given(asked), contacts })
      return { line, ...toInviteInfo(invite, wallMs(node.clock)) }
    },
    invites: async () => {
      const invites = await listInvites(member().coordinator)
      return invites.map((invite) => toInviteInfo(invite, wallMs(node.clock)))
    },
    revoke: async (id) => {
      const invite = await revokeInvite(member().authority, id)
      return toInviteInfo(invite, wallMs(node.clock))
    },
    moveCoordinator: (to, access) => moveCoordinator(member(), to, access),
    recoverPlan: () => recovery().plan(),
    recover: async (begin) => {
      const one = recovery()
      const { generation } = member().record
      if (!begin || (await one.answers()))
        return { begun: false, generation, plan: await one.takeIn() }
      return { begun: true, generation: await one.begin(), plan: null }
    },
    recoverState: async () => recovery().state,
    nodes: async () => nodes(node, member()),
    remove: async (nameOrId, { reason = '', rotate = true }) => {
      const cluster = member()
      const id = findNode(cluster, nameOrId)
      mustBeAnother(node, cluster, id)
      await mustHoldNothing(node, cluster, id)
      const { authority } = cluster
      const removal = await cluster.parting(id, () => removeMember(authority, id, reason))
      const { keyEpoch } = cluster.record.signingKey
      return {
        id,
        name: removal.name,
        reason: removal.reason,
        removedAt: removal.removedAt,
        keyEpoch: rotate ? await rotateClusterKeys(authority) : keyEpoch,
      }
    },
  }
}

async function create(node: Node, request: ClusterCreateRequest): Promise<ClusterEntered> {
  const { name, coordinator: wanted, access = {} } = request
  // Said before anything is written down.
  checkName('cluster name', name)
  const place = wanted === undefined ? null : placeOf(wanted, access)
  const { coordinator, identity, clock, log, home } = node
  const etcd = place && (await openedEtcd(etcdOptionsFor(place, access, name, clock)))
  try {
    const words = await prepared(node, request)
    const self = selfOf(node)
    // A home that is in a cluster is told so; its coordinator has begun.
    const guarded = node.cluster
      ? coordinator
      : await beginGeneration(coordinator, FIRST_GENERATION).then(() =>
          generationGuarded(coordinator, { generationMin: 0 }),
        )
    const authority: Authority = {
      coordinator: guarded,
      self,
      clock,
      random: systemRandom,
      log,
      generationSeen: () => 0,
    }
    const made = await createCluster(
      authority,
      { home, disk: systemDisk },
      { name, coordinator: { kind: 'embedded', node: identity.id }, node: words },
    )
    // A home that was in this cluster is answered as it is; its coordinator is moved by the command for that.
    if (place === null || etcd === null || node.cluster) return await enter(node, made)
    // This node's volumes are in the embedded one: it is made there, and moved before anybody uses it.
    const { record } = made.view
    const keys = openWrapped(made.view.wrapped, record, self)
    const sealed = withAccess(place, access, record.id, keys)
    wipeClusterKeys(keys)
    const moved = await moveTo(authority, coordinator, etcd, sealed)
    writeCache(home, systemDisk, { ...made, view: { ...made.view, record: moved.record } })
    log.info({ op: 'cluster.create', generation: moved.generation }, 'the coordinator is in etcd')
    return await enter(node, made)
  } finally {
    await etcd?.close()
  }
}

/** @throws FsError in words when it does not answer: nothing was begun for it then */
async function openedEtcd(options: EtcdOptions): Promise<Coordinator> {
  const etcd = await openEtcdCoordinator(options)
  try {
    await etcd.list('')
    return etcd
  } catch (error) {
    await etcd.close()
    throw error
  }
}

/**
 * Move a coordinator and say so in the record, in the new one.
 * @param place where it goes; a move that was broken off is finished with the words that it was begun with
 */
async function moveTo(
  authority: Authority,
  from: Coordinator,
  target: Coordinator,
  place: Etcd,
): Promise<{ record: ClusterRecord; generation: number }> {
  const begun = (await readStanding(from))?.standing.to
  const before = begun ? parseEtcd(begun) : null
  const to = before && formatEtcd(before) === formatEtcd(place) && begun ? begun : wordsOf(place)
  const generation = await migrate(from, target, { to, random: systemRandom })
  const coordinator = await generationGuarded(target, { generationMin: generation })
  const record = await recordMove({ ...authority, coordinator }, place, generation)
  return { record, generation }
}

/** The next life of the daemon is a member's. */
async function enter(node: Node, { view }: CachedCluster): Promise<ClusterEntered> {
  const me = view.members.get(node.identity.id)?.member
  if (!node.cluster) await node.restart(null)
  return {
    id: view.record.id,
    name: view.record.name,
    node: me?.name ?? '',
    addresses: me?.addresses.map(formatAddress) ?? [],
  }
}

/**
 * Safe to end at any point, and to do again: whoever asks the old coordinator is told where the new one is. To the place
 * where it is: what the members open it with is changed.
 */
async function moveCoordinator(
  cluster: ClusterMember,
  given: string,
  access: EtcdAccess,
): Promise<CoordinatorMoved> {
  const { record, authority } = cluster
  const { coordinator: from, generation } = record
  const plain = placeOf(given, access)
  const to = formatEtcd(plain)
  const sealed = async (by: Authority) =>
    await withClusterKeys(by, await readCluster(by), (keys) =>
      withAccess(plain, access, record.id, keys),
    )
  const open = () => openedEtcd(etcdOptionsFor(plain, access, record.name, authority.clock))
  if (from.kind === 'etcd') {
    if (!isOfSameMembers(from, plain)) {
      throw new FsError('EBUSY', 'coordinator.migrate', {
        message: `the coordinator is at ${formatEtcd(from)} already, and moves from a node only`,
        next: "move it with etcd's own tools: add members, remove the old ones",
      })
    }
    const target = await open()
    try {
      // As it is opened from now on: with what was known before it may not answer any more.
      const coordinator = await generationGuarded(target, { generationMin: generation })
      const by = { ...authority, coordinator }
      const known = cluster.membership
      await known.refreshFrom(coordinator)
      const { coordinator: now } = known.record
      const isKnown =
        now.kind === 'etcd' &&
        formatEtcd(now) === to &&
        isDeepStrictEqual(known.accessTo(now), access)
      if (!isKnown) await recordMove(by, await sealed(by), generation)
      await known.refreshFrom(coordinator)
      return { place: to, generation }
    } finally {
      await target.close()
    }
  }
  const { embedded } = cluster
  if (embedded === null) {
    const name = cluster.nameOf(from.node)
    throw new FsError('EBUSY', 'coordinator.migrate', {
      message: `the coordinator is on node ${name}, and is moved from there`,
      next: `on ${name}: weft cluster coordinator migrate ${to}`,
    })
  }
  const target = await open()
  try {
    const moved = await moveTo(authority, embedded, target, await sealed(authority))
    // It hears of the record as every node does, and starts anew.
    await cluster.membership.refresh().catch(() => cluster.membership.refresh())
    return { place: to, generation: moved.generation }
  } finally {
    await target.close()
  }
}

/** Whatever they are spoken to over. */
function isOfSameMembers(one: Etcd, other: Etcd): boolean {
  const hosts = ({ endpoints }: Etcd) =>
    endpoints.map((each) => each.replace(/^https?:/, '')).join()
  return hosts(one) === hosts(other)
}

function selfOf({ identity }: Node): Authority['self'] {
  return { id: identity.id, keys: identity.keys }
}

/**
 * What this node will say of itself. How it meets its peers is kept from here on: a member without that would listen where
 * nobody asked it to.
 */
async function prepared(
  node: Node,
  request: Omit<ClusterCreateRequest, 'name' | 'coordinator' | 'access'>,
): Promise<MemberWords> {
  const network = parseNetwork(request)
  const words = {
    name: request.node ?? hostname(),
    domain: parseDomain(request.domain ?? ''),
    addresses: addressesOf(network).map(parseAddress),
  }
  checkWords(words)
  if (node.cluster) return words
  await mustBeFree(network)
  writeNetwork(node.home, systemDisk, network)
  return words
}

/** Two clusters have each numbered their volumes: they cannot become one namespace. */
function mustHaveNoVolumes(node: Node): void {
  const names = node.volumes.all().map(({ stored }) => stored.record.name)
  if (node.cluster || names.length === 0) return
  const some = names.slice(0, 3).join(', ') + (names.length > 3 ? ', …' : '')
  throw new FsError('ENOTEMPTY', 'cluster.join', {
    message: `this node has ${names.length === 1 ? 'a volume' : `${names.length} volumes`} of its own (${some}), and a node that joins brings none: their names and numbers may be taken in the cluster`,
    next: 'join with another home (weft --home DIR up, then weft --home DIR cluster join), and copy the files over; or create the cluster on this node and let the others join it',
  })
}

export function findNode({ membership }: ClusterMember, nameOrId: string): NodeId {
  const known = [
    ...membership.members(),
    ...membership.removals().map(({ node, name }) => ({ node, name })),
  ]
  const found = known.find(({ node, name }) => node === nameOrId || name === nameOrId)
  if (found) return found.node
  throw new FsError('ENOENT', 'node.remove', {
    message: `there is no node ${JSON.stringify(nameOrId.slice(0, 80))} in the cluster`,
    next: 'weft node list shows all there are',
  })
}

/** A node that has removed itself could change no keys, and hear of nothing any more. */
function mustBeAnother(node: Node, { membership }: ClusterMember, id: NodeId): void {
  if (id !== node.identity.id || membership.self === null) return
  throw new FsError('EBUSY', 'node.remove', {
    message: 'that is this node itself',
    next: `on another node: weft node remove ${membership.self.name}`,
  })
}

/** @throws FsError EBUSY for a node that owns a volume or has a copy of one */
async function mustHoldNothing(node: Node, cluster: ClusterMember, id: NodeId): Promise<void> {
  const { volumes } = await node.registry.list()
  const held = volumes.filter(({ record }) => record.owner === id || copyOn(record, id) !== null)
  if (held.length === 0) return
  const name = cluster.nameOf(id)
  const names = held.slice(0, 3).map(({ record }) => record.name)
  throw new FsError('EBUSY', 'node.remove', {
    message: `node ${name} holds ${held.length === 1 ? 'a volume' : `${held.length} volumes`} (${names.join(', ')}${held.length > 3 ? ', …' : ''}), which would be lost`,
    next: `weft node drain ${name} moves them to other nodes; or delete what is not needed (weft volume delete)`,
  })
}

export function clusterInfo(node: Node, cluster: ClusterMember): ClusterInfo {
  return {
    ...toClusterStatus(cluster.membership),
    coordinatorState: cluster.coordinatorState(),
    nodes: nodes(node, cluster),
  }
}

function nodes({ identity }: Node, cluster: ClusterMember): MemberInfo[] {
  const list = toNodeList(cluster.membership, identity.id)
  return list.nodes.map((each) => ({ ...each, ...cluster.statusOf(each.id as NodeId) }))
}

/** Names of the nodes that could own a volume now. */
export function ownersNow(cluster: ClusterMember, record: VolumeRecord): string[] {
  const isUp = (id: NodeId) => ['up', 'self'].includes(cluster.statusOf(id).connection)
  const boxKeyOf = (id: NodeId) => {
    const hex = cluster.membership.member(id)?.boxKey
    return hex === undefined ? null : Buffer.from(hex, 'hex').toString('base64')
  }
  return couldOwnNow(record, isUp, boxKeyOf).map((id) => cluster.nameOf(id))
}

/** What is wrong with this node's part in the cluster. */
export function clusterProblems(node: Node, cluster: ClusterMember): Problem[] {
  const { membership, record } = cluster
  const removal = membership.removals().find((each) => each.node === node.identity.id)
  if (removal) {
    const why = removal.reason === '' ? '' : ` (${removal.reason})`
    return [
      {
        severity: 'error',
        what: `this node was removed from the cluster ${record.name}`,
        why: `node ${cluster.nameOf(removal.removedBy)} did it at ${removal.removedAt}${why}; no member lets it in any more`,
        next: 'copy what you need from its volumes; to join again, begin with an empty home: weft --home DIR up',
      },
    ]
  }
  const found: Problem[] = []
  if (cluster.notListening) {
    found.push({
      severity: 'error',
      what: 'no other node can be reached',
      why: cluster.notListening,
      next: 'end what uses the port; it is tried again every few seconds',
    })
  }
  const { place, why, since } = cluster.coordinatorState()
  const waiting = node.volumes.all().filter(({ closed }) => closed?.state === 'waiting')
  if (why) {
    found.push({
      severity: waiting.length > 0 ? 'error' : 'warning',
      what: `the coordinator (${place}) does not answer${since === null ? '' : `, since ${since.slice(0, 19)}Z`}`,
      why: `${why}; volumes that are open go on while all their copies answer, none can be created, deleted, resized or opened, and no volume changes its owner`,
      next: 'start that node, or mend the network to it: all goes on by itself then. If it is lost for good: weft cluster coordinator recover --plan',
    })
  }
  for (const { stored } of waiting) {
    found.push({
      severity: 'error',
      what: `volume ${stored.record.name} is not open yet`,
      why: 'this node owns it, and only the coordinator can give the epoch to open it with',
      next: 'bring the coordinator back; until then calls below the volume wait 30 s and answer EAGAIN',
    })
  }
  if (cluster.pastCoordinator) {
    found.push({
      severity: 'warning',
      what: 'a coordinator that was on this node is not obeyed any more',
      why: cluster.pastCoordinator,
      next: 'weft cluster coordinator recover takes in volumes that only this one knew; remove the directory when all volumes are there',
    })
  }
  for (const { name, copies } of node.kept?.missing() ?? []) {
    found.push({
      severity: 'warning',
      what: `volume ${name} is on drives, and the coordinator does not know it`,
      why: `it was rebuilt while too few of its ${copies.length} copies answered; nothing of it is deleted`,
      next: 'start the nodes that have its copies, then: weft cluster coordinator recover',
    })
  }
  for (const { stored, closed } of node.volumes.all()) {
    const { record } = stored
    // One of one copy is where it is by choice; of one that is gone, its own problem says so.
    if (record.copies.length === 1 || closed?.state === 'damaged') continue
    const [one, ...more] = ownersNow(cluster, record)
    if (more.length > 0) continue
    found.push({
      severity: 'warning',
      what:
        one === undefined
          ? `volume ${record.name} could be taken over by no node now`
          : `volume ${record.name} could be owned by node ${one} alone now`,
      why: `a node can own it that is up and has a copy and a key of it, while ${record.minimum} of its ${record.copies.length} copies are up`,
      next: 'start the nodes of its copies (weft volume inspect shows them); weft key add gives a node a key',
    })
  }
  for (const each of nodes(node, cluster)) {
    if (each.connection !== 'down' || cluster.notListening) continue
    found.push({
      severity: 'warning',
      what: `node ${each.name} is not reachable`,
      why: each.why,
      next: `start it (weft up there), or check the way to ${each.addresses.join(', ') || 'it'}`,
    })
  }
  return found
}

/** Without the keys that were not given. */
function given<T extends object>(asked: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>
  }
}
