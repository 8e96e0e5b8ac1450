import type { NodeId } from '../base/index.ts'
import type { VolumeRecord } from '../volumes/index.ts'

/**
 * Nodes that could own a volume now: they are up, have a copy of it and a slot of its key, and as many copies as its minimum
 * are on nodes that are up. As far as is known here; nobody is asked.
 * @param boxKeyOf base64; null for a node that is no member
 */
export function couldOwnNow(
  { copies, minimum, keys }: VolumeRecord,
  isUp: (node: NodeId) => boolean,
  boxKeyOf: (node: NodeId) => string | null,
): NodeId[] {
  const up = copies.map(({ node }) => node).filter(isUp)
  if (up.length < minimum) return []
  return up.filter((node) => {
    const key = boxKeyOf(node)
    return keys.slots.some(({ kind, publicKey }) => kind === 'node' && publicKey === key)
  })
}
