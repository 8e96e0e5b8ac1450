import { CorruptError, codeOf, type Ino, type RecordSeq } from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import {
  firstHead,
  type JournalHead,
  type RecordSealer,
  resumeAfter,
  type ScanOptions,
  scan,
} from '../journal/index.ts'
import { type Change, decodeChanges, decodeDirents, keys } from '../meta/index.ts'
import { keyWords } from './fsck-words.ts'
import type { VolumeOpening } from './local-volume.ts'
import { turn, type Work } from './work.ts'

/** A stretch of the journal that cannot be read. */
export interface JournalDamage {
  file: number
  offset: number
  /** First record that is lost. */
  seq: number
  /** Last record that is lost; null when nothing whole follows. */
  lastSeq: number | null
  /** What told: journal/scan.ts, Sign; `missing`; `apart` when what is there does not follow the view. */
  sign: string
}

export interface JournalCheck {
  records: number
  bytes: number
  damage: JournalDamage[]
  /** Sequence of the last whole record found; 0 when there is none. */
  lastSeq: number
  /** Inodes that whole records behind the first damage change: what is lost with them. */
  behind: Map<Ino, ChangedBehind>
}

export interface ChangedBehind {
  /** Last record that changes it. */
  seq: number
  /** A name that one of them gave it. */
  name: Buffer | null
}

const BEHIND_MAX = 10_000

const BYTES_PER_TURN = 1024 * 1024

/**
 * Reads every record that is kept, opens its seal and decodes it. Goes on behind damage, to say how far it reaches.
 * @param end where the log ends, of a volume in use; null reads to the end of what is there
 */
export async function checkJournal(
  disk: Disk,
  opening: Pick<VolumeOpening, 'id' | 'journalDirectory'>,
  sealer: RecordSealer,
  end: JournalHead | null,
  work: Work,
  progress: (bytes: number) => void,
): Promise<JournalCheck> {
  const { id, journalDirectory } = opening
  const found: JournalCheck = { records: 0, bytes: 0, damage: [], lastSeq: 0, behind: new Map() }
  const options: ScanOptions = end ? { upTo: end.seq as RecordSeq, confirmed: end.seq } : {}
  let head: JournalHead | null = null
  try {
    head = firstHead(disk, journalDirectory, id)
    if (!head) {
      found.damage.push({ file: 0, offset: 0, seq: 1, lastSeq: null, sign: 'missing' })
      return found
    }
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error
    head = goOn(disk, opening, found, error, 1)
  }
  let sinceTurn = 0
  let resumed = found.damage.length > 0
  while (head) {
    let last: JournalHead = head
    try {
      for (const record of scan(disk, journalDirectory, id, head, sealer, {
        ...options,
        resumed,
      })) {
        const changes = decodeChanges(record.body as Buffer)
        if (found.damage.length > 0) noteBehind(found.behind, changes, record.head.seq)
        last = record.head
        found.records++
        found.lastSeq = Math.max(found.lastSeq, last.seq)
        found.bytes += record.raw.length
        sinceTurn += record.raw.length
        if (sinceTurn < BYTES_PER_TURN) continue
        sinceTurn = 0
        progress(found.bytes)
        await turn(work)
      }
      return found
    } catch (error) {
      if (!(error instanceof CorruptError) && codeOf(error) !== 'ENOKEY') throw error
      head = goOn(disk, opening, found, error, last.seq + 1, last)
      resumed = true
      if (end && head && head.seq >= end.seq) return found
    }
  }
  return found
}

function noteBehind(
  behind: JournalCheck['behind'],
  changes: readonly Change[],
  seq: RecordSeq,
): void {
  const note = (ino: Ino, name: Buffer | null) => {
    const known = behind.get(ino)
    if (!known && behind.size >= BEHIND_MAX) return
    behind.set(ino, { seq, name: name ?? known?.name ?? null })
  }
  for (const { key, value } of changes) {
    const { ino } = keyWords(key)
    if (ino === null) continue
    note(ino, null)
    if (key[0] !== keys.KIND.dirent || !value) continue
    for (const entry of decodeDirents(value)) note(entry.ino, Buffer.from(entry.name))
  }
}

/** Notes damage and finds where the log is whole again. */
function goOn(
  disk: Disk,
  { id, journalDirectory }: Pick<VolumeOpening, 'id' | 'journalDirectory'>,
  found: JournalCheck,
  error: unknown,
  seq: number,
  last?: JournalHead,
): JournalHead | null {
  const subject = error instanceof CorruptError ? error.subject : {}
  const file = Number(subject.file ?? last?.file ?? 0)
  const offset = Number(subject.offset ?? last?.offset ?? 0)
  const resumed = resumeAfter(disk, journalDirectory, id, { file, offset })
  const told = typeof subject.sign === 'string' ? subject.sign : 'header'
  const sign = codeOf(error) === 'ENOKEY' ? 'key' : told
  // A record whose checksum holds and whose seal does not is whole to the search, and lost all the same.
  const whole = resumed ? resumed.firstWhole - 1 : null
  const lastSeq = whole === null ? null : Math.max(whole, seq)
  found.damage.push({ file, offset, seq, lastSeq, sign })
  return resumed?.head ?? null
}
