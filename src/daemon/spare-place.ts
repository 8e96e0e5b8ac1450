import { limits, type NodeId } from '../base/index.ts'
import type { Candidate, PlacementWish } from '../replication/index.ts'
import type { VolumeRecord } from '../volumes/index.ts'

/**
 * What one more copy of a volume asks for, and the drives that may have it; the same for a plan and for the doing.
 * @param on there and nowhere else, in whatever domain that node is; null for anywhere
 */
export function sparePlace(
  { id, name, spec, released }: VolumeRecord,
  copyBytes: number,
  on: NodeId | null,
  found: readonly Candidate[],
): { wish: Omit<PlacementWish, 'copies' | 'home'>; open: Candidate[] } {
  const wish = {
    volume: id,
    name,
    spread: on === null ? spec.spread : ('node' as const),
    class: spec.cos,
    orLower: spec.cosFallback,
    bytesMin: copyBytes + limits.driveHeadroomBytes,
  }
  // A node deletes what was given up as soon as the drive is there; one that lost the drive may have another copy.
  const deleting = new Set(
    found
      .filter(({ drive }) => released.some((copy) => copy.drive === drive))
      .map(({ node }) => node),
  )
  const open = found.filter(
    ({ node }) =>
      (on === null || node === on) &&
      (spec.nodes === null || spec.nodes.includes(node)) &&
      !deleting.has(node),
  )
  return { wish, open }
}
