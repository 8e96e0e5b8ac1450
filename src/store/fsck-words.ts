import type { Ino } from '../base/index.ts'
import { keys } from '../meta/index.ts'
import type { BadChunk, LostRange } from './fsck-chunks.ts'
import type { IndexProblem } from './fsck-index.ts'
import type { JournalDamage } from './fsck-journal.ts'

/** Findings in words a person can act on. */

/** Inodes that a problem is about: the first one's path is shown. */
export function inosOf(problem: IndexProblem): Ino[] {
  if (problem.kind === 'live-bytes' || problem.kind === 'totals') return []
  if (problem.kind === 'reserved') return [problem.highest]
  if (problem.kind === 'dangling') return [problem.ino, problem.parent]
  return [problem.ino]
}

export function problemWords(problem: IndexProblem): string {
  switch (problem.kind) {
    case 'links':
      return `its link count is ${problem.recorded} and should be ${problem.recorded + problem.delta}`
    case 'entries':
      return `the directory counts ${problem.recorded} entries and has ${problem.recorded + problem.delta}`
    case 'bytes':
      return `it counts ${problem.recorded} bytes and has ${problem.recorded + problem.delta}`
    case 'parent':
      return `the directory names inode ${problem.recorded} as its parent, and inode ${problem.found} holds it`
    case 'type':
      return `its directory entry says another type than inode ${problem.ino}`
    case 'mode':
      return `inode ${problem.ino} has no type that exists (mode ${problem.mode.toString(8)})`
    case 'dangling':
      return `a name leads to inode ${problem.ino}, which does not exist; the name is of no use`
    case 'nameless':
      return `inode ${problem.ino} has no name; it is kept under /lost+found/#${problem.ino} when repaired`
    case 'lost-inode':
      return `inode ${problem.ino} is missing, and ${problem.entries > 0 ? `${problem.entries} directory entries` : `${problem.bytes} bytes`} of it are there; it is made anew under /lost+found/#${problem.ino} when repaired`
    case 'stray-xattrs':
      return `attributes of inode ${problem.ino}, which does not exist`
    case 'file-with-entries':
      return `inode ${problem.ino} is no directory and has directory entries`
    case 'several-names':
      return `the directory has ${problem.names} names`
    case 'loop':
      return `the directory is inside itself; it goes to /lost+found/#${problem.ino} when repaired`
    case 'misplaced-name':
      return 'a name stands where no lookup finds it'
    case 'overlap':
      return `two extents claim the bytes from ${problem.nextOffset} on; the older copy goes to /lost+found when repaired`
    case 'beyond-chunk':
      return `the extent at ${problem.offset} reaches beyond the end of chunk ${problem.chunk}; those bytes are lost`
    case 'unknown-chunk':
      return `the index does not know chunk ${problem.chunk}, which holds ${problem.liveBytes} bytes of files`
    case 'live-bytes':
      return `chunk ${problem.chunk} counts ${problem.recorded} live bytes and has ${problem.recorded + problem.delta}`
    case 'packable':
      return problem.missing
        ? `inline bytes at ${problem.offset} are not listed for packing`
        : `bytes at ${problem.offset} are listed for packing and not inline`
    case 'orphan':
      return problem.named
        ? `inode ${problem.ino} has a name and is listed as nameless`
        : `inode ${problem.ino} is listed as nameless and does not exist`
    case 'totals':
      return `the volume's totals are wrong by ${problem.bytes} bytes, ${problem.inodes} inodes, ${problem.inlineBytes} inline bytes`
    case 'reserved':
      return `inode ${problem.highest} exists and only numbers below ${problem.recorded} were given out`
  }
}

const KIND_WORDS: Readonly<Record<number, string>> = {
  [keys.KIND.inode]: 'inode',
  [keys.KIND.dirent]: 'a directory entry of inode',
  [keys.KIND.extent]: 'an extent of inode',
  [keys.KIND.xattr]: 'an attribute of inode',
  [keys.KIND.orphan]: 'the mark of nameless inode',
  [keys.KIND.packable]: 'an inline extent of inode',
}

/** What a key of the index is about. */
export function keyWords(key: Buffer): { what: string; ino: Ino | null } {
  const words = KIND_WORDS[key[0] as number]
  if (words && key.length >= 9) {
    const ino = keys.inoOfKey(key)
    return { what: `${words} ${ino}`, ino }
  }
  switch (key[0] as number) {
    case keys.KIND.chunk:
      return { what: `the entry of chunk ${keys.chunkOfKey(key)}`, ino: null }
    case keys.KIND.totals:
      return { what: "the volume's totals", ino: null }
    case keys.KIND.checkpoint:
      return { what: 'the copy of the checkpoint list', ino: null }
    case keys.KIND.answer:
      return { what: 'the last answer of a mount', ino: null }
    default:
      return { what: 'an entry of an unknown kind', ino: null }
  }
}

export function journalWords({ file, offset, seq, lastSeq, sign }: JournalDamage): string {
  if (sign === 'missing') return 'the journal is missing'
  if (sign === 'apart')
    return `the journal does not go on behind record ${seq}, where the view ends`
  const where = `journal file ${file}, offset ${offset}`
  const range = recordsWords(seq, lastSeq)
  const why =
    sign === 'seal' ? 'its seal is broken' : sign === 'key' ? 'its key is gone' : 'damaged'
  return `${where}: ${range} cannot be read (${why})`
}

/** @param last null when nothing whole follows: where the log ended is not known */
export function recordsWords(first: number, last: number | null): string {
  if (last === null) return `record ${first} and all behind it`
  return last <= first ? `record ${first}` : `records ${first} to ${last}`
}

export function chunkWords({ id, what }: BadChunk): string {
  return `chunk ${id}: ${what}; no bytes of files are lost with it`
}

const RANGES_SHOWN_MAX = 8

export function lostWords({ chunk, ranges }: LostRange): string {
  const shown = ranges.slice(0, RANGES_SHOWN_MAX).map(({ from, to }) => `${from} to ${to - 1}`)
  const more = ranges.length - shown.length
  const bytes = ranges.reduce((sum, { from, to }) => sum + to - from, 0)
  const list = `${shown.join(', ')}${more > 0 ? ` and ${more} more ranges` : ''}`
  const verb = chunk.unreadable ? 'cannot be read now' : 'are lost and answer EIO'
  return `${bytes} bytes (${list}) ${verb}: chunk ${chunk.id}: ${chunk.what}`
}
