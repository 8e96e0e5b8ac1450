import type { NodeId, Random } from '../base/index.ts'

/**
 * The name under which a drive is held: `weft-<12 hex of the cluster>-<12 hex of the node>-<12 random hex>`. An appliance
 * shows it to every node and to persons, and by it everybody knows whose a drive is. Never used twice: what an appliance does
 * late under an old tag can not be taken for a new allocation.
 */
const TAG = /^weft-([0-9a-f]{12})-([0-9a-f]{12})-([0-9a-f]{12})$/
const DIGITS = 12

/** Who holds drives here. */
export interface TagOwner {
  /** 32 hex digits. */
  readonly cluster: string
  readonly node: NodeId
}

export interface TagParts {
  /** The first 12 digits of the cluster's id. */
  readonly cluster: string
  /** The first 12 digits of the node's id. */
  readonly node: string
  readonly unique: string
}

export function makeTag({ cluster, node }: TagOwner, random: Random): string {
  const unique = random.bytes(DIGITS / 2).toString('hex')
  return `weft-${cluster.slice(0, DIGITS)}-${node.slice(0, DIGITS)}-${unique}`
}

/** Null for what is no tag: the thing is of somebody else. */
export function parseTag(text: string): TagParts | null {
  const [, cluster, node, unique] = TAG.exec(text) ?? []
  if (cluster === undefined || node === undefined || unique === undefined) return null
  return { cluster, node, unique }
}

/** A tag of this cluster, of a node that is none of its members any more; false while they are not known. */
export function isAbandoned(
  { cluster, node }: TagOwner,
  members: readonly NodeId[] | null,
  tag: string,
): boolean {
  const parts = parseTag(tag)
  if (!parts || members === null || parts.cluster !== cluster.slice(0, DIGITS)) return false
  return ![node, ...members].some((one) => one.startsWith(parts.node))
}

export function isTagOf({ cluster, node }: TagOwner, tag: string): boolean {
  const parts = parseTag(tag)
  return parts?.cluster === cluster.slice(0, DIGITS) && parts.node === node.slice(0, DIGITS)
}
