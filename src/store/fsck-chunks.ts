import {
  type ChunkId,
  CorruptError,
  codeOf,
  type DriveId,
  type Ino,
  messageOf,
} from '../base/index.ts'
import type { DamagedPart, ScrubReport } from '../chunks/index.ts'
import { keys } from '../meta/index.ts'
import { extentsOf, type LiveRange, type RangesByChunk } from './live-ranges.ts'
import type { LocalVolume } from './local-volume.ts'
import { turn, type Work } from './work.ts'

/** A chunk that is not as it was stored. */
export interface BadChunk {
  id: ChunkId
  drive: DriveId
  /** Words of what is wrong with it. */
  what: string
  missing: boolean
  /** Its file is in quarantine already. */
  quarantined: boolean
  /** Plain bytes of a page, and the pages that are lost; all of them when null. */
  pageBytes: number
  badPages: readonly number[] | null
  /** It could not be looked at; what it holds may be whole. */
  unreadable: boolean
}

export interface ChunksCheck {
  chunks: number
  bytes: number
  bad: BadChunk[]
}

/**
 * Reads every chunk of the list whole and opens every seal.
 * @param stillNamed asked before a chunk is called bad: one that nobody names any more may be gone
 */
export async function checkChunks(
  volume: LocalVolume,
  list: Iterable<[ChunkId, { drive: DriveId; storedBytes: number }]>,
  stillNamed: (id: ChunkId) => boolean,
  work: Work,
  progress: (bytes: number) => void,
): Promise<ChunksCheck> {
  const found: ChunksCheck = { chunks: 0, bytes: 0, bad: [] }
  const aside = quarantinedIds(volume)
  for (const [id, { drive, storedBytes }] of list) {
    await turn(work)
    const bad = await checkOne(volume, id, drive, aside)
    found.chunks++
    found.bytes += storedBytes
    progress(found.bytes)
    if (bad && stillNamed(id)) found.bad.push(bad)
  }
  return found
}

async function checkOne(
  volume: LocalVolume,
  id: ChunkId,
  drive: DriveId,
  aside: ReadonlySet<string>,
): Promise<BadChunk | null> {
  let report: ScrubReport
  try {
    report = await volume.chunks.scrub(id, drive, volume.reader)
  } catch (error) {
    if (!codeOf(error)) throw error
    return { ...blank(id, drive), what: messageOf(error), unreadable: true }
  }
  if (report.ok) return null
  if (report.missing) {
    const quarantined = aside.has(id)
    const what = quarantined ? 'it is in quarantine' : 'its file is missing'
    return { ...blank(id, drive), what, missing: true, quarantined }
  }
  const { header, badPages, damage } = report
  const readable = header !== null && !damage.includes('volume')
  return {
    ...blank(id, drive),
    what: wordsOf(report),
    pageBytes: header?.pageBytes ?? 0,
    badPages: readable ? badPages : null,
  }
}

function blank(id: ChunkId, drive: DriveId): BadChunk {
  return {
    id,
    drive,
    what: '',
    missing: false,
    quarantined: false,
    pageBytes: 0,
    badPages: null,
    unreadable: false,
  }
}

function wordsOf({ damage, badPages }: ScrubReport): string {
  return damage.map((part) => partWords(part, badPages.length)).join(', ')
}

function partWords(part: DamagedPart, badPages: number): string {
  switch (part) {
    case 'pages':
      return badPages === 1 ? 'a page fails its seal' : `${badPages} pages fail their seals`
    case 'header':
      return 'its header is damaged'
    case 'volume':
      return 'its header names another volume'
    case 'length':
      return 'its file has a wrong length'
    case 'checksum':
      return 'its checksum differs'
    case 'back-pointer':
      return 'its back-pointers fail their seal'
    case 'file':
      return 'its file is missing'
  }
}

/** Chunk ids in the quarantine of any drive. A number behind an id is a second one of that name. */
export function quarantinedIds(volume: LocalVolume): Set<string> {
  const ids = new Set<string>()
  for (const { id } of volume.drives) {
    for (const name of volume.chunks.quarantined(id)) ids.add(name.slice(0, 32))
  }
  return ids
}

export function isNamed(volume: LocalVolume, id: ChunkId): boolean {
  try {
    return volume.view.get(keys.chunkKey(id)) !== null
  } catch (error) {
    // An entry that does not open is there all the same.
    if (error instanceof CorruptError || codeOf(error) === 'ENOKEY') return true
    throw error
  }
}

/** Parts of an extent that can still be read, and parts that cannot, as ranges within it. */
export function splitByPages(
  range: LiveRange,
  { badPages, pageBytes }: Pick<BadChunk, 'badPages' | 'pageBytes'>,
): { good: LiveRange[]; lost: LiveRange[] } {
  if (badPages === null) return { good: [], lost: [range] }
  const good: LiveRange[] = []
  const lost: LiveRange[] = []
  const bad = new Set(badPages)
  const { at } = range.was
  let from = range.from
  while (from < range.to) {
    const page = Math.floor((at + from) / pageBytes)
    const isBad = bad.has(page)
    let to = Math.min(range.to, (page + 1) * pageBytes - at)
    for (let next = page + 1; to < range.to && bad.has(next) === isBad; next++) {
      to = Math.min(range.to, (next + 1) * pageBytes - at)
    }
    const part = { ...range, from, to }
    if (isBad) lost.push(part)
    else good.push(part)
    from = to
  }
  return { good, lost }
}

/** What of one file is lost with one chunk. */
export interface LostRange {
  chunk: BadChunk
  ino: Ino
  /** File offsets. */
  ranges: { from: number; to: number }[]
}

/** Which bytes of which files cannot be read because of these chunks. */
export async function lostRanges(
  volume: LocalVolume,
  bad: readonly BadChunk[],
  work: Work,
): Promise<{ lost: LostRange[]; extents: RangesByChunk }> {
  const extents = await extentsOf(volume, new Set(bad.map(({ id }) => id)), work)
  const lost: LostRange[] = []
  for (const chunk of bad) {
    const byIno = new Map<Ino, LostRange>()
    for (const range of extents.get(chunk.id) ?? []) {
      for (const { ino, offset, from, to } of splitByPages(range, chunk).lost) {
        const entry = byIno.get(ino) ?? { chunk, ino, ranges: [] }
        byIno.set(ino, entry)
        const last = entry.ranges.at(-1)
        if (last && last.to === offset + from) last.to = offset + to
        else entry.ranges.push({ from: offset + from, to: offset + to })
      }
    }
    lost.push(...byIno.values())
  }
  return { lost, extents }
}

export interface UnnamedChunk {
  volume: LocalVolume
  id: ChunkId
  drive: DriveId
  storedBytes: number
}

/** A volume, and the chunks of its checkpoints. */
export interface Namer {
  volume: LocalVolume
  kept: ReadonlySet<ChunkId>
}

/**
 * Chunks of these volumes that neither an extent nor a checkpoint names, of past epochs: what a crash left between two
 * steps. Those of this epoch may be on their way into a record. One pass over the drives for all volumes.
 */
export async function unnamedChunks(namers: readonly Namer[], work: Work): Promise<UnnamedChunk[]> {
  const found: UnnamedChunk[] = []
  const [first] = namers
  let count = 0
  for (const { id: drive, state } of first?.volume.drives ?? []) {
    if (state === 'gone') continue
    for (const id of first?.volume.chunks.list(drive) ?? []) {
      if (++count % 200 === 0) await turn(work)
      if (namers.some(({ volume, kept }) => kept.has(id) || isNamed(volume, id))) continue
      const header = first && headerOf(first.volume, id, drive)
      const volume = namers.find((one) => one.volume.id === header?.volume)?.volume
      if (!header || !volume || header.epoch >= volume.shared.epoch) continue
      found.push({ volume, id, drive, storedBytes: header.storedBytes })
    }
  }
  return found
}

function headerOf(volume: LocalVolume, id: ChunkId, drive: DriveId) {
  try {
    return volume.chunks.statSync(id, drive)
  } catch (error) {
    if (error instanceof CorruptError || codeOf(error)) return null
    throw error
  }
}
