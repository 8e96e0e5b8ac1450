import { z } from 'zod'
import { CorruptError } from '../base/index.ts'
import { type ClusterKeys, openAccess, sealAccess, wipe, wipeClusterKeys } from '../crypto/index.ts'
import { openWrapped, type Self } from './authority.ts'
import type { ClusterId, ClusterRecord, CoordinatorPlace } from './record.ts'

/** What an etcd asks of who connects: certificates as PEM, a user. A client certificate has both, and a user a password. */
export interface EtcdAccess {
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly user?: string | undefined
  readonly password?: string | undefined
}

type Etcd = Extract<CoordinatorPlace, { kind: 'etcd' }>

const text = z.string().min(1)
const shape = z.strictObject({
  version: z.literal(1),
  ca: text.optional(),
  cert: text.optional(),
  key: text.optional(),
  user: text.optional(),
  password: text.optional(),
})

/** A place whose access only members can read: sealed with the cluster's secret (docs/format.md §9). */
export function withAccess(
  place: Etcd,
  access: EtcdAccess,
  cluster: ClusterId,
  { secret }: ClusterKeys,
): Etcd {
  const { kind, endpoints } = place
  if (Object.values(access).every((value) => value === undefined)) return { kind, endpoints }
  const plain = Buffer.from(JSON.stringify({ version: 1, ...access }))
  const sealed = sealAccess(secret, cluster, plain).toString('base64')
  wipe(plain)
  return { kind, endpoints, access: sealed }
}

/** @throws CorruptError when it was sealed with another secret than these keys' */
export function accessOf(place: Etcd, cluster: ClusterId, { secret }: ClusterKeys): EtcdAccess {
  if (place.access === undefined) return {}
  const plain = openAccess(secret, cluster, Buffer.from(place.access, 'base64'))
  try {
    const { data, error } = shape.safeParse(JSON.parse(plain.toString()))
    if (data === undefined) throw new CorruptError('access to the coordinator', {}, error)
    const { version: _, ...access } = data
    return access
  } finally {
    wipe(plain)
  }
}

/** The same with the keys as they are wrapped for this node. @throws as openWrapped, accessOf */
export function accessFor(
  place: Etcd,
  record: ClusterRecord,
  wrapped: string,
  self: Self,
): EtcdAccess {
  if (place.access === undefined) return {}
  const keys = openWrapped(wrapped, record, self)
  try {
    return accessOf(place, record.id, keys)
  } finally {
    wipeClusterKeys(keys)
  }
}
