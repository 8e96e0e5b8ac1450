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
  const fit = candidates.filter(
    (one) => one.freeBytes >= wish.bytesMin && (wish.class === null || one.class === wish.class),
  )
  const score = new Map(fit.map((one) => [one, scoreOf(wish.volume, one)]))
  const chosen: Candidate[] = []
  while (chosen.length < wish.copies) {
    const open = fit.filter((one) =>
      chosen.every((other) => !together(one, other, wish.spread) && one.node !== other.node),
    )
    const [best] = open.sort(
      (a, b) =>
        Number(b.node === wish.home && chosen.length === 0) -
          Number(a.node === wish.home && chosen.length === 0) ||
        b.class - a.class ||
        apartness(b, chosen) - apartness(a, chosen) ||
        (score.get(b) ?? 0) - (score.get(a) ?? 0),
    )
    if (!best) throw tooFew(wish, candidates, fit, chosen)
    chosen.push(best)
  }
  return chosen.map(({ node, drive }) => ({ node, drive }))
}

/** What stands at a level, under all above it: rack 1 of two zones is two racks. A node that says nothing is one of its own. */
function domainAt(one: Candidate, level: SpreadLevel): string {
  if (level === 'node') return one.node
  const said = one.domain[level]
  if (said === null) return `node ${one.node}`
  const levels = SPREAD_LEVELS.slice(
    0,
    SPREAD_LEVELS.indexOf(level),
  ) as (keyof Candidate['domain'])[]
  return [...levels.map((above) => one.domain[above] ?? ''), said].join('/')
}

function together(a: Candidate, b: Candidate, level: SpreadLevel): boolean {
  return domainAt(a, level) === domainAt(b, level)
}

/** How far from the nearest of the others: the widest level at which it is apart from all, 5 for regions, 1 for nodes. */
function apartness(one: Candidate, others: readonly Candidate[]): number {
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
