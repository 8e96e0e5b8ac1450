import { type ClusterKeys, newClusterKeys, wipeClusterKeys } from '../crypto/index.ts'
import {
  type Authority,
  readCluster,
  repeated,
  type StoredCluster,
  withClusterKeys,
  wrapFor,
} from './authority.ts'
import {
  decodeSigned,
  encodeSigned,
  keysOf,
  openMember,
  openRemoval,
  type Signed,
  type Signer,
  signMember,
  signRemoval,
} from './certificate.ts'
import { accessOf, withAccess } from './coordinator-access.ts'
import {
  type ClusterRecord,
  encodeRecord,
  encodeWrappedKeys,
  MEMBERS,
  RECORD_KEY,
  REMOVED,
  WRAPPED_KEY,
} from './record.ts'

/**
 * New keys for the cluster: another signing key, another secret and with it another discovery topic, wrapped for the
 * members as they are now. Who was removed has the old ones, and they are worth nothing afterwards.
 *
 * Three steps, each safe to die after; the next call finishes what it finds begun. 1. Record and wrapped keys change
 * together; the former key still counts for what the coordinator holds. 2. Each certificate and tombstone is signed
 * anew. 3. The former key counts no more.
 * @returns the number of the new keys
 */
export async function rotateClusterKeys(authority: Authority): Promise<number> {
  await finishRotation(authority)
  const keys = newClusterKeys()
  try {
    const keyEpoch = await repeated('rotate', () => begin(authority, keys))
    authority.log.info({ op: 'cluster.rotate', keyEpoch }, 'cluster keys changed')
  } finally {
    wipeClusterKeys(keys)
  }
  return finishRotation(authority)
}

/** Steps 2 and 3 of a rotation that was begun; nothing when none was. @returns the number of the keys */
export async function finishRotation(authority: Authority): Promise<number> {
  const { coordinator } = authority
  return repeated('rotate', async () => {
    const stored = await readCluster(authority)
    const { record, recordVersion } = stored
    if (record.formerKey === null) return record.signingKey.keyEpoch
    if (!(await signAllAnew(authority, stored))) return undefined
    const value = encodeRecord({ ...record, formerKey: null })
    const done = await coordinator.compareAndSet(RECORD_KEY, recordVersion, value)
    return done.ok ? record.signingKey.keyEpoch : undefined
  })
}

/** @throws FsError EACCES when this node cannot unwrap the present keys: it could not finish what it begins */
async function begin(authority: Authority, keys: ClusterKeys): Promise<number | undefined> {
  const { coordinator } = authority
  const stored = await readCluster(authority)
  const { record, recordVersion, wrapped, wrappedVersion } = stored
  const { coordinator: place } = record
  // Sealed with the secret that is left: anew with the one that comes.
  const access = await withClusterKeys(authority, stored, (old) =>
    place.kind === 'etcd' ? accessOf(place, record.id, old) : {},
  )
  const keyEpoch = record.signingKey.keyEpoch + 1
  const publicKey = keys.sign.publicKey.toString('hex')
  const next: ClusterRecord = {
    ...record,
    signingKey: { keyEpoch, publicKey },
    formerKey: record.signingKey,
    coordinator: place.kind === 'etcd' ? withAccess(place, access, record.id, keys) : place,
  }
  // Joins and removals change the wrapped keys, so the list of members is the one these are wrapped for.
  const members = (await coordinator.list(MEMBERS)).map(
    ({ value }) => openMember(decodeSigned(value), record.id, keysOf(record)).member,
  )
  const sealed = members.map((member) => wrapFor(keys, next, member))
  const done = await coordinator.transaction([
    { key: RECORD_KEY, expected: recordVersion, value: encodeRecord(next) },
    {
      key: WRAPPED_KEY,
      expected: wrappedVersion,
      value: encodeWrappedKeys({ ...wrapped, keyEpoch, sealed }),
    },
  ])
  return done.ok ? keyEpoch : undefined
}

/** @returns false when one changed meanwhile */
async function signAllAnew(authority: Authority, stored: StoredCluster): Promise<boolean> {
  const { coordinator } = authority
  const { record } = stored
  const entries = [...(await coordinator.list(MEMBERS)), ...(await coordinator.list(REMOVED))]
  return withClusterKeys(authority, stored, async (_, signer) => {
    let whole = true
    for (const { key, value, version } of entries) {
      const signed = decodeSigned(value)
      if (signed.keyEpoch === signer.keyEpoch) continue
      const anew = encodeSigned(signedAnew(key, signed, record, signer))
      whole = (await coordinator.compareAndSet(key, version, anew)).ok && whole
    }
    return whole
  })
}

function signedAnew(key: string, signed: Signed, record: ClusterRecord, signer: Signer): Signed {
  const keys = keysOf(record)
  if (key.startsWith(MEMBERS)) {
    return signMember(openMember(signed, record.id, keys).member, signer).signed
  }
  return signRemoval(openRemoval(signed, record.id, keys).removal, signer).signed
}
