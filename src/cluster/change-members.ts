import { FsError, isoTime, limits, type NodeId } from '../base/index.ts'
import type { Step } from '../coordinator/index.ts'
import {
  type Authority,
  checkWords,
  findMember,
  findRemoval,
  type MemberWords,
  readCluster,
  repeated,
  type StoredCluster,
  withClusterKeys,
} from './authority.ts'
import {
  encodeSigned,
  type Member,
  type Removal,
  reasonShape,
  signMember,
  signRemoval,
} from './certificate.ts'
import {
  encodeWrappedKeys,
  MEMBERS,
  memberKey,
  memberNameKey,
  RECORD_KEY,
  REMOVED,
  removedKey,
  WRAPPED_KEY,
} from './record.ts'

/**
 * Takes a node out of the cluster for ever: its certificate goes, a tombstone stays, no keys are wrapped for it from here
 * on. What it has unwrapped before it keeps; `rotateClusterKeys` makes that worthless. Repeating it is allowed.
 * @throws FsError ENOENT when it never was a member; EINVAL for a reason that is no short line; EBUSY for the last
 * member, and for the node that serves the coordinator; ENOSPC when no tombstone fits
 */
export async function removeMember(
  authority: Authority,
  id: NodeId,
  reason: string,
): Promise<Removal> {
  const { coordinator, log } = authority
  checkReason(reason)
  return repeated('remove', async () => {
    const stored = await readCluster(authority)
    const before = await findRemoval(authority, stored, id)
    if (before !== null) return before
    const found = await findMember(authority, stored, id)
    if (found === null) throw noMember(id)
    await mustBeSpare(authority, stored, found.member)
    const removal = removalOf(authority, found.member, reason)
    const { signed } = await withClusterKeys(authority, stored, (_, signer) =>
      signRemoval(removal, signer),
    )
    const sealed = stored.wrapped.sealed.filter(({ node }) => node !== id)
    const done = await coordinator.transaction([
      { key: RECORD_KEY, expected: stored.recordVersion, value: 'unchanged' },
      {
        key: WRAPPED_KEY,
        expected: stored.wrappedVersion,
        value: encodeWrappedKeys({ ...stored.wrapped, sealed }),
      },
      { key: memberKey(id), expected: found.version, value: null },
      { key: removedKey(id), expected: 0, value: encodeSigned(signed) },
      ...(await nameSteps(authority, found.member, null)),
    ])
    if (!done.ok) return undefined
    log.warn({ op: 'cluster.remove', node: id, by: removal.removedBy }, 'node removed')
    return removal
  })
}

/**
 * This node says something else of itself: it has moved, or answers at other addresses. Nothing is written when all is
 * as it was.
 * @throws FsError ENOENT when this node is no member, EINVAL for words that cannot be, EEXIST for a name that is taken
 */
export async function restateMember(
  authority: Authority,
  change: Partial<MemberWords>,
): Promise<Member> {
  const { coordinator, self } = authority
  return repeated('restate', async () => {
    const stored = await readCluster(authority)
    const found = await findMember(authority, stored, self.id)
    if (found === null) throw noMember(self.id)
    const changed: Member = { ...found.member, ...change }
    checkWords(changed)
    if (JSON.stringify(changed) === JSON.stringify(found.member)) return found.member
    const member: Member = { ...changed, serial: found.member.serial + 1 }
    const { signed } = await withClusterKeys(authority, stored, (_, signer) =>
      signMember(member, signer),
    )
    const done = await coordinator.transaction([
      { key: RECORD_KEY, expected: stored.recordVersion, value: 'unchanged' },
      { key: memberKey(self.id), expected: found.version, value: encodeSigned(signed) },
      ...(await nameSteps(authority, found.member, member.name)),
    ])
    return done.ok ? member : undefined
  })
}

/** Steps that free a member's name and, when `to` is another one, take that. @throws FsError EEXIST */
async function nameSteps(
  { coordinator }: Authority,
  member: Member,
  to: string | null,
): Promise<Step[]> {
  const from = memberNameKey(member.name)
  const next = to === null ? null : memberNameKey(to)
  if (next === from) return []
  const steps: Step[] = []
  const held = await coordinator.get(from)
  if (held !== null && held.value.toString() === member.node) {
    steps.push({ key: from, expected: held.version, value: null })
  }
  if (next === null) return steps
  if ((await coordinator.get(next)) !== null) {
    throw new FsError('EEXIST', 'cluster.restate', {
      name: to,
      message: `node name ${to}: taken by another node of the cluster; choose another one`,
    })
  }
  return [...steps, { key: next, expected: 0, value: Buffer.from(member.node) }]
}

async function mustBeSpare(
  { coordinator }: Authority,
  { record }: StoredCluster,
  { node, name }: Member,
): Promise<void> {
  if (record.coordinator.kind === 'embedded' && record.coordinator.node === node) {
    throw new FsError('EBUSY', 'cluster.remove', {
      node,
      message: `node ${name}: serves the cluster's coordinator; move that first ("weft cluster coordinator migrate")`,
    })
  }
  if ((await coordinator.list(MEMBERS)).length === 1) {
    throw new FsError('EBUSY', 'cluster.remove', {
      node,
      message: `node ${name}: the last node of the cluster; nobody would be left to admit another`,
    })
  }
  if ((await coordinator.list(REMOVED)).length >= limits.removedMembersMax) {
    throw new FsError('ENOSPC', 'cluster.remove', {
      node,
      message: `node ${name}: ${limits.removedMembersMax} nodes were removed from this cluster, and no further one can be remembered; begin a new cluster`,
    })
  }
}

function removalOf({ self, clock }: Authority, member: Member, reason: string): Removal {
  const { cluster, node, signKey, name } = member
  return { cluster, node, signKey, name, reason, removedAt: isoTime(clock), removedBy: self.id }
}

function checkReason(reason: string): void {
  if (reasonShape.safeParse(reason).success) return
  throw new FsError('EINVAL', 'cluster.remove', {
    message: `node remove: the reason must be one line of at most ${limits.reasonCharsMax} characters`,
  })
}

function noMember(id: NodeId): FsError {
  return new FsError('ENOENT', 'cluster.member', {
    node: id,
    message: `node ${id}: no member of this cluster; "weft node list" shows who is`,
  })
}
