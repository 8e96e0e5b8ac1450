import { limits, type NodeId } from '../base/index.ts'
import { generationPast, notObeyed } from './authority.ts'
import {
  type Certificate,
  keysOf,
  openMember,
  openRemoval,
  type SignedRemoval,
} from './certificate.ts'
import type { MemberList } from './member-list.ts'
import type { NodeSigned } from './node-signed.ts'
import { openSuccession } from './succession.ts'
import type { ClusterView } from './view.ts'

/** What a change of the view was about. */
export interface MembershipChange {
  readonly joined: readonly NodeId[]
  readonly removed: readonly NodeId[]
  /** Members that say something else of themselves. */
  readonly restated: readonly NodeId[]
  /** Name, coordinator, generation or keys of the cluster. */
  readonly record: boolean
  /** The cluster's secret, and with it the discovery topic. */
  readonly keys: boolean
}

/**
 * What this node believes after the coordinator has spoken. Absence is no order (design §3): a member that is missing there
 * without a tombstone stays while the cluster's key still vouches for it, and who was once removed stays removed.
 * @throws FsError ESTALE for a coordinator that is of another cluster or behind what this node has seen: it is not obeyed
 */
export function mergeViews(known: ClusterView, fresh: ClusterView): ClusterView {
  mustNotBeBehind(known, fresh)
  const removed = new Map([...known.removed, ...fresh.removed])
  const members = new Map<NodeId, Certificate>()
  const epochs = keptKeyEpochs(known, fresh)
  const stillVouched = [...known.members.values()].filter(({ signed }) =>
    epochs.has(signed.keyEpoch),
  )
  for (const one of [...stillVouched, ...fresh.members.values()]) {
    keepNewer(members, one, fresh.record.signingKey.keyEpoch)
  }
  for (const id of removed.keys()) members.delete(id)
  const { record, wrapped } = fresh
  return { record, members, removed, wrapped, succession: known.succession }
}

/**
 * What a member heard from another one while the coordinator is away: certificates and tombstones that the newest key of
 * the cluster signed. Those of other keys are passed over.
 * @throws CorruptError for a statement that a key should vouch for and does not
 */
export function learnFrom(known: ClusterView, heard: MemberList): ClusterView {
  const { record } = known
  const { signingKey } = record
  const members = new Map(known.members)
  const removed = new Map<NodeId, SignedRemoval>(known.removed)
  for (const signed of heard.removed) {
    if (signed.keyEpoch !== signingKey.keyEpoch) continue
    const one = openRemoval(signed, record.id, [signingKey])
    if (removed.size < limits.removedMembersMax || removed.has(one.removal.node)) {
      removed.set(one.removal.node, one)
    }
  }
  for (const signed of heard.members) {
    if (signed.keyEpoch !== signingKey.keyEpoch) continue
    const one = openMember(signed, record.id, [signingKey])
    if (members.size < limits.membersMax || members.has(one.member.node)) {
      keepNewer(members, one, signingKey.keyEpoch)
    }
  }
  for (const id of removed.keys()) members.delete(id)
  return withSuccession({ ...known, members, removed }, heard.succession)
}

/** A coordinator that was rebuilt is obeyed, and the one before it no more. A rebuilding that is not newer says nothing. */
export function withSuccession(known: ClusterView, signed: NodeSigned | null): ClusterView {
  const succession = signed === null ? null : openSuccession(signed, known)
  if (signed === null || succession === null) return known
  const { generation, coordinator } = succession
  if (generation <= known.record.generation) return known
  return { ...known, record: { ...known.record, generation, coordinator }, succession: signed }
}

/** Null when nothing changed. */
export function changeBetween(before: ClusterView, after: ClusterView): MembershipChange | null {
  const change: MembershipChange = {
    joined: [...after.members.keys()].filter((id) => !before.members.has(id)),
    removed: [...before.members.keys()].filter((id) => !after.members.has(id)),
    restated: [...after.members].flatMap(([id, { member }]) => {
      const old = before.members.get(id)?.member
      return old !== undefined && old.serial !== member.serial ? [id] : []
    }),
    record: JSON.stringify(before.record) !== JSON.stringify(after.record),
    keys: before.wrapped !== after.wrapped,
  }
  const lists = change.joined.length + change.removed.length + change.restated.length
  const tombstones = [...after.removed.keys()].some((id) => !before.removed.has(id))
  return lists > 0 || tombstones || change.record || change.keys ? change : null
}

/** The higher serial counts; of one serial, what the newest key signed. */
function keepNewer(members: Map<NodeId, Certificate>, one: Certificate, newest: number): void {
  const { node, serial } = one.member
  const kept = members.get(node)
  const newer =
    kept === undefined ||
    serial > kept.member.serial ||
    (serial === kept.member.serial && one.signed.keyEpoch === newest)
  if (newer) members.set(node, one)
}

/** Key epochs whose signatures counted and still do; a rebuilt cluster may have another key of the same number. */
function keptKeyEpochs(known: ClusterView, fresh: ClusterView): ReadonlySet<number> {
  const before = new Set(keysOf(known.record).map(({ publicKey }) => publicKey))
  const kept = keysOf(fresh.record).filter(({ publicKey }) => before.has(publicKey))
  return new Set(kept.map(({ keyEpoch }) => keyEpoch))
}

function mustNotBeBehind(known: ClusterView, fresh: ClusterView): void {
  if (fresh.record.id !== known.record.id) {
    throw notObeyed(
      `it is of the cluster ${fresh.record.name} (${fresh.record.id}), this node of ${known.record.name} (${known.record.id})`,
    )
  }
  if (fresh.record.generation < known.record.generation) {
    throw generationPast(fresh.record.generation, known.record.generation)
  }
  const { signingKey } = known.record
  const key = fresh.record.signingKey
  const differs = key.keyEpoch === signingKey.keyEpoch && key.publicKey !== signingKey.publicKey
  const rebuilt = fresh.record.generation > known.record.generation
  if (key.keyEpoch < signingKey.keyEpoch || (differs && !rebuilt)) {
    throw notObeyed(
      `its cluster keys (${key.keyEpoch}) are not those this node has seen (${signingKey.keyEpoch}): it came from an old backup`,
    )
  }
}
