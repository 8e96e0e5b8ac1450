import { createHash } from 'node:crypto'
import {
  type DriveId,
  type FailureDomain,
  FsError,
  type NodeId,
  SPREAD_LEVELS,
  type SpreadLevel,
  type VolumeId,
} from '../base/index.ts'

/** A drive that could hold a copy. */
export interface Candidate {
  readonly node: NodeId
  /** As people call it. */
  readonly nodeName: string
  readonly drive: DriveId
  /** Class of service: 1 low, 2 medium, 3 high. */
  readonly class: 1 | 2 | 3
  /** That a writer may still take. */
  readonly freeBytes: number
  readonly domain: FailureDomain
}

export interface PlacementWish {
  readonly volume: VolumeId
  readonly name: string
  readonly copies: number
  /** No two copies in one domain of this level. */
  readonly spread: SpreadLevel
  /** Drives of this class alone; null for any, the best first. */
  readonly class: 1 | 2 | 3 | null
  /** Or of a lower one. */
  readonly orLower?: boolean | undefined
  /** Room that a drive must have now. */
  readonly bytesMin: number
  /** Where the volume is made or mounted: the first copy goes there, if it can. */
  readonly home: NodeId | null
}

export interface DrivePlace {
  readonly node: NodeId
  readonly drive: DriveId
}

/**
 * Where the copies of a volume go: as many failure domains apart as there are, at least as far as `spread` asks; the better
 * class before the lower; and among equals by a score that is the same on every node and favours free space, so that
 * volumes spread over drives as their room does (weighted rendezvous hashing).
 * @throws FsError ENOSPC when there are not enough places, with what there is and what would help
 */
export function choosePlaces(wish: PlacementWish, candidates: readonly Candidate[]): DrivePlace[] {
  const fit = candidates.filter((one) => isFit(wish, one))
  const chosen: Candidate[] = []
  while (chosen.length < wish.copies) {
    const best = bestBeside(chosen, fit, wish)
    if (!best) throw tooFew(wish, candidates, fit, chosen)
    chosen.push(best)
  }
  return chosen.map(({ node, drive }) => ({ node, drive }))
}

/** A copy that is there, and where. */
export interface Standing {
  readonly node: NodeId
  readonly domain: FailureDomain
}

/**
 * Where one more copy goes, beside those that stay: as choosePlaces, but where no domain of the asked level is left it takes
 * the next narrower one, for a copy too near to another is better than none.
 * @returns the place, and the level at which it is apart from the others
 * @throws FsError ENOSPC when no node is left that could take it, with what would help
 */
export function chooseSpare(
  wish: Omit<PlacementWish, 'copies' | 'home'>,
  standing: readonly Standing[],
  candidates: readonly Candidate[],
): DrivePlace & { readonly spread: SpreadLevel } {
  const full = { ...wish, copies: 1, home: null }
  const others = candidates.filter(({ node }) => standing.every((one) => one.node !== node))
  const fit = others.filter((one) => isFit(full, one))
  for (const spread of SPREAD_LEVELS.slice(SPREAD_LEVELS.indexOf(wish.spread))) {
    const best = bestBeside(standing, fit, { ...full, spread })
    if (best) return { node: best.node, drive: best.drive, spread }
  }
  const passed = [...new Set(others.map((one) => one.nodeName))].join(', ')
  throw new FsError('ENOSPC', 'volume.place', {
    volume: wish.name,
    message: `volume ${wish.name}: no node is left for another copy of it, which needs ${wish.bytesMin} bytes free${wish.class === null ? '' : ` on a drive of class ${wish.class}`}${passed === '' ? '' : `; passed over, by class or room: ${passed}`}`,
    next: 'add a node (weft cluster invite), or room on one (weft drive add); or ask for fewer copies: weft volume repl',
  })
}

/** Of copies of one volume those that are too near to another one of them, at the level that is asked for. */
export function tooNear<T extends Standing>(copies: readonly T[], spread: SpreadLevel): T[] {
  return copies.filter((one) =>
    copies.some((other) => other !== one && together(one, other, spread)),
  )
}

function isFit(wish: PlacementWish, one: Candidate): boolean {
  if (one.freeBytes < wish.bytesMin) return false
  if (wish.class === null || one.class === wish.class) return true
  return wish.orLower === true && one.class < wish.class
}

function bestBeside(
  chosen: readonly Standing[],
  fit: readonly Candidate[],
  { volume, spread, home }: PlacementWish,
): Candidate | undefined {
  const open = fit.filter((one) =>
    chosen.every((other) => !together(one, other, spread) && one.node !== other.node),
  )
  const atHome = (one: Candidate) => Number(one.node === home && chosen.length === 0)
  return open.sort(
    (a, b) =>
      atHome(b) - atHome(a) ||
      b.class - a.class ||
      apartness(b, chosen) - apartness(a, chosen) ||
      scoreOf(volume, b) - scoreOf(volume, a),
  )[0]
}

/** What stands at a level, under all above it: rack 1 of two zones is two racks. A node that says nothing is one of its own. */
function domainAt(one: Standing, level: SpreadLevel): string {
  if (level === 'node') return one.node
  const said = one.domain[level]
  if (said === null) return `node ${one.node}`
  const levels = SPREAD_LEVELS.slice(0, SPREAD_LEVELS.indexOf(level)) as (keyof FailureDomain)[]
  return [...levels.map((above) => one.domain[above] ?? ''), said].join('/')
}

function together(a: Standing, b: Standing, level: SpreadLevel): boolean {
  return domainAt(a, level) === domainAt(b, level)
}

/** How far from the nearest of the others: the widest level at which it is apart from all, 5 for regions, 1 for nodes. */
function apartness(one: Standing, others: readonly Standing[]): number {
  for (const [index, level] of SPREAD_LEVELS.entries()) {
    const said = level === 'node' || one.domain[level] !== null
    if (said && others.every((other) => !together(one, other, level)))
      return SPREAD_LEVELS.length - index
  }
  return 0
}

/** Of all drives the one with the highest score is drawn as often as its share of the free space says. */
function scoreOf(volume: VolumeId, { drive, freeBytes }: Candidate): number {
  const hash = createHash('sha256').update(`weft place\0${volume}${drive}`).digest()
  const uniform = (hash.readUIntBE(0, 6) + 1) / (2 ** 48 + 1)
  return freeBytes / -Math.log(uniform)
}

function tooFew(
  { name, copies, spread, class: wanted, bytesMin }: PlacementWish,
  all: readonly Candidate[],
  fit: readonly Candidate[],
  chosen: readonly Candidate[],
): FsError {
  const domains = [...new Set(fit.map((one) => domainAt(one, spread)))]
  const names = (list: readonly Candidate[]) =>
    [...new Set(list.map((one) => one.nodeName))].join(', ')
  const drives = wanted === null ? 'drives' : `drives of class ${wanted}`
  const where =
    fit.length === 0
      ? 'no node has one'
      : `${domains.length === 1 ? 'there is 1' : `there are ${domains.length}`}: on ${names(fit)}`
  const passed = all.filter((one) => !fit.includes(one))
  const left = passed.length > 0 ? `; passed over, by class or room: ${names(passed)}` : ''
  return new FsError('ENOSPC', 'volume.place', {
    volume: name,
    found: chosen.length,
    message: `volume ${name}: ${copies} copies, each in a ${spread} of its own, need ${copies} ${drives} with ${bytesMin} bytes free; ${where}${left}`,
    next: `add a node in another ${spread}, or ask for fewer copies${spread === 'node' ? '' : ' or spread=node'}`,
  })
}
