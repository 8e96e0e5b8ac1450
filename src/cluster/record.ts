import { z } from 'zod'
import { FsError, limits, type NodeId } from '../base/index.ts'
import { count, decodeStored, encodeJson, FORMAT, hexId, isoDate, key32 } from './json.ts'

/** 128 random bits of a cluster, 32 lower-case hex digits. */
export type ClusterId = string & { readonly __brand: 'ClusterId' }

/** Which coordinator the cluster asks: one served by a member, or etcd. */
export type CoordinatorPlace =
  | { readonly kind: 'embedded'; readonly node: NodeId }
  | {
      readonly kind: 'etcd'
      /** http:// or https://, all alike. */
      readonly endpoints: readonly string[]
      /** Certificates, user and password, sealed with the cluster's secret (coordinator-access.ts), base64; absent when none are needed. */
      readonly access?: string
    }

/** One of the keys a cluster signs with: certificates name the key epoch they were signed in. */
export interface SigningKey {
  readonly keyEpoch: number
  /** Ed25519, hex. */
  readonly publicKey: string
}

/** What the coordinator knows of the cluster itself, under cluster/record; changed only by compare-and-set. */
export interface ClusterRecord {
  readonly version: 1
  readonly id: ClusterId
  readonly name: string
  /** Of the coordinator; nodes keep the highest seen and obey no lower one (design §3). */
  readonly generation: number
  readonly signingKey: SigningKey
  /** The key before, while a rotation still signs anew what it signed; then null. */
  readonly formerKey: SigningKey | null
  readonly coordinator: CoordinatorPlace
  /** ISO time. */
  readonly createdAt: string
}

/** The cluster's keys, wrapped for each member, under cluster/keys. */
export interface WrappedKeys {
  readonly version: 1
  readonly keyEpoch: number
  /** crypto_box_seal to the node's box key, base64. */
  readonly sealed: readonly { readonly node: NodeId; readonly keys: string }[]
}

/** Keys of the coordinator that belong to this room; docs/format.md §8. */
export const CLUSTER = 'cluster/'
export const RECORD_KEY = `${CLUSTER}record`
export const WRAPPED_KEY = `${CLUSTER}keys`
export const MEMBERS = 'member/'
export const REMOVED = 'removed/'
export const INVITES = 'invite/'
export const memberKey = (id: NodeId) => `${MEMBERS}${id}`
export const removedKey = (id: NodeId) => `${REMOVED}${id}`
export const inviteKey = (id: string) => `${INVITES}${id}`
/** Names are unique whatever their case: they become words in commands and, often, host names. */
export const memberNameKey = (name: string) => `member-name/${name.toLowerCase()}`

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/
export const nameShape = z.string().regex(NAME).max(limits.clusterNameCharsMax)
/** Wrapped keys are 133 bytes; the bound leaves room for a later version. */
export const wrappedShape = z.base64().max(512)

const signingKeyShape = z.strictObject({ keyEpoch: count.max(0xffff_ffff), publicKey: key32 })

export const coordinatorShape = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('embedded'), node: hexId }),
  z.strictObject({
    kind: z.literal('etcd'),
    endpoints: z.array(z.string().min(1).max(512)).min(1).max(16),
    access: z
      .base64()
      .max(256 * 1024)
      .optional(),
  }),
])

export const recordShape = z.strictObject({
  version: z.literal(FORMAT),
  id: hexId,
  name: nameShape,
  generation: count,
  signingKey: signingKeyShape,
  formerKey: signingKeyShape.nullable(),
  coordinator: coordinatorShape,
  createdAt: isoDate,
}) as unknown as z.ZodType<ClusterRecord>

const wrappedKeysShape = z.strictObject({
  version: z.literal(FORMAT),
  keyEpoch: count,
  sealed: z
    .array(z.strictObject({ node: hexId, keys: wrappedShape }))
    .min(1)
    .max(limits.membersMax),
}) as unknown as z.ZodType<WrappedKeys>

export function encodeRecord(record: ClusterRecord): Buffer {
  return encodeJson(record)
}

/** @throws FsError ENOTSUP for one of a newer build; CorruptError for anything else that is not one */
export function decodeRecord(bytes: Buffer): ClusterRecord {
  return decodeStored(recordShape, bytes, 'cluster record')
}

export function encodeWrappedKeys(wrapped: WrappedKeys): Buffer {
  return encodeJson(wrapped)
}

/** @throws as decodeRecord */
export function decodeWrappedKeys(bytes: Buffer): WrappedKeys {
  return decodeStored(wrappedKeysShape, bytes, 'cluster keys')
}

/**
 * @param what "node name" or "cluster name", for the message
 * @throws FsError EINVAL
 */
export function checkName(what: string, name: string): string {
  const shown = JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name)
  if (name === '') refuse(name, `${what} "": empty; ${NEXT}`)
  const odd = /[^A-Za-z0-9._-]/u.exec(name)?.[0]
  if (odd !== undefined) {
    refuse(name, `${what} ${shown}: ${JSON.stringify(odd)} is not allowed; ${NEXT}`)
  }
  if (name.length > limits.clusterNameCharsMax) {
    refuse(
      name,
      `${what} ${shown}: ${name.length} characters long; use at most ${limits.clusterNameCharsMax}`,
    )
  }
  if (!NAME.test(name)) {
    refuse(name, `${what} ${shown}: begins with "${name[0]}"; begin with a letter or a digit`)
  }
  return name
}

const NEXT = 'use letters, digits, ".", "_" and "-"'

function refuse(name: string, message: string): never {
  throw new FsError('EINVAL', 'cluster.name', { name: name.slice(0, 80), message })
}
