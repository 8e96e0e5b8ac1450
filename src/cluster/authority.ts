import {
  type Clock,
  CorruptError,
  FsError,
  isoTime,
  type Log,
  limits,
  type NodeId,
  type Random,
} from '../base/index.ts'
import type { Coordinator, Entry } from '../coordinator/index.ts'
import {
  type ClusterKeys,
  type Identity,
  openClusterKeys,
  sealClusterKeys,
  wipeClusterKeys,
} from '../crypto/index.ts'
import {
  addressesShape,
  decodeSigned,
  keysOf,
  type Member,
  openMember,
  openRemoval,
  type Removal,
  type Signer,
} from './certificate.ts'
import { domainShape } from './domain.ts'
import {
  CLUSTER,
  type ClusterRecord,
  checkName,
  decodeRecord,
  decodeWrappedKeys,
  memberKey,
  RECORD_KEY,
  removedKey,
  WRAPPED_KEY,
  type WrappedKeys,
} from './record.ts'

/** This node, as it proves itself and opens what is sealed to it. */
export interface Self {
  readonly id: NodeId
  readonly keys: Identity
}

/** What a member changes the membership with: any member can, since each can unwrap the cluster's keys. */
export interface Authority {
  readonly coordinator: Coordinator
  readonly self: Self
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** The highest generation of the coordinator that this node has seen (Membership.record); 0 before there was one. */
  readonly generationSeen: () => number
}

/** The cluster as the coordinator has it, and the versions that a change of it is conditional on. */
export interface StoredCluster {
  readonly record: ClusterRecord
  readonly recordVersion: number
  readonly wrapped: WrappedKeys
  readonly wrappedVersion: number
}

/** Losing a compare-and-set means that another change won, so someone always gets on; this many in a row is a fault. */
const attemptsMax = 100

/** Null when the coordinator holds no cluster. @throws CorruptError, FsError ENOTSUP; what the coordinator throws */
export async function findCluster(coordinator: Coordinator): Promise<StoredCluster | null> {
  return clusterIn(await coordinator.list(CLUSTER))
}

/** @param entries all below CLUSTER, from one list and so one state: record and keys belong together */
export function clusterIn(entries: readonly Entry[]): StoredCluster | null {
  const record = entries.find(({ key }) => key === RECORD_KEY)
  const wrapped = entries.find(({ key }) => key === WRAPPED_KEY)
  if (record === undefined && wrapped === undefined) return null
  if (record === undefined || wrapped === undefined) {
    throw new CorruptError('cluster record without its keys, or keys without their record')
  }
  return {
    record: decodeRecord(record.value),
    recordVersion: record.version,
    wrapped: decodeWrappedKeys(wrapped.value),
    wrappedVersion: wrapped.version,
  }
}

/** @throws FsError ENOENT when there is none; ESTALE when the coordinator was moved or rebuilt since; as findCluster */
export async function readCluster({
  coordinator,
  generationSeen,
}: Pick<Authority, 'coordinator' | 'generationSeen'>): Promise<StoredCluster> {
  const stored = mustBeThere(await findCluster(coordinator))
  const { generation } = stored.record
  if (generation < generationSeen()) throw generationPast(generation, generationSeen())
  return stored
}

/** @throws FsError ENOENT */
export function mustBeThere(stored: StoredCluster | null): StoredCluster {
  if (stored !== null) return stored
  throw new FsError('ENOENT', 'cluster.read', {
    message:
      'cluster: this coordinator holds none; make one with "weft cluster create", or join one with "weft cluster join"',
  })
}

export function generationPast(generation: number, seen: number): FsError {
  return notObeyed(
    `its generation ${generation} is below ${seen}, which this node has seen: it was moved or rebuilt since`,
  )
}

export function notObeyed(why: string): FsError {
  return new FsError('ESTALE', 'cluster.read', {
    message: `the coordinator is not obeyed: ${why}; point this node at the right one`,
  })
}

/** A member as the coordinator has it, and the entry's version; null when it is no member. */
export async function findMember(
  { coordinator }: Authority,
  { record }: StoredCluster,
  id: NodeId,
): Promise<{ member: Member; version: number } | null> {
  const entry = await coordinator.get(memberKey(id))
  return entry === null ? null : { member: memberIn(entry, record), version: entry.version }
}

export async function findRemoval(
  { coordinator }: Authority,
  { record }: StoredCluster,
  id: NodeId,
): Promise<Removal | null> {
  const entry = await coordinator.get(removedKey(id))
  if (entry === null) return null
  return openRemoval(decodeSigned(entry.value), record.id, keysOf(record)).removal
}

function memberIn({ value }: Entry, record: ClusterRecord): Member {
  return openMember(decodeSigned(value), record.id, keysOf(record)).member
}

/**
 * Lends the cluster's keys and wipes them afterwards; between two changes no secret of the cluster is in memory.
 * @throws FsError EACCES when they are not wrapped for this node; CorruptError when they are not the record's
 */
export async function withClusterKeys<T>(
  { self }: Authority,
  { record, wrapped }: StoredCluster,
  work: (keys: ClusterKeys, signer: Signer) => T | Promise<T>,
): Promise<T> {
  const mine = wrapped.sealed.find(({ node }) => node === self.id)
  if (mine === undefined) {
    throw new FsError('EACCES', 'cluster.keys', {
      node: self.id,
      message:
        'cluster: its keys are not wrapped for this node, which is no member any more; ask another node',
    })
  }
  const keys = openWrapped(mine.keys, record, self)
  try {
    const { keyEpoch } = record.signingKey
    return await work(keys, { keyEpoch, secretKey: keys.sign.secretKey })
  } finally {
    wipeClusterKeys(keys)
  }
}

/** @throws CorruptError when these are not the keys that the record names */
export function openWrapped(wrapped: string, record: ClusterRecord, self: Self): ClusterKeys {
  const { keyEpoch, publicKey } = record.signingKey
  const of = { clusterId: record.id, keyEpoch }
  const keys = openClusterKeys(Buffer.from(wrapped, 'base64'), of, self.keys.box)
  if (keys.sign.publicKey.toString('hex') === publicKey) return keys
  wipeClusterKeys(keys)
  throw new CorruptError('cluster keys that are not those of the cluster record', { ...of })
}

/** The keys wrapped for one member more, or anew for one. */
export function wrapFor(
  keys: ClusterKeys,
  record: ClusterRecord,
  member: Pick<Member, 'node' | 'boxKey'>,
): WrappedKeys['sealed'][number] {
  const of = { clusterId: record.id, keyEpoch: record.signingKey.keyEpoch }
  const sealed = sealClusterKeys(keys, of, Buffer.from(member.boxKey, 'hex'))
  return { node: member.node, keys: sealed.toString('base64') }
}

/**
 * Repeats a compare-and-set until it holds.
 * @param attempt undefined when another change came first
 * @throws FsError EBUSY when others always come first
 */
export async function repeated<T>(op: string, attempt: () => Promise<T | undefined>): Promise<T> {
  for (let count = 0; count < attemptsMax; count++) {
    const done = await attempt()
    if (done !== undefined) return done
  }
  throw new FsError('EBUSY', `cluster.${op}`, {
    retry: 'later',
    message: `cluster: ${op} lost to other changes ${attemptsMax} times; try again`,
  })
}

/** How a member that joins now is described. */
export function newMember(
  { clock }: Pick<Authority, 'clock'>,
  record: ClusterRecord,
  keys: Pick<Member, 'node' | 'signKey' | 'boxKey'>,
  words: MemberWords,
): Member {
  const { node, signKey, boxKey } = keys
  const { name, domain, addresses } = words
  const about = { name, domain, addresses, joinedAt: isoTime(clock), serial: 1 }
  return { cluster: record.id, node, signKey, boxKey, ...about }
}

/** What a node says of itself. */
export type MemberWords = Pick<Member, 'name' | 'domain' | 'addresses'>

/** @throws FsError EINVAL for words that no certificate can hold */
export function checkWords({ name, domain, addresses }: MemberWords): void {
  checkName('node name', name)
  const problem = domainShape.safeParse(domain).error ?? addressesShape.safeParse(addresses).error
  if (problem === undefined) return
  throw new FsError('EINVAL', 'cluster.member', {
    message: `node ${name}: its domain and addresses must be as parseDomain and parseAddress give them, with at most ${limits.memberAddressesMax} addresses: ${problem.issues[0]?.message ?? ''}`,
  })
}

/** Public halves of a node's keys, as certificates show them. */
export function publicKeysOf({ id, keys }: Self): Pick<Member, 'node' | 'signKey' | 'boxKey'> {
  return {
    node: id,
    signKey: keys.sign.publicKey.toString('hex'),
    boxKey: keys.box.publicKey.toString('hex'),
  }
}
