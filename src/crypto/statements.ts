import { statementDomain } from './domains.ts'
import { sign, verify } from './identity.ts'

/**
 * What is signed in a cluster. member and removal: by the cluster's key; join: by the key of the node that joins;
 * join-invite: the same request, by the key of the invite it shows; succession and kept: by the key of the member that says
 * so.
 */
export type StatementKind = 'member' | 'removal' | 'join' | 'join-invite' | 'succession' | 'kept'

/** Ed25519 over kind, cluster and text, so that no statement stands for another, or in another cluster. */
export function signStatement(
  kind: StatementKind,
  clusterId: string,
  text: string,
  secretKey: Buffer,
): Buffer {
  return sign(signedBytes(kind, clusterId, text), secretKey)
}

/** False for whatever does not hold, as `verify`. */
export function verifyStatement(
  kind: StatementKind,
  clusterId: string,
  text: string,
  signature: Buffer,
  publicKey: Buffer,
): boolean {
  return verify(signedBytes(kind, clusterId, text), signature, publicKey)
}

function signedBytes(kind: StatementKind, clusterId: string, text: string): Buffer {
  return Buffer.concat([statementDomain(kind, clusterId), Buffer.from(text)])
}
