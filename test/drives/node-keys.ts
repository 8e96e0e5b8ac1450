import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import type { NodeId, PeerKey } from '../../src/base/index.ts'
import type { LabelKeys } from '../../src/drives/index.ts'

/** DER around the 32 bytes of an Ed25519 key. Source: RFC 8410 §10.3 and §4 */
const PRIVATE_DER = Buffer.from('302e020100300506032b657004220420', 'hex')
const PUBLIC_DER = Buffer.from('302a300506032b6570032100', 'hex')

/** A node's keys from a seed, the same each time: Ed25519 signs without chance. */
export function nodeKeys(seedByte: number): { nodeId: NodeId; keys: LabelKeys } {
  const der = Buffer.concat([PRIVATE_DER, Buffer.alloc(32, seedByte)])
  const secret = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const spki = createPublicKey(secret).export({ format: 'der', type: 'spki' })
  const nodeKey = spki.subarray(PUBLIC_DER.length).toString('hex') as PeerKey
  return {
    nodeId: nodeIdOf(nodeKey),
    keys: {
      nodeKey,
      sign: (bytes) => sign(null, bytes, secret),
      verify: (node, key, bytes, signature) =>
        node === nodeIdOf(key) &&
        verify(
          null,
          bytes,
          {
            key: Buffer.concat([PUBLIC_DER, Buffer.from(key, 'hex')]),
            format: 'der',
            type: 'spki',
          },
          signature,
        ),
    },
  }
}

function nodeIdOf(key: PeerKey): NodeId {
  const hash = createHash('sha256').update('weft node id\0').update(Buffer.from(key, 'hex'))
  return hash.digest('hex').slice(0, 32) as NodeId
}
