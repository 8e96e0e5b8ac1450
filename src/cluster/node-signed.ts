import { z } from 'zod'
import { CorruptError, type NodeId } from '../base/index.ts'
import { type StatementKind, signStatement, verifyStatement } from '../crypto/index.ts'
import { FORMAT, hexId, signature } from './json.ts'
import type { ClusterId } from './record.ts'

/** What one member states with its own key: it is believed for being a member's, whoever passes it on. */
export interface NodeSigned {
  readonly version: 1
  readonly node: NodeId
  /** JSON; what is verified are the bytes as they came. */
  readonly text: string
  /** Ed25519, hex. */
  readonly signature: string
}

export const nodeSignedShape = z.strictObject({
  version: z.literal(FORMAT),
  node: hexId,
  text: z.string(),
  signature,
}) as unknown as z.ZodType<NodeSigned>

/** @param secretKey the node's own signing key */
export function signAsNode(
  kind: StatementKind,
  cluster: ClusterId,
  { node, secretKey }: { readonly node: NodeId; readonly secretKey: Buffer },
  body: object,
): NodeSigned {
  const text = JSON.stringify(body)
  const made = signStatement(kind, cluster, text, secretKey)
  return { version: FORMAT, node, text, signature: made.toString('hex') }
}

/**
 * @param signKey of the node that the statement names, hex
 * @throws CorruptError when that key did not sign it
 */
export function mustBeSigned(
  kind: StatementKind,
  cluster: ClusterId,
  { node, text, signature }: NodeSigned,
  signKey: string,
): void {
  const key = Buffer.from(signKey, 'hex')
  if (verifyStatement(kind, cluster, text, Buffer.from(signature, 'hex'), key)) return
  throw new CorruptError(`${kind} that its node did not sign`, { node })
}
