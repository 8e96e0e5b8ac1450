import {
  type Authority,
  publicKeysOf,
  readCluster,
  withClusterKeys,
} from '../../src/cluster/authority.ts'
import { type Member, type Signed, signMember } from '../../src/cluster/certificate.ts'
import type { ClusterRecord } from '../../src/cluster/record.ts'

/** What a member that means harm could have kept: the cluster's keys in clear. */
export interface StolenSecrets {
  readonly seed: Buffer
  readonly secret: Buffer
  readonly signSecretKey: Buffer
  /** A certificate for the thief, as the cluster's key of that time would sign it. */
  forge(record: ClusterRecord, change: Partial<Member>): Signed
}

export async function copyOfSecrets(authority: Authority): Promise<StolenSecrets> {
  const stored = await readCluster(authority)
  return withClusterKeys(authority, stored, (keys, { keyEpoch }) => {
    const signSecretKey = Buffer.from(keys.sign.secretKey)
    return {
      seed: Buffer.from(keys.seed),
      secret: Buffer.from(keys.secret),
      signSecretKey,
      forge: (record, change) => {
        const member: Member = {
          cluster: record.id,
          ...publicKeysOf(authority.self),
          name: 'thief',
          domain: { region: null, zone: null, rack: null, enclosure: null },
          addresses: [],
          joinedAt: new Date(0).toISOString(),
          serial: 99,
          ...change,
        }
        return signMember(member, { keyEpoch, secretKey: signSecretKey }).signed
      },
    }
  })
}
