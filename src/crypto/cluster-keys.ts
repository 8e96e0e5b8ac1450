import { CorruptError } from '../base/index.ts'
import { openBlob, sealBlob } from './blobs.ts'
import { boxOpen, boxSeal } from './box-seal.ts'
import { accessDomain, clusterContext, clusterSub, inviteContext, inviteSub } from './domains.ts'
import { type KeyPair, signKeyPairFromSeed } from './identity.ts'
import { copySecret, newSecret, wipe } from './secret.ts'
import { derive } from './sub-keys.ts'

/** What every member of a cluster can unwrap, so that any of them may admit others. All secrets in secure memory. */
export interface ClusterKeys {
  /** Ed25519 seed of `sign`, 32 bytes. */
  readonly seed: Buffer
  /** Signs certificates and removals. */
  readonly sign: KeyPair
  /** 32 bytes; what is derived from it, strangers must not know: the discovery topic. */
  readonly secret: Buffer
}

/** What wrapped keys are of, checked when they are unwrapped. */
export interface ClusterKeysOf {
  /** 32 hex digits. */
  readonly clusterId: string
  /** Number of the keys, from 1; each rotation adds one. */
  readonly keyEpoch: number
}

/** Plain bytes of wrapped keys: u8 version (1), cluster id (16), u32 LE key epoch, seed (32), secret (32). */
const AT = { clusterId: 1, keyEpoch: 17, seed: 21, secret: 53, end: 85 }
const VERSION = 1

export function newClusterKeys(): ClusterKeys {
  const seed = newSecret(32)
  return { seed, sign: signKeyPairFromSeed(seed), secret: newSecret(32) }
}

/** @throws FsError EINVAL when `boxPublicKey` is no X25519 key */
export function sealClusterKeys(
  keys: ClusterKeys,
  of: ClusterKeysOf,
  boxPublicKey: Buffer,
): Buffer {
  const plain = newSecret(AT.end)
  try {
    plain.writeUInt8(VERSION, 0)
    plain.write(of.clusterId, AT.clusterId, 'hex')
    plain.writeUInt32LE(of.keyEpoch, AT.keyEpoch)
    plain.set(keys.seed, AT.seed)
    plain.set(keys.secret, AT.secret)
    return boxSeal(plain, boxPublicKey, 'cluster.seal')
  } finally {
    wipe(plain)
  }
}

/** @throws CorruptError when they are damaged, for another pair, of another cluster or key epoch */
export function openClusterKeys(sealed: Buffer, of: ClusterKeysOf, pair: KeyPair): ClusterKeys {
  const plain = boxOpen(sealed, pair, AT.end)
  if (plain === undefined) {
    throw new CorruptError('cluster keys do not open with this node key', { bytes: sealed.length })
  }
  try {
    const fits =
      plain.readUInt8(0) === VERSION &&
      plain.toString('hex', AT.clusterId, AT.keyEpoch) === of.clusterId &&
      plain.readUInt32LE(AT.keyEpoch) === of.keyEpoch
    if (!fits) throw new CorruptError('cluster keys of another cluster or key epoch', { ...of })
    const seed = copySecret(plain.subarray(AT.seed, AT.secret))
    const secret = copySecret(plain.subarray(AT.secret, AT.end))
    return { seed, sign: signKeyPairFromSeed(seed), secret }
  } finally {
    wipe(plain)
  }
}

export function wipeClusterKeys(keys: ClusterKeys): void {
  wipe(keys.seed, keys.sign.secretKey, keys.secret)
}

/** Where the members of a cluster find each other in the DHT: 32 bytes that say nothing about the secret. */
export function discoveryTopic(secret: Buffer): Buffer {
  return Buffer.from(derive(secret, clusterContext, clusterSub.topic, 32))
}

/** Seals what members need to open the coordinator, with the cluster's secret: whoever is a member can open it, nobody else. */
export function sealAccess(secret: Buffer, clusterId: string, plain: Buffer): Buffer {
  const key = derive(secret, clusterContext, clusterSub.access, 32)
  try {
    return sealBlob(key, plain, accessDomain(clusterId))
  } finally {
    wipe(key)
  }
}

/** @throws CorruptError when another secret, or another cluster's, sealed it. The caller wipes what comes out */
export function openAccess(secret: Buffer, clusterId: string, sealed: Buffer): Buffer {
  const key = derive(secret, clusterContext, clusterSub.access, 32)
  try {
    return openBlob(key, sealed, accessDomain(clusterId))
  } finally {
    wipe(key)
  }
}

/** The Ed25519 pair that whoever holds an invite connects with. @param seed 32 bytes, the caller's to wipe */
export function inviteKeyPair(seed: Buffer): KeyPair {
  const signSeed = derive(seed, inviteContext, inviteSub, 32)
  const pair = signKeyPairFromSeed(signSeed)
  wipe(signSeed)
  return pair
}
