import { z } from 'zod'
import { type ErrnoCode, limits, type NodeId, ProtocolError } from '../base/index.ts'
import { type KeyPair, nodeIdOf, signStatement, verifyStatement } from '../crypto/index.ts'
import type { MemberWords } from './authority.ts'
import { nodeFields } from './certificate.ts'
import { decodeSent, encodeJson, FORMAT, key32, signature, wallTimeMs } from './json.ts'
import type { ClusterId } from './record.ts'
import { type ClosedView, closedViewShape } from './view.ts'

/** RPC service that guests may call; one request, one answer. */
export const JOIN_SERVICE = 'cluster.join'

/** What a node that wants to join says, signed by its own key and by the invite's. */
export interface JoinRequest extends MemberWords {
  readonly cluster: ClusterId
  /** The invite's public key, hex. */
  readonly inviteKey: string
  readonly node: NodeId
  readonly signKey: string
  readonly boxKey: string
  /** The joiner's clock, milliseconds since 1970. */
  readonly sentMs: number
  /** Signing key of the member that is asked, hex: a request to one is none to another. */
  readonly to: string
}

/**
 * Why a join is refused, as it is sent; append only. The code is the joiner's errno. `unavailable` alone may be tried
 * again with another member.
 */
export const REFUSALS = {
  'wrong-cluster': 'EINVAL',
  clock: 'EINVAL',
  'invite-unknown': 'EKEYREJECTED',
  'invite-expired': 'EKEYREJECTED',
  'invite-used-up': 'EKEYREJECTED',
  'invite-revoked': 'EKEYREJECTED',
  'name-taken': 'EEXIST',
  removed: 'EKEYREJECTED',
  full: 'ENOSPC',
  unavailable: 'EAGAIN',
} as const satisfies Record<string, ErrnoCode>
export type Refusal = keyof typeof REFUSALS

export type JoinAnswer =
  | { readonly result: 'admitted'; readonly view: ClosedView }
  /** @property reason one of REFUSALS, or one that a newer build knows */
  | { readonly result: 'refused'; readonly reason: string; readonly message: string }

const requestShape = z.strictObject({
  ...nodeFields,
  inviteKey: key32,
  sentMs: wallTimeMs,
  to: key32,
}) as unknown as z.ZodType<JoinRequest>

const envelopeShape = z.strictObject({
  version: z.literal(FORMAT),
  text: z.string().max(limits.joinRequestBytesMax),
  nodeSignature: signature,
  inviteSignature: signature,
})

const answerShape = z.discriminatedUnion('result', [
  z.strictObject({
    version: z.literal(FORMAT),
    result: z.literal('admitted'),
    view: closedViewShape,
  }),
  z.strictObject({
    version: z.literal(FORMAT),
    result: z.literal('refused'),
    reason: z.string().max(64),
    message: z.string().max(1024),
  }),
])

/** @param node the joiner's signing pair, whose id the request names; `invite` the pair of the invite's seed */
export function encodeJoinRequest(request: JoinRequest, node: KeyPair, invite: KeyPair): Buffer {
  const text = JSON.stringify(request)
  const made = (kind: 'join' | 'join-invite', pair: KeyPair) =>
    signStatement(kind, request.cluster, text, pair.secretKey).toString('hex')
  return encodeJson({
    version: FORMAT,
    text,
    nodeSignature: made('join', node),
    inviteSignature: made('join-invite', invite),
  })
}

/**
 * A request whose sender holds the node's key and the invite's.
 * @throws ProtocolError for garbage, and for a signature that does not hold
 */
export function decodeJoinRequest(bytes: Buffer): JoinRequest {
  const envelope = decodeSent(envelopeShape, bytes, limits.joinRequestBytesMax, 'join request')
  const { text } = envelope
  const request = decodeSent(
    requestShape,
    Buffer.from(text),
    limits.joinRequestBytesMax,
    'join request',
  )
  const held = (kind: 'join' | 'join-invite', made: string, key: string) =>
    verifyStatement(kind, request.cluster, text, Buffer.from(made, 'hex'), Buffer.from(key, 'hex'))
  if (!held('join', envelope.nodeSignature, request.signKey)) {
    throw new ProtocolError('join request that its node key did not sign')
  }
  if (!held('join-invite', envelope.inviteSignature, request.inviteKey)) {
    throw new ProtocolError('join request that its invite key did not sign')
  }
  if (request.node !== nodeIdOf(Buffer.from(request.signKey, 'hex'))) {
    throw new ProtocolError('join request whose node id is not of its key')
  }
  return request
}

export function encodeJoinAnswer(answer: JoinAnswer): Buffer {
  return encodeJson({ version: FORMAT, ...answer })
}

/** The form alone; what the view states is for openView. @throws ProtocolError */
export function decodeJoinAnswer(bytes: Buffer): JoinAnswer {
  const { version: _, ...answer } = decodeSent(
    answerShape,
    bytes,
    limits.memberListBytesMax,
    'join answer',
  )
  return answer
}
