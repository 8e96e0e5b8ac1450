import type { VolumeId } from '../base/index.ts'

/**
 * Every name that keeps one use of a key apart from another. Two uses never share a name, and a name is never
 * changed: stored bytes depend on it.
 */

/** Sub-keys of a volume's data key: crypto_kdf context (8 bytes) and sub-key numbers. */
export const dataKeyContext = Buffer.from('weftdata')
export const dataKeySub = { chunk: 1, journal: 2, view: 3 } as const

/** The name-hash key from a volume's name secret. */
export const nameContext = Buffer.from('weftname')
export const nameSub = 1

/** A node's key pairs from its identity seed. */
export const identityContext = Buffer.from('weftnode')
export const identitySub = { sign: 1, box: 2 } as const

/** The id of a node from its signing key, and of an invite from its own. */
export const nodeIdDomain = 'weft node id\0'
export const inviteIdDomain = 'weft invite id\0'

/** An invite's key pair from its seed. */
export const inviteContext = Buffer.from('weftinvt')
export const inviteSub = 1

/** What a cluster's secret is for. */
export const clusterContext = Buffer.from('weftclus')
export const clusterSub = { topic: 1, access: 2 } as const

/** Associated data of what the members need to open the cluster's coordinator. */
export function accessDomain(clusterId: string): Buffer {
  return Buffer.from(`weft coordinator access v1\0${clusterId}`)
}

/** What stands before that to which a sealed secret is bound. */
export const sealedSecretDomain = 'weft sealed secret v1\0'

/** What stands before a signed statement. */
export function statementDomain(kind: string, clusterId: string): Buffer {
  return Buffer.from(`weft ${kind} v1\0${clusterId}\0`)
}

/** Associated data of a volume's keyring. */
export function keyringDomain(volumeId: VolumeId, newest: number): Buffer {
  return Buffer.from(`weft keyring v1\0${volumeId}\0${newest}`)
}

/** First line of a key backup; the checksum covers it. */
export const backupTitle = 'WEFT KEY BACKUP'
/** First word of a written share; the checksum covers it. */
export const shareTitle = 'weft-share-1'
