import { z } from 'zod'
import { assert, CorruptError, type FailureDomain, limits, type NodeId } from '../base/index.ts'
import { nodeIdOf, type StatementKind, signStatement, verifyStatement } from '../crypto/index.ts'
import { type Address, addressShape } from './address.ts'
import { domainShape } from './domain.ts'
import {
  count,
  decodeStored,
  encodeJson,
  FORMAT,
  hexId,
  isoDate,
  key32,
  signature,
} from './json.ts'
import { type ClusterId, type ClusterRecord, nameShape, type SigningKey } from './record.ts'

/** Who a member is, as the cluster's key has signed it. */
export interface Member {
  readonly cluster: ClusterId
  readonly node: NodeId
  /** Ed25519, hex: the key of its Noise sessions; the node id follows from it. */
  readonly signKey: string
  /** X25519, hex: what is meant for it alone is sealed to this. */
  readonly boxKey: string
  readonly name: string
  readonly domain: FailureDomain
  readonly addresses: readonly Address[]
  /** ISO time. */
  readonly joinedAt: string
  /** Grows with each change of the member's certificate; the highest counts. */
  readonly serial: number
}

/** What stays of a removed member: its key is refused for ever. */
export interface Removal {
  readonly cluster: ClusterId
  readonly node: NodeId
  readonly signKey: string
  readonly name: string
  readonly reason: string
  readonly removedAt: string
  /** The member that did it. */
  readonly removedBy: NodeId
}

/** A signed text: what is verified are the bytes as they came, so no rule for writing JSON is needed. */
export interface Signed {
  readonly version: 1
  readonly keyEpoch: number
  /** JSON of a Member or a Removal. */
  readonly text: string
  /** Ed25519, hex. */
  readonly signature: string
}

/** A statement whose signature held, and the form to pass on. */
export interface Certificate {
  readonly member: Member
  readonly signed: Signed
}
export interface SignedRemoval {
  readonly removal: Removal
  readonly signed: Signed
}

const textCharsMax = 8192
export const signedShape = z.strictObject({
  version: z.literal(FORMAT),
  keyEpoch: count,
  text: z.string().max(textCharsMax),
  signature,
}) as unknown as z.ZodType<Signed>

export const addressesShape = z.array(addressShape).max(limits.memberAddressesMax)
/** Printable, on one line: it is shown in listings and logs. */
export const reasonShape = z
  .string()
  .max(limits.reasonCharsMax)
  .regex(/^[^\p{C}]*$/u)

/** Who a node is and what it says of itself, in its certificate as in its request to join. */
export const nodeFields = {
  cluster: hexId,
  node: hexId,
  signKey: key32,
  boxKey: key32,
  name: nameShape,
  domain: domainShape,
  addresses: addressesShape,
}

const memberShape = z.strictObject({
  ...nodeFields,
  joinedAt: isoDate,
  serial: count,
}) as unknown as z.ZodType<Member>

const removalShape = z.strictObject({
  cluster: hexId,
  node: hexId,
  signKey: key32,
  name: nameShape,
  reason: reasonShape,
  removedAt: isoDate,
  removedBy: hexId,
}) as unknown as z.ZodType<Removal>

/** What signs: the cluster's secret key and its number. */
export interface Signer {
  readonly keyEpoch: number
  readonly secretKey: Buffer
}

export function signMember(member: Member, signer: Signer): Certificate {
  return { member, signed: signed('member', memberShape, member, signer) }
}

export function signRemoval(removal: Removal, signer: Signer): SignedRemoval {
  return { removal, signed: signed('removal', removalShape, removal, signer) }
}

export function encodeSigned(value: Signed): Buffer {
  return encodeJson(value)
}

/** The form alone; the signature is for openMember and openRemoval. @throws CorruptError; FsError ENOTSUP for a newer one */
export function decodeSigned(bytes: Buffer): Signed {
  return decodeStored(signedShape, bytes, 'signed statement')
}

/**
 * The member a certificate is of.
 * @param keys that may have signed it: `keysOf(record)`, or the current one alone
 * @throws CorruptError when no such key signed it, or it contradicts itself
 */
export function openMember(
  value: Signed,
  cluster: ClusterId,
  keys: readonly SigningKey[],
): Certificate {
  const member = opened('member', memberShape, value, cluster, keys)
  return { member, signed: value }
}

/** @param keys as of openMember; 'trusted' for what this node wrote down itself. @throws as openMember */
export function openRemoval(
  value: Signed,
  cluster: ClusterId,
  keys: readonly SigningKey[] | 'trusted',
): SignedRemoval {
  const removal = opened('removal', removalShape, value, cluster, keys)
  return { removal, signed: value }
}

/** Keys whose signature counts for what comes from the coordinator. */
export function keysOf({ signingKey, formerKey }: ClusterRecord): readonly SigningKey[] {
  return formerKey === null ? [signingKey] : [signingKey, formerKey]
}

function signed<T extends Member | Removal>(
  kind: StatementKind,
  shape: z.ZodType<T>,
  body: T,
  signer: Signer,
): Signed {
  assert(shape.safeParse(body).success, `a ${kind} is signed only if it can be read`)
  const text = JSON.stringify(body)
  const made = signStatement(kind, body.cluster, text, signer.secretKey)
  return { version: FORMAT, keyEpoch: signer.keyEpoch, text, signature: made.toString('hex') }
}

function opened<T extends Member | Removal>(
  kind: StatementKind,
  shape: z.ZodType<T>,
  value: Signed,
  cluster: ClusterId,
  keys: readonly SigningKey[] | 'trusted',
): T {
  if (keys !== 'trusted' && !holds(kind, value, cluster, keys)) {
    throw new CorruptError(`${kind} that the cluster's key did not sign`, { cluster })
  }
  const body = decodeStored(shape, Buffer.from(value.text), kind)
  const fits = body.cluster === cluster && body.node === nodeIdOf(Buffer.from(body.signKey, 'hex'))
  if (!fits) throw new CorruptError(`${kind} that contradicts itself`, { node: body.node })
  return body
}

function holds(
  kind: StatementKind,
  { keyEpoch, text, signature }: Signed,
  cluster: ClusterId,
  keys: readonly SigningKey[],
): boolean {
  const key = keys.find((one) => one.keyEpoch === keyEpoch)
  if (key === undefined) return false
  const publicKey = Buffer.from(key.publicKey, 'hex')
  return verifyStatement(kind, cluster, text, Buffer.from(signature, 'hex'), publicKey)
}
