import { basename, join } from 'node:path'
import { type ChunkId, CorruptError, codeOf, type DriveId, limits } from '../base/index.ts'
import { type JournalHead, scan } from '../journal/index.ts'
import type { AppliedHead } from '../meta/index.ts'
import { readManifest } from './checkpoint-manifest.ts'
import { isNamed } from './fsck-chunks.ts'
import type { IndexCheck } from './fsck-index.ts'
import type { LocalVolume } from './local-volume.ts'
import { turn, type Work } from './work.ts'

/** What mends the journal of a volume that is not open. Nothing of it is deleted: what does not stay goes to quarantine. */

const CHUNKS_PER_TURN = 200

/** How far the log can be followed from a place. */
export interface Reach {
  /** The last record before damage, or of the log. */
  head: AppliedHead
  /** The log has the place itself; false: it ends before it, or that part of it is damaged. */
  held: boolean
  damaged: boolean
}

/** @throws what scan throws for anything but damage: a drive that fails, a key that is missing, a newer format */
export function reachOf(volume: LocalVolume, from: AppliedHead): Reach {
  const { journalDirectory, id } = volume.opening
  let head = from
  try {
    for (const record of scan(volume.disk, journalDirectory, id, from, volume.sealer)) {
      head = record.head
    }
    return { head, held: true, damaged: false }
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error
    return { head, held: error.subject.sign !== 'head', damaged: true }
  }
}

/**
 * Cuts the log behind `stop`, durably. The file that is cut is copied to quarantine first, later ones are moved there. Begun
 * again after a crash it goes on.
 */
export function cutJournal(volume: LocalVolume, stop: JournalHead): void {
  const { disk, journal, opening } = volume
  const directory = opening.journalDirectory
  const path = join(directory, `${String(stop.file).padStart(10, '0')}.journal`)
  const quarantine = join(directory, 'quarantine')
  disk.mkdir(quarantine)
  let copy = join(quarantine, basename(path))
  for (let n = 1; disk.exists(copy); n++) copy = join(quarantine, `${basename(path)}.${n}`)
  const bytesMax = limits.journalFileBytesMax + limits.recordBytesMax
  disk.replaceFile(copy, disk.readFile(path, bytesMax))
  for (const { file } of journal.files().reverse()) if (file > stop.file) journal.quarantine(file)
  journal.truncateTo(stop)
}

/**
 * Chunks that only lost records named: the sweep would delete them.
 * @returns how many went to quarantine
 */
export async function quarantineUnnamed(
  volume: LocalVolume,
  index: IndexCheck,
  work: Work,
): Promise<number> {
  const manifest = readManifest(volume)
  const kept = new Set<ChunkId>()
  for (const dump of [manifest?.newest, manifest?.previous]) {
    for (const { id } of dump?.chunks ?? []) kept.add(id)
  }
  // Extents use it, and its entry is what is missing.
  for (const problem of index.problems)
    if (problem.kind === 'unknown-chunk') kept.add(problem.chunk)
  let moved = 0
  let count = 0
  for (const { id: drive, state } of volume.drives) {
    if (state === 'gone') continue
    for (const id of volume.chunks.list(drive)) {
      if (++count % CHUNKS_PER_TURN === 0) await turn(work)
      if (kept.has(id) || isNamed(volume, id) || !isOf(volume, id, drive)) continue
      volume.chunks.quarantine(id, drive)
      moved++
    }
  }
  return moved
}

/** A chunk whose header is damaged says nothing of whose it is, and stays. */
function isOf(volume: LocalVolume, id: ChunkId, drive: DriveId): boolean {
  try {
    return volume.chunks.statSync(id, drive).volume === volume.id
  } catch (error) {
    if (error instanceof CorruptError || codeOf(error) === 'ENOENT') return false
    throw error
  }
}
