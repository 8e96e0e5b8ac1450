import { z } from 'zod'
import { limits, type NodeId } from '../base/index.ts'
import { formatAddress } from './address.ts'
import type { Member } from './certificate.ts'
import { formatDomain } from './domain.ts'
import { endOf, type InviteRecord } from './invites.ts'
import type { Membership } from './membership.ts'

/**
 * Requests and answers of weft cluster create, invite, join, status and weft node list, remove, for the control API.
 * Unknown fields of a request are refused: a typo must not pass silently. What names and domains may hold is judged where
 * they are read (checkName, parseDomain), in a person's words.
 */

const shortText = z.string().min(1).max(256)
/** region=eu,zone=1,rack=r1: four levels and their names. */
const domainText = z.string().max(4 * (limits.domainCharsMax + 16))
const whole = z.number().int()

/** What a node says of itself as it comes into a cluster. */
const entry = {
  node: shortText.optional().describe("its name in the cluster; the host's when not given"),
  domain: domainText.optional(),
  listen: shortText.optional().describe('host:port, or :port for every address'),
  advertise: z
    .array(shortText)
    .max(limits.memberAddressesMax)
    .optional()
    .describe('host:port each by which others reach it; its own addresses when not given'),
}

/** PEM, or a word; kept sealed with the cluster's secret. */
const accessText = z
  .string()
  .min(1)
  .max(32 * 1024)
export const etcdAccess = z.strictObject({
  ca: accessText.optional().describe('PEM: whom to trust; etcd is spoken to over TLS then'),
  cert: accessText.optional().describe('PEM: the certificate to show, with key'),
  key: accessText.optional(),
  user: shortText.optional(),
  password: accessText.optional(),
})
export const clusterCreateBody = z.strictObject({
  name: shortText,
  ...entry,
  coordinator: z.string().min(1).max(4096).optional().describe('etcd://host:port,…'),
  access: etcdAccess.optional(),
})
export const clusterInviteBody = z.strictObject({
  uses: whole.min(1).max(limits.inviteUsesMax).optional(),
  lifetimeMs: whole.min(1000).max(limits.inviteMsMax).optional(),
})
export const clusterJoinBody = z.strictObject({
  /** Line breaks that a terminal put in do not matter. */
  invite: z
    .string()
    .min(1)
    .max(4 * limits.inviteLineCharsMax),
  ...entry,
})
export const inviteParams = z.strictObject({ invite: z.string().regex(/^[0-9a-f]{32}$/) })
/** An id or a name. */
export const nodeParams = z.strictObject({ node: shortText })
export const nodeRemoveBody = z.strictObject({
  reason: z.string().max(limits.reasonCharsMax).optional(),
  rotate: z.boolean().optional().describe('change the cluster keys at once; true when not given'),
})

export const nodeInfo = z.object({
  id: z.string(),
  name: z.string(),
  state: z.enum(['member', 'removed']),
  self: z.boolean(),
  domain: z.string().describe('as --domain takes it, "" when nothing was said'),
  addresses: z.array(z.string()),
  joinedAt: z.string().nullable().describe('null when removed'),
  removedAt: z.string().nullable(),
  reason: z.string().describe('why it was removed'),
})
export type NodeInfo = z.infer<typeof nodeInfo>

export const nodeList = z.object({ nodes: z.array(nodeInfo) })

export const inviteInfo = z.object({
  id: z.string(),
  state: z.enum(['live', 'revoked', 'expired', 'used up']),
  usesLeft: whole,
  usedBy: z.array(z.string()),
  createdAt: z.string(),
  createdBy: z.string(),
  expiresAt: z.string(),
})
export type InviteInfo = z.infer<typeof inviteInfo>

/** @property line shown once: it is kept nowhere */
export const inviteAnswer = inviteInfo.extend({ line: z.string() })
export const inviteList = z.object({ invites: z.array(inviteInfo) })

export const clusterStatus = z.object({
  id: z.string(),
  name: z.string(),
  createdAt: z.string(),
  generation: whole,
  keyEpoch: whole,
  rotating: z.boolean(),
  coordinator: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('embedded'), node: z.string() }),
    z.object({ kind: z.literal('etcd'), endpoints: z.array(z.string()) }),
  ]),
  members: z.object({
    state: z.enum(['current', 'cached']),
    reason: z.string().describe('why they are as last known; "" when current'),
    count: whole,
  }),
  node: nodeInfo.nullable().describe('this node; null when it was removed'),
})
export type ClusterStatus = z.infer<typeof clusterStatus>

/** @property keyEpoch of the keys after the removal; those before are known to the removed node */
export const nodeRemoved = z.object({
  id: z.string(),
  name: z.string(),
  reason: z.string(),
  removedAt: z.string(),
  keyEpoch: whole,
})

/** Members by name, then the removed ones. */
export function toNodeList(membership: Membership, self: NodeId): z.infer<typeof nodeList> {
  const members = membership.members().map((member) => toNodeInfo(member, self))
  const removed = membership.removals().map(
    (removal): NodeInfo => ({
      id: removal.node,
      name: removal.name,
      state: 'removed',
      self: removal.node === self,
      domain: '',
      addresses: [],
      joinedAt: null,
      removedAt: removal.removedAt,
      reason: removal.reason,
    }),
  )
  return { nodes: [...members, ...removed] }
}

export function toClusterStatus(membership: Membership): ClusterStatus {
  const { record, freshness, self } = membership
  const { coordinator } = record
  return {
    id: record.id,
    name: record.name,
    createdAt: record.createdAt,
    generation: record.generation,
    keyEpoch: record.signingKey.keyEpoch,
    rotating: record.formerKey !== null,
    coordinator:
      coordinator.kind === 'etcd'
        ? { kind: coordinator.kind, endpoints: [...coordinator.endpoints] }
        : coordinator,
    members: {
      state: freshness.state,
      reason: freshness.state === 'cached' ? freshness.reason : '',
      count: membership.members().length,
    },
    node: self === null ? null : toNodeInfo(self, self.node),
  }
}

function toNodeInfo(member: Member, self: NodeId): NodeInfo {
  return {
    id: member.node,
    name: member.name,
    state: 'member',
    self: member.node === self,
    domain: formatDomain(member.domain),
    addresses: member.addresses.map(formatAddress),
    joinedAt: member.joinedAt,
    removedAt: null,
    reason: '',
  }
}

export function toInviteInfo(invite: InviteRecord, nowMs: number): InviteInfo {
  const { id, usesLeft, usedBy, createdAt, createdBy, expiresMs } = invite
  return {
    id,
    state: endOf(invite, nowMs) ?? 'live',
    usesLeft,
    usedBy: [...usedBy],
    createdAt,
    createdBy,
    expiresAt: new Date(expiresMs).toISOString(),
  }
}
