import type { CopyId, DriveId, Epoch, NodeId, Position, VolumeId } from '../base/index.ts'
import {
  type Copy,
  decodeRecord,
  encodeRecord,
  NUMBER_NEXT,
  nameKey,
  REPLACED_KEYS,
  TOMBSTONES,
  tombstoneKey,
  VOLUMES,
  type VolumeRecord,
  volumeKey,
} from '../volumes/index.ts'
import type { KeptEntry } from './cluster-kept.ts'

/** What lies on a drive of a member: a copy, or (`copy` null) the journal of a volume of one node, which has no promise. */
export interface CopyFound {
  readonly volume: VolumeId
  readonly copy: CopyId | null
  readonly drive: DriveId
  /** The highest epoch that it promised. */
  readonly promised: Epoch
  /** The end of its log. */
  readonly end: Position
  /** Why it counts for nothing; null when it does. */
  readonly damaged: string | null
}

/** What one member says. */
export interface Heard {
  readonly node: NodeId
  readonly entries: readonly KeptEntry[]
  readonly copies: readonly CopyFound[]
}

/** A volume that is not rebuilt, with what is missing. */
export interface Refused {
  readonly id: VolumeId
  readonly name: string
  readonly copies: number
  readonly answering: number
  readonly needed: number
  /** Nodes of the copies that do not answer, or whose copy is damaged. */
  readonly lacking: readonly NodeId[]
  readonly why: string
}

export interface Rebuild {
  readonly volumes: readonly {
    readonly record: VolumeRecord
    readonly answering: readonly NodeId[]
  }[]
  readonly refused: readonly Refused[]
  /** All that the coordinator is to hold of volumes. Names of the refused are in it: nobody may take them. */
  readonly entries: ReadonlyMap<string, Buffer>
  /** The highest version that anybody has kept. */
  readonly versionMax: number
}

/** Lives of an owner, and numbers of volumes, that nobody who answers has heard of may have been so many. */
const UNSEEN = 1024

/**
 * What a coordinator that is lost held of volumes, from what members keep (design §3). Pure.
 *
 * The newest record of a volume counts, and a tombstone always. Of a volume with n copies any set that acknowledged
 * something had at least the minimum; so when more than n - minimum copies answer, one of them was in it and has every
 * acknowledged record, and so has the longest log. Fewer prove nothing, and the volume is refused. The epoch is above every
 * promise found. Who answers obeys the new generation and refuses owners of the old one, so the ends of logs are final.
 */
export function rebuildVolumes(heard: readonly Heard[], generation: number): Rebuild {
  const newest = newestEntries(heard)
  const entries = new Map<string, Buffer>()
  const volumes: Rebuild['volumes'][number][] = []
  const refused: Refused[] = []
  let numberMax = Number(newest.get(NUMBER_NEXT)?.value ?? 1)
  const records = [...newest.values()]
    .filter(({ key }) => key.startsWith(VOLUMES))
    .map(({ value }) => decodeRecord(Buffer.from(value)))
    .filter(({ id }) => !newest.has(tombstoneKey(id)))
    // The younger one of two of one name: the other was deleted, and nobody who answers has seen the end of it.
    .sort((a, b) => b.number - a.number)
  for (const record of records) {
    numberMax = Math.max(numberMax, record.number)
    const judged = judge(record, heard, generation)
    const nameIsTaken = record.state !== 'deleting' && entries.has(nameKey(record.name))
    if (nameIsTaken) refused.push({ ...judged.counted, why: 'a younger volume has its name' })
    else if (judged.record === null) refused.push({ ...judged.counted, why: wordsOf(judged) })
    else volumes.push({ record: judged.record, answering: judged.answering })
    if (nameIsTaken) continue
    if (judged.record) entries.set(volumeKey(record.id), encodeRecord(judged.record))
    if (record.state !== 'deleting') entries.set(nameKey(record.name), Buffer.from(record.id))
  }
  for (const { key, value } of newest.values()) {
    if (isBeside(key, newest, entries)) entries.set(key, Buffer.from(value))
  }
  entries.set(NUMBER_NEXT, Buffer.from(String(numberMax + UNSEEN)))
  const versionMax = Math.max(0, ...[...newest.values()].map(({ version }) => version))
  return { volumes: volumes.reverse(), refused: refused.reverse(), entries, versionMax }
}

function newestEntries(heard: readonly Heard[]): ReadonlyMap<string, KeptEntry> {
  const newest = new Map<string, KeptEntry>()
  for (const entry of heard.flatMap(({ entries }) => entries)) {
    const known = newest.get(entry.key)
    const isNewer =
      known === undefined ||
      entry.generation > known.generation ||
      (entry.generation === known.generation && entry.version > known.version)
    if (isNewer) newest.set(entry.key, entry)
  }
  return newest
}

/** Tombstones, and the replaced keys of a volume that has none. */
function isBeside(
  key: string,
  newest: ReadonlyMap<string, KeptEntry>,
  entries: ReadonlyMap<string, Buffer>,
): boolean {
  if (key.startsWith(TOMBSTONES)) return true
  if (!key.startsWith(REPLACED_KEYS)) return false
  const id = key.split('/')[1] as VolumeId
  return !newest.has(tombstoneKey(id)) && entries.has(volumeKey(id))
}

interface Judged {
  readonly record: VolumeRecord | null
  readonly answering: readonly NodeId[]
  readonly counted: Omit<Refused, 'why'>
  readonly damaged: readonly string[]
}

function judge(record: VolumeRecord, heard: readonly Heard[], generation: number): Judged {
  const { id, name, minimum } = record
  const isLone = record.copies.length === 1
  const found = heard.flatMap(({ node, copies }) =>
    copies
      .filter(({ volume }) => volume === id)
      .map((copy): Answering => ({ ...copy, node, copy: copy.copy ?? copyHere(record, node) })),
  )
  const whole = found.filter((one) => one.copy !== null && one.damaged === null)
  const best = whole.reduce<Position>((end, one) => (isLonger(one.end, end) ? one.end : end), start)
  const atEnd = whole.filter(({ end }) => !isLonger(best, end))
  // One that was made after the newest record that is known counts as a copy; it is one when it has all.
  const unlisted = whole.filter(({ copy }) => !record.copies.some((one) => one.id === copy))
  const joined = atEnd.filter((one) => unlisted.includes(one)).map(placeOf)
  const copies = [...record.copies, ...joined]
  const total = record.copies.length + unlisted.length
  const needed = total - minimum + 1
  const counted = {
    ...{ id, name, copies: total, answering: whole.length, needed },
    lacking: record.copies
      .filter((copy) => !whole.some((one) => one.copy === copy.id))
      .map(({ node }) => node),
  }
  const damaged = found.flatMap((one) => (one.damaged === null ? [] : [one.damaged]))
  const answering = whole.map(({ node }) => node)
  if (record.state === 'deleting') return { record, answering, counted, damaged }
  if (whole.length < needed) return { record: null, answering, counted, damaged }
  const seen = Math.max(record.epoch, ...whole.flatMap((one) => [one.promised, one.end.epoch]))
  // A life that began and was never kept: of one copy nobody has promised its epoch.
  const epoch = (seen + (isLone ? UNSEEN : 1)) as Epoch
  const rebuilt: VolumeRecord = {
    ...record,
    generation,
    epoch,
    owner: record.owner ?? record.copies[0]?.node ?? null,
    copies,
    inSync: isLone ? record.inSync : atEnd.map((one) => placeOf(one).id),
    state: 'ready',
    ...(isLone ? {} : { rebuilt: true }),
  }
  return { record: rebuilt, answering, counted, damaged }
}

type Answering = CopyFound & { readonly node: NodeId }

const start: Position = { epoch: 0 as Epoch, seq: 0 as Position['seq'] }

/** By last epoch, then by sequence (take-over.ts). */
function isLonger(a: Position, b: Position): boolean {
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.seq > b.seq)
}

/** The journal of a volume of one node is its copy. */
function copyHere({ copies }: VolumeRecord, node: NodeId): CopyId | null {
  const [only] = copies
  return copies.length === 1 && only?.node === node ? only.id : null
}

function placeOf({ node, drive, copy }: Answering): Copy {
  return { id: copy as CopyId, node, drive }
}

function wordsOf({ counted, damaged }: Judged): string {
  const { copies, answering, needed } = counted
  const also = damaged.length === 0 ? '' : `; damaged: ${damaged.join(', ')}`
  return `${answering} of its ${copies} copies answer, and ${needed} are needed to know that no acknowledged change is missing${also}`
}
