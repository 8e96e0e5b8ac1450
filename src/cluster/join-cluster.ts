import {
  type Clock,
  CorruptError,
  type ErrnoCode,
  FsError,
  isBug,
  type Log,
  messageOf,
  ProtocolError,
  wallMs,
} from '../base/index.ts'
import { inviteKeyPair, wipe, wipeClusterKeys } from '../crypto/index.ts'
import type { Disk } from '../disk/index.ts'
import { formatAddress } from './address.ts'
import { checkWords, type MemberWords, openWrapped, publicKeysOf, type Self } from './authority.ts'
import { type CachedCluster, inOtherCluster, readCache, writeCache } from './cache.ts'
import type { Contact, Invite } from './invite-line.ts'
import {
  decodeJoinAnswer,
  encodeJoinRequest,
  JOIN_SERVICE,
  REFUSALS,
  type Refusal,
} from './join-messages.ts'
import { type ClosedView, type ClusterView, openView } from './view.ts'

/** One request and its answer over a channel that has proven the peer's key (hex). Rejects within the deadline. */
export type Call = (
  peerKey: string,
  service: string,
  body: Buffer,
  options: { readonly deadlineMs: number },
) => Promise<Buffer>

export interface Joining {
  readonly home: string
  readonly disk: Disk
  readonly self: Self
  readonly clock: Clock
  readonly log: Log
  /** Its seed stays the caller's to wipe. */
  readonly invite: Invite
  readonly node: MemberWords
  /** Over channels opened with the invite's key pair (inviteKeyPair). */
  readonly asGuest: Call
  /** Over channels opened with this node's own: a node that was admitted and never heard so is let in by it. */
  readonly asNode: Call
}

const deadlineMs = 10_000

/**
 * Joins the cluster of an invite and writes it down, durably. A crash or a lost answer at any point is mended by doing the
 * same again: a node that is a member is answered as before, and no use of the invite is counted twice.
 * @throws FsError with the code of REFUSALS and the cluster's own words when it refuses; EINVAL for a name; EEXIST when
 * this home is in another cluster; EHOSTUNREACH when no node of the invite answers; what the disk throws
 */
export async function joinCluster(joining: Joining): Promise<CachedCluster> {
  const { home, disk, self, invite, node } = joining
  checkWords(node)
  const before = readCache(home, disk, self)
  if (before !== null && before.view.record.id !== invite.cluster) {
    throw inOtherCluster('join', before.view.record)
  }
  if (before?.view.members.has(self.id)) return before
  const view = await askAll(joining)
  const cached: CachedCluster = { view, start: 0 }
  writeCache(home, disk, cached)
  return cached
}

/** Every contact, as a guest and then as a member, until one admits or refuses. */
async function askAll(joining: Joining): Promise<ClusterView> {
  const { invite, asGuest, asNode, log } = joining
  const failures: string[] = []
  for (const contact of invite.contacts) {
    for (const call of [asGuest, asNode]) {
      try {
        return await ask(joining, contact, call)
      } catch (error) {
        if (isFinal(error)) throw error
        const as = call === asGuest ? 'guest' : 'node'
        failures.push(`${shown(contact)} as ${as}: ${messageOf(error)}`)
        log.warn(
          { op: 'cluster.join', peer: contact.signKey, as, error: messageOf(error) },
          'asked',
        )
      }
    }
  }
  throw unreachable(joining, failures)
}

async function ask(joining: Joining, contact: Contact, call: Call): Promise<ClusterView> {
  const { invite, self, node, clock } = joining
  const pair = inviteKeyPair(invite.seed)
  try {
    const request = {
      cluster: invite.cluster,
      inviteKey: pair.publicKey.toString('hex'),
      ...publicKeysOf(self),
      name: node.name,
      domain: node.domain,
      addresses: node.addresses,
      sentMs: wallMs(clock),
      to: contact.signKey,
    }
    const body = encodeJoinRequest(request, self.keys.sign, pair)
    const answer = decodeJoinAnswer(await call(contact.signKey, JOIN_SERVICE, body, { deadlineMs }))
    if (answer.result === 'admitted') return mustBeOurs(joining, answer.view)
    const { reason, message } = answer
    const code: ErrnoCode = isKnown(reason) ? REFUSALS[reason] : 'EACCES'
    throw new FsError(code, 'cluster.join', { reason, message: `cluster join: ${message}` })
  } finally {
    wipe(pair.secretKey)
  }
}

/** The contact is who the invite says, since its key was proven; what it hands out must still fit together. */
function mustBeOurs({ invite, self }: Joining, closed: ClosedView): ClusterView {
  try {
    const view = openView(closed, 'signed')
    const me = view.members.get(self.id)?.member
    if (view.record.id !== invite.cluster) throw new CorruptError('it is of another cluster')
    if (me?.boxKey !== publicKeysOf(self).boxKey) {
      throw new CorruptError('it does not list this node')
    }
    wipeClusterKeys(openWrapped(view.wrapped, view.record, self))
    return view
  } catch (error) {
    if (!(error instanceof CorruptError || error instanceof FsError)) throw error
    throw new ProtocolError(`join answer that does not hold: ${messageOf(error)}`, error)
  }
}

/** A refusal is the cluster's, whoever tells it; everything else but a bug may be one member's trouble. */
function isFinal(error: unknown): boolean {
  const reason = reasonOf(error)
  if (reason !== undefined) return reason !== 'unavailable'
  return isBug(error)
}

/** Of a refusal that the cluster sent. */
function reasonOf(error: unknown): unknown {
  return error instanceof FsError && error.op === 'cluster.join' ? error.subject.reason : undefined
}

function isKnown(reason: string): reason is Refusal {
  return Object.hasOwn(REFUSALS, reason)
}

function unreachable({ invite, clock }: Joining, failures: readonly string[]): FsError {
  const late = wallMs(clock) >= invite.expiresMs
  const expired = late
    ? ` By this machine's clock the invite expired at ${new Date(invite.expiresMs).toISOString()}.`
    : ''
  return new FsError('EHOSTUNREACH', 'cluster.join', {
    retry: 'later',
    message: `cluster join: no node of the invite admitted this one.${expired} An invite that is expired, revoked or used up is not let in at all: ask for a new one if the network is right. Tried: ${failures.join('; ')}`,
  })
}

function shown({ signKey, addresses }: Contact): string {
  return addresses.map(formatAddress).join(', ') || signKey.slice(0, 16)
}
