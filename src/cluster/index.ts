/**
 * cluster: who belongs together. The cluster's record and keys, members with certificates that the cluster's key signed,
 * removals that hold for ever, invites and the join exchange (admit-member.ts, join-cluster.ts), failure domains. Members
 * and peers are known by key; channels are net's, and come in as functions.
 *
 * Called by daemon; placement takes domains from it. Invariants: an invite is worth its uses and not one more, whatever
 * races or is lost; joining again is the same membership; no secret of the cluster is stored or sent but sealed to one
 * member's key, and the seed of an invite only in its line; a removed key is refused for ever, coordinator or not; absence
 * from a list removes nobody; a coordinator behind what this node has seen is not obeyed.
 */
export { type Address, formatAddress, parseAddress } from './address.ts'
export { answerJoin } from './admit-member.ts'
export {
  type Authority,
  checkWords,
  type MemberWords,
  openWrapped,
  readCluster,
  type Self,
  withClusterKeys,
} from './authority.ts'
export { type CachedCluster, readCache, writeCache } from './cache.ts'
export type { Member, Removal } from './certificate.ts'
export { removeMember, restateMember } from './change-members.ts'
export { accessFor, type EtcdAccess, withAccess } from './coordinator-access.ts'
export { createCluster, type NewCluster } from './create-cluster.ts'
export {
  formatDomain,
  nowhere,
  parseDomain,
} from './domain.ts'
export { type Contact, type Invite, parseInvite } from './invite-line.ts'
export {
  createInvite,
  type InviteRecord,
  listInvites,
  revokeInvite,
} from './invites.ts'
export { type Call, type Joining, joinCluster } from './join-cluster.ts'
export { JOIN_SERVICE } from './join-messages.ts'
export {
  judgeLife,
  type KnownLife,
  type Life,
  type LifeVerdict,
  lifeShape,
} from './lives.ts'
export { MEMBERS_SERVICE, successorIn } from './member-list.ts'
export { type Freshness, Membership, type MembershipWorld } from './membership.ts'
export type { MembershipChange } from './merge-views.ts'
export { recordMove } from './move-coordinator.ts'
export { mustBeSigned, type NodeSigned, nodeSignedShape, signAsNode } from './node-signed.ts'
export { type ClusterId, type ClusterRecord, type CoordinatorPlace, checkName } from './record.ts'
export { finishRotation, rotateClusterKeys } from './rotate-keys.ts'
export {
  type ClusterStatus,
  clusterCreateBody,
  clusterInviteBody,
  clusterJoinBody,
  clusterStatus,
  etcdAccess,
  type InviteInfo,
  inviteAnswer,
  inviteInfo,
  inviteList,
  inviteParams,
  type NodeInfo,
  nodeInfo,
  nodeList,
  nodeParams,
  nodeRemoveBody,
  nodeRemoved,
  toClusterStatus,
  toInviteInfo,
  toNodeList,
} from './shapes.ts'
