import type { PeerKey } from '../base/index.ts'
import { nodeIdOf, sign, verify } from '../crypto/index.ts'
import type { LabelKeys } from '../drives/index.ts'
import type { NodeIdentity } from '../volumes/index.ts'

/** This node's key for the labels of its disks, and the check of those of others: a node's id follows from its key. */
export function labelKeys({ keys }: NodeIdentity): LabelKeys {
  return {
    nodeKey: keys.sign.publicKey.toString('hex') as PeerKey,
    sign: (bytes) => sign(Buffer.from(bytes), keys.sign.secretKey),
    verify: (node, nodeKey, bytes, signature) => {
      const publicKey = Buffer.from(nodeKey, 'hex')
      const isItsKey = nodeIdOf(publicKey) === node
      return isItsKey && verify(Buffer.from(bytes), Buffer.from(signature), publicKey)
    },
  }
}
