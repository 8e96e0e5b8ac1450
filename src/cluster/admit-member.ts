import {
  CorruptError,
  codeOf,
  FsError,
  limits,
  messageOf,
  ProtocolError,
  wallMs,
} from '../base/index.ts'
import { inviteIdOf } from '../crypto/index.ts'
import {
  type Authority,
  findMember,
  findRemoval,
  newMember,
  readCluster,
  repeated,
  type StoredCluster,
  withClusterKeys,
  wrapFor,
} from './authority.ts'
import { encodeSigned, signMember } from './certificate.ts'
import { decodeInvite, encodeInvite, endOf, type InviteRecord } from './invites.ts'
import {
  decodeJoinRequest,
  encodeJoinAnswer,
  type JoinRequest,
  REFUSALS,
  type Refusal,
} from './join-messages.ts'
import {
  encodeWrappedKeys,
  inviteKey,
  MEMBERS,
  memberKey,
  memberNameKey,
  RECORD_KEY,
  removedKey,
  WRAPPED_KEY,
} from './record.ts'
import { type ClusterView, closeView, readView } from './view.ts'

/**
 * Answers JOIN_SERVICE: any member can, for guests and for members whose first answer was lost.
 * @param remoteKey hex of the key the caller's session has proven: the invite's or the joining node's own
 * @throws ProtocolError for garbage, a signature that does not hold, another session's request: the caller is dropped
 */
export async function answerJoin(
  authority: Authority,
  body: Buffer,
  remoteKey: string,
): Promise<Buffer> {
  const request = decodeJoinRequest(body)
  const bound = remoteKey === request.inviteKey || remoteKey === request.signKey
  if (!bound || request.to !== authority.self.keys.sign.publicKey.toString('hex')) {
    throw new ProtocolError('join request of another session')
  }
  const about = { op: 'cluster.join', node: request.node, invite: inviteOf(request) }
  try {
    const { view, isNew } = await admit(authority, request)
    authority.log.info(about, isNew ? 'node joined' : 'node asked again for its membership')
    return encodeJoinAnswer({ result: 'admitted', view: closeView(view) })
  } catch (error) {
    const { reason, message } = refusalOf(error)
    authority.log.warn({ ...about, reason, error: messageOf(error) }, 'join refused')
    return encodeJoinAnswer({ result: 'refused', reason, message })
  }
}

/** A node that joins again (its answer was lost, or its home) is answered as it was, and no use is counted. */
async function admit(
  authority: Authority,
  request: JoinRequest,
): Promise<{ view: ClusterView; isNew: boolean }> {
  const { coordinator, clock } = authority
  const isNew = await repeated('join', async () => {
    const stored = await readCluster(authority)
    mustBeOfThisCluster(request, stored)
    mustBeOfThisTime(request, wallMs(clock))
    await mustNotBeRemoved(authority, request, stored)
    if ((await findMember(authority, stored, request.node)) !== null) return false
    return (await enter(authority, request, stored)) ? true : undefined
  })
  return { view: await readView(coordinator, request.node), isNew }
}

/** One transaction: who is refused has used nothing up. @returns false when another change came first */
async function enter(
  authority: Authority,
  request: JoinRequest,
  stored: StoredCluster,
): Promise<boolean> {
  const { coordinator, clock } = authority
  const { record, recordVersion, wrapped, wrappedVersion } = stored
  const entry = await coordinator.get(inviteKey(inviteOf(request)))
  const invite = entry === null ? null : decodeInvite(entry.value)
  const standing = mustStand(invite, wallMs(clock))
  const taken = await coordinator.get(memberNameKey(request.name))
  if (taken !== null) {
    // Two requests of one node at once: the other one was first.
    if (taken.value.toString() === request.node) return false
    refuse(
      'name-taken',
      `the name ${request.name} is taken by another node of the cluster; join with another one (--name)`,
    )
  }
  if ((await coordinator.list(MEMBERS)).length >= limits.membersMax) {
    refuse('full', `the cluster has ${limits.membersMax} nodes, the most it can have`)
  }
  const member = newMember({ clock }, record, request, request)
  const made = await withClusterKeys(authority, stored, (keys, signer) => ({
    certificate: signMember(member, signer),
    wrapped: { ...wrapped, sealed: [...wrapped.sealed, wrapFor(keys, record, member)] },
  }))
  const used: InviteRecord = {
    ...standing,
    usesLeft: standing.usesLeft - 1,
    usedBy: [...standing.usedBy, request.node],
  }
  const done = await coordinator.transaction([
    { key: RECORD_KEY, expected: recordVersion, value: 'unchanged' },
    { key: WRAPPED_KEY, expected: wrappedVersion, value: encodeWrappedKeys(made.wrapped) },
    { key: inviteKey(standing.id), expected: entry?.version ?? 0, value: encodeInvite(used) },
    { key: removedKey(request.node), expected: 0, value: 'unchanged' },
    { key: memberKey(request.node), expected: 0, value: encodeSigned(made.certificate.signed) },
    { key: memberNameKey(request.name), expected: 0, value: Buffer.from(request.node) },
  ])
  return done.ok
}

function inviteOf({ inviteKey: key }: JoinRequest): string {
  return inviteIdOf(Buffer.from(key, 'hex'))
}

function mustBeOfThisCluster(request: JoinRequest, { record }: StoredCluster): void {
  if (request.cluster === record.id) return
  refuse(
    'wrong-cluster',
    `the invite is of the cluster ${request.cluster}, this node is of ${record.name} (${record.id}); ask for an invite of the right one`,
  )
}

function mustBeOfThisTime({ sentMs }: JoinRequest, nowMs: number): void {
  const ms = sentMs - nowMs
  if (Math.abs(ms) <= limits.joinClockMsMax) return
  const minutes = Math.round(Math.abs(ms) / 60_000)
  refuse(
    'clock',
    `the clock of the joining machine is ${minutes} min ${ms > 0 ? 'ahead of' : 'behind'} the cluster's (${new Date(nowMs).toISOString()}); set it, best with NTP or chrony, and join again`,
  )
}

async function mustNotBeRemoved(
  authority: Authority,
  request: JoinRequest,
  stored: StoredCluster,
): Promise<void> {
  const removal = await findRemoval(authority, stored, request.node)
  if (removal === null) return
  const why = removal.reason === '' ? '' : ` (${removal.reason})`
  refuse(
    'removed',
    `this node was removed from the cluster at ${removal.removedAt}${why}, and its key is refused for ever; make a new node key: begin with an empty home`,
  )
}

function mustStand(invite: InviteRecord | null, nowMs: number): InviteRecord {
  const ask = 'ask for a new one ("weft cluster invite" on any node)'
  if (invite === null) refuse('invite-unknown', `the cluster knows no such invite; ${ask}`)
  switch (endOf(invite, nowMs)) {
    case null:
      return invite
    case 'revoked':
      return refuse('invite-revoked', `the invite was revoked at ${invite.revokedAt}; ${ask}`)
    case 'expired':
      return refuse(
        'invite-expired',
        `the invite expired at ${new Date(invite.expiresMs).toISOString()}; ${ask}`,
      )
    case 'used up':
      return refuse(
        'invite-used-up',
        `the invite is used up: it has admitted its nodes already; ${ask}`,
      )
  }
}

function refuse(reason: Refusal, message: string): never {
  throw new FsError(REFUSALS[reason], 'cluster.join', { reason, message })
}

/** What the joiner is told of an error. Anything but a refusal of ours means that this member could not, not that it would not. */
function refusalOf(error: unknown): { reason: Refusal; message: string } {
  if (error instanceof FsError && isRefusal(error.subject.reason)) {
    return { reason: error.subject.reason, message: error.message }
  }
  if (!(error instanceof FsError || error instanceof CorruptError)) throw error
  const code = codeOf(error) || 'EIO'
  return {
    reason: 'unavailable',
    message: `the node that was asked cannot change the member list now (${code}); its log says why`,
  }
}

function isRefusal(reason: unknown): reason is Refusal {
  return typeof reason === 'string' && Object.hasOwn(REFUSALS, reason)
}
