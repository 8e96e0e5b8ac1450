import { hostname } from 'node:os'
import type {
  ClusterControl,
  ClusterCreateRequest,
  ClusterEntered,
  ClusterInfo,
  CoordinatorMoved,
  MemberInfo,
  Problem,
} from '../api/index.ts'
import { FsError, type NodeId, systemRandom, wallMs } from '../base/index.ts'
import {
  type Authority,
  type CachedCluster,
  createCluster,
  createInvite,
  formatAddress,
  listInvites,
  type MemberWords,
  parseAddress,
  parseDomain,
  parseInvite,
  recordMove,
  removeMember,
  revokeInvite,
  rotateClusterKeys,
  toClusterStatus,
  toInviteInfo,
  toNodeList,
} from '../cluster/index.ts'
import {
  beginGeneration,
  generationGuarded,
  migrate,
  openEtcdCoordinator,
} from '../coordinator/index.ts'
import { wipe } from '../crypto/index.ts'
import { systemDisk } from '../disk/index.ts'
import { copyOn } from '../volumes/index.ts'
import { joinOverNet } from './cluster-join.ts'
import type { ClusterMember } from './cluster-member.ts'
import { addressesOf, mustBeFree, parseNetwork, writeNetwork } from './cluster-network.ts'
import { formatEtcd, parseEtcd } from './cluster-place.ts'
import type { Node } from './node.ts'

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
    moveCoordinator: (to) => moveCoordinator(member(), to),
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
  const words = await prepared(node, request)
  const { coordinator, identity, clock, log, home } = node
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
    {
      name: request.name,
      coordinator: { kind: 'embedded', node: identity.id },
      node: words,
    },
  )
  return await enter(node, made)
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

/** Safe to end at any point, and to do again: whoever asks the old coordinator is told where the new one is. */
async function moveCoordinator(cluster: ClusterMember, given: string): Promise<CoordinatorMoved> {
  const place = parseEtcd(given)
  const to = formatEtcd(place)
  const { coordinator: from, generation } = cluster.record
  if (from.kind === 'etcd') {
    if (formatEtcd(from) === to) return { place: to, generation }
    throw new FsError('EBUSY', 'coordinator.migrate', {
      message: `the coordinator is at ${formatEtcd(from)} already, and moves from a node only`,
      next: "move it with etcd's own tools: add members, remove the old ones",
    })
  }
  const { embedded } = cluster
  if (embedded === null) {
    const name = cluster.nameOf(from.node)
    throw new FsError('EBUSY', 'coordinator.migrate', {
      message: `the coordinator is on node ${name}, and is moved from there`,
      next: `on ${name}: weft cluster coordinator migrate ${to}`,
    })
  }
  const target = await openEtcdCoordinator(cluster.etcdOptions(place))
  try {
    const moved = await migrate(embedded, target, { to, random: systemRandom })
    const coordinator = await generationGuarded(target, { generationMin: moved })
    await recordMove({ ...cluster.authority, coordinator }, place, moved)
    // It hears of the record as every node does, and starts anew.
    await cluster.membership.refresh().catch(() => cluster.membership.refresh())
    return { place: to, generation: moved }
  } finally {
    await target.close()
  }
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
  request: Omit<ClusterCreateRequest, 'name'>,
): Promise<MemberWords> {
  const network = parseNetwork(request)
  const words = {
    name: request.node ?? hostname(),
    domain: parseDomain(request.domain ?? ''),
    addresses: addressesOf(network).map(parseAddress),
  }
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

function findNode({ membership }: ClusterMember, nameOrId: string): NodeId {
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
    next: `copy what is needed into volumes of other nodes, delete these on ${name} (weft volume delete), then remove the node`,
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
  const { place, why } = cluster.coordinatorState()
  const waiting = node.volumes.all().filter(({ closed }) => closed?.state === 'waiting')
  if (why) {
    found.push({
      severity: waiting.length > 0 ? 'error' : 'warning',
      what: `the coordinator (${place}) does not answer`,
      why: `${why}; volumes that are open go on, none can be created, deleted, resized or opened`,
      next: 'start that node, or mend the network to it: all goes on by itself then',
    })
  }
  for (const { stored } of waiting) {
    found.push({
      severity: 'error',
      what: `volume ${stored.record.name} is not open yet`,
      why: 'this node owns it, and only the coordinator can give the epoch to open it with',
      next: 'bring the coordinator back; below the volume everything answers EAGAIN until then',
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
