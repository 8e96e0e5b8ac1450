import { createHash } from 'node:crypto'
import type { NodeId } from '../base/index.ts'
import { inviteIdDomain, nodeIdDomain } from './domains.ts'

/** First half of the SHA-256 of the signing key: whoever knows the key can check the id. */
export function nodeIdOf(signPublicKey: Buffer): NodeId {
  return idOf(nodeIdDomain, signPublicKey) as NodeId
}

/** The same of an invite's key: 32 hex digits. */
export function inviteIdOf(invitePublicKey: Buffer): string {
  return idOf(inviteIdDomain, invitePublicKey)
}

function idOf(domain: string, publicKey: Buffer): string {
  return createHash('sha256').update(domain).update(publicKey).digest('hex').slice(0, 32)
}
