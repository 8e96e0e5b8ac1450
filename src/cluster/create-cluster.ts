import { CorruptError, FsError, isoTime, newId } from '../base/index.ts'
import { type ClusterKeys, newClusterKeys, wipeClusterKeys } from '../crypto/index.ts'
import type { Disk } from '../disk/index.ts'
import {
  type Authority,
  checkWords,
  findCluster,
  findMember,
  type MemberWords,
  newMember,
  publicKeysOf,
  wrapFor,
} from './authority.ts'
import { type CachedCluster, inOtherCluster, readCache, writeCache } from './cache.ts'
import { encodeSigned, signMember } from './certificate.ts'
import { FORMAT } from './json.ts'
import {
  type ClusterId,
  type ClusterRecord,
  type CoordinatorPlace,
  checkName,
  coordinatorShape,
  encodeRecord,
  encodeWrappedKeys,
  memberKey,
  memberNameKey,
  RECORD_KEY,
  WRAPPED_KEY,
} from './record.ts'
import { type ClusterView, readView } from './view.ts'

export interface NewCluster {
  readonly name: string
  /** Where the coordinator that is given in Authority is. */
  readonly coordinator: CoordinatorPlace
  /** The first member: this node. */
  readonly node: MemberWords
}

/**
 * Makes a cluster with this node as its first member, in one transaction, and writes it down in `home`, durably. Asked again
 * by the same node for the same name, as after a crash, it answers with the cluster that is there.
 * @throws FsError EINVAL for a name; EEXIST when the coordinator holds another cluster, or the home is in one; what the disk
 * throws
 */
export async function createCluster(
  authority: Authority,
  { home, disk }: { readonly home: string; readonly disk: Disk },
  asked: NewCluster,
): Promise<CachedCluster> {
  checkName('cluster name', asked.name)
  checkWords(asked.node)
  checkPlace(asked.coordinator)
  const before = readCache(home, disk, authority.self)
  if (before !== null) {
    if (before.view.record.name === asked.name) return before
    throw inOtherCluster('create', before.view.record)
  }
  const keys = newClusterKeys()
  try {
    const cached: CachedCluster = { view: await found(authority, asked, keys), start: 0 }
    writeCache(home, disk, cached)
    return cached
  } finally {
    wipeClusterKeys(keys)
  }
}

async function found(
  authority: Authority,
  asked: NewCluster,
  keys: ClusterKeys,
): Promise<ClusterView> {
  const { coordinator, self, clock, random, log } = authority
  const record: ClusterRecord = {
    version: FORMAT,
    id: newId<ClusterId>(random),
    name: asked.name,
    generation: 1,
    signingKey: { keyEpoch: 1, publicKey: keys.sign.publicKey.toString('hex') },
    formerKey: null,
    coordinator: asked.coordinator,
    createdAt: isoTime(clock),
  }
  const member = newMember({ clock }, record, publicKeysOf(self), asked.node)
  const certificate = signMember(member, { keyEpoch: 1, secretKey: keys.sign.secretKey })
  const wrapped = {
    version: FORMAT,
    keyEpoch: 1,
    sealed: [wrapFor(keys, record, member)],
  } as const
  const done = await coordinator.transaction([
    { key: RECORD_KEY, expected: 0, value: encodeRecord(record) },
    { key: WRAPPED_KEY, expected: 0, value: encodeWrappedKeys(wrapped) },
    { key: memberKey(self.id), expected: 0, value: encodeSigned(certificate.signed) },
    { key: memberNameKey(member.name), expected: 0, value: Buffer.from(self.id) },
  ])
  if (!done.ok) await mustBeOurs(authority, asked.name)
  else log.info({ op: 'cluster.create', cluster: record.id, node: self.id }, 'cluster made')
  return readView(coordinator, self.id)
}

async function mustBeOurs(authority: Authority, name: string): Promise<void> {
  const stored = await findCluster(authority.coordinator)
  if (stored === null) throw new CorruptError('coordinator with members and without a cluster')
  const { record } = stored
  if (record.name === name && (await findMember(authority, stored, authority.self.id)) !== null)
    return
  throw new FsError('EEXIST', 'cluster.create', {
    cluster: record.id,
    message: `cluster create: this coordinator holds the cluster ${record.name} already; join it with an invite ("weft cluster invite" on one of its nodes)`,
  })
}

function checkPlace(place: CoordinatorPlace): void {
  const { error } = coordinatorShape.safeParse(place)
  if (error === undefined) return
  throw new FsError('EINVAL', 'cluster.create', {
    message: `cluster create: no such coordinator can be: ${error.issues[0]?.message ?? ''}`,
  })
}
