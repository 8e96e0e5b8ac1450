import { z } from 'zod'
import { CorruptError, FsError, limits, type NodeId } from '../base/index.ts'
import type { Coordinator, Entry } from '../coordinator/index.ts'
import { clusterIn, mustBeThere } from './authority.ts'
import {
  type Certificate,
  decodeSigned,
  keysOf,
  openMember,
  openRemoval,
  type Signed,
  type SignedRemoval,
  signedShape,
} from './certificate.ts'
import { type NodeSigned, nodeSignedShape } from './node-signed.ts'
import {
  CLUSTER,
  type ClusterRecord,
  MEMBERS,
  REMOVED,
  recordShape,
  wrappedShape,
} from './record.ts'

/** All that one node needs to know of its cluster, every statement in it verified. */
export interface ClusterView {
  readonly record: ClusterRecord
  /** Nobody is in both maps. */
  readonly members: ReadonlyMap<NodeId, Certificate>
  readonly removed: ReadonlyMap<NodeId, SignedRemoval>
  /** The cluster's keys wrapped for this node, base64; '' when they are not. */
  readonly wrapped: string
  /** The last rebuilding of the coordinator that this node has heard of, as it is passed on; null when there was none. */
  readonly succession: NodeSigned | null
}

/** The same as it is sent and kept. */
export interface ClosedView {
  readonly record: ClusterRecord
  readonly members: readonly Signed[]
  readonly removed: readonly Signed[]
  readonly wrapped: string
  readonly succession: NodeSigned | null
}

export const closedViewShape = z.strictObject({
  record: recordShape,
  members: z.array(signedShape).max(limits.membersMax),
  removed: z.array(signedShape).max(limits.removedMembersMax),
  wrapped: wrappedShape,
  succession: nodeSignedShape.nullable(),
}) as unknown as z.ZodType<ClosedView>

export function closeView(view: ClusterView): ClosedView {
  const { record, members, removed, wrapped, succession } = view
  return {
    record,
    members: [...members.values()].map(({ signed }) => signed),
    removed: [...removed.values()].map(({ signed }) => signed),
    wrapped,
    succession,
  }
}

/**
 * @param removals 'signed' when the view comes from a peer; 'trusted' when this node wrote it: what it once refused it
 * goes on refusing, also when a later key of the cluster did not sign that
 * @throws CorruptError for a statement that does not hold
 */
export function openView(closed: ClosedView, removals: 'signed' | 'trusted'): ClusterView {
  const { record, wrapped, succession } = closed
  const keys = keysOf(record)
  const removed = new Map<NodeId, SignedRemoval>()
  for (const signed of closed.removed) {
    const one = openRemoval(signed, record.id, removals === 'trusted' ? removals : keys)
    removed.set(one.removal.node, one)
  }
  const members = new Map<NodeId, Certificate>()
  for (const signed of closed.members) {
    const one = openMember(signed, record.id, keys)
    if (!removed.has(one.member.node)) members.set(one.member.node, one)
  }
  return { record, members, removed, wrapped, succession }
}

/** A statement in the coordinator that does not hold: one of them must not hide the others. */
export interface Unreadable {
  readonly key: string
  readonly error: unknown
}

/** What the coordinator holds of a cluster, unread. */
export interface ClusterEntries {
  readonly cluster: readonly Entry[]
  readonly members: readonly Entry[]
  readonly removed: readonly Entry[]
}

export async function listEntries(coordinator: Coordinator): Promise<ClusterEntries> {
  // Members before tombstones: who is removed in between is found in both, and the tombstone counts.
  const cluster = await coordinator.list(CLUSTER)
  const members = await coordinator.list(MEMBERS)
  return { cluster, members, removed: await coordinator.list(REMOVED) }
}

/** @param node for which the wrapped keys are picked. @throws as readCluster */
export function viewOf(
  entries: ClusterEntries,
  node: NodeId,
): { view: ClusterView; unreadable: readonly Unreadable[] } {
  const { record, wrapped } = mustBeThere(clusterIn(entries.cluster))
  const keys = keysOf(record)
  const unreadable: Unreadable[] = []
  const removals = openAll(entries.removed, unreadable, (one) => openRemoval(one, record.id, keys))
  const removed = new Map(removals.map((one) => [one.removal.node, one]))
  const certificates = openAll(entries.members, unreadable, (one) =>
    openMember(one, record.id, keys),
  )
  const members = new Map(
    certificates
      .filter(({ member }) => !removed.has(member.node))
      .map((one) => [one.member.node, one]),
  )
  const mine = wrapped.sealed.find((one) => one.node === node)?.keys ?? ''
  // The coordinator itself knows of none: what was said of one that was before it, each node keeps.
  return { view: { record, members, removed, wrapped: mine, succession: null }, unreadable }
}

/** The cluster as the coordinator has it now. @throws as readCluster; what the coordinator throws */
export async function readView(coordinator: Coordinator, node: NodeId): Promise<ClusterView> {
  return viewOf(await listEntries(coordinator), node).view
}

function openAll<T>(
  entries: readonly Entry[],
  unreadable: Unreadable[],
  open: (signed: Signed) => T,
): T[] {
  const opened: T[] = []
  for (const { key, value } of entries) {
    try {
      opened.push(open(decodeSigned(value)))
    } catch (error) {
      if (!(error instanceof CorruptError || error instanceof FsError)) throw error
      unreadable.push({ key, error })
    }
  }
  return opened
}
