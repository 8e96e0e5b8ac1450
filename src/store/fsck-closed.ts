import { renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import {
  type ChunkId,
  CorruptError,
  codeOf,
  messageOf,
  ProtocolError,
  type RecordSeq,
} from '../base/index.ts'
import { type Disk, systemDisk } from '../disk/index.ts'
import { beginAnew } from '../journal/index.ts'
import { readManifest } from './checkpoint-manifest.ts'
import { checkChunks, lostRanges } from './fsck-chunks.ts'
import { checkIndex, type IndexCheck } from './fsck-index.ts'
import { checkJournal, type JournalCheck, type JournalDamage } from './fsck-journal.ts'
import { Paths } from './fsck-paths.ts'
import {
  chunkWords,
  inosOf,
  journalWords,
  keyWords,
  lostWords,
  problemWords,
  recordsWords,
} from './fsck-words.ts'
import { viewDamage } from './lmdb-file.ts'
import { LocalVolume, type VolumeOpening } from './local-volume.ts'
import { dropCleanMark, fillView, markViewClean, replay, viewIsWhole } from './recovery.ts'
import type { Mending } from './repair.ts'
import { cutJournal, quarantineUnnamed, type Reach, reachOf } from './repair-closed.ts'
import type { Finding, Work } from './work.ts'

/** What fsck found of a volume that is not open. */
export interface ClosedCheck {
  findings: Finding[]
  checked: { inodes: number; records: number; chunks: number; bytes: number }
  /** The journal was cut, or begun anew behind the view: opening the volume is worth a try. */
  mended: boolean
}

/** Lost changes are told file by file up to this many. */
const LOST_SHOWN_MAX = 1000

/**
 * Checks a volume that could not be opened, from what lies on the drives. Where its view is not to be trusted, one is
 * made beside it from checkpoint and journal as far as they go, and checked in its place. Without `repair` nothing of the
 * volume is changed; with it, a journal that is damaged behind a whole view is put aside and begun anew. One that is damaged
 * where the view needs it is cut there only with `acceptLoss`. Everything else is mended once the volume is open again.
 * @param opening used up: its keys are wiped
 */
export async function fsckClosed(
  opening: VolumeOpening,
  mending: Mending,
  work: Work,
  disk: Disk = systemDisk,
): Promise<ClosedCheck> {
  const closed = new ClosedFsck(opening, mending, work, disk)
  try {
    return await closed.run()
  } finally {
    await closed.end()
  }
}

class ClosedFsck {
  readonly #opening: VolumeOpening
  readonly #repair: boolean
  readonly #acceptLoss: boolean
  readonly #work: Work
  readonly #volume: LocalVolume
  /** The volume's own view can be used: it stands alone, whatever the journal says. */
  readonly #whole: boolean
  /** How far the log goes on behind the view; null when there is no view to go on from, or the log cannot be read now. */
  #reach: Reach | null = null
  /** The view that was made aside becomes the volume's own. */
  #install = false
  readonly #result: ClosedCheck = {
    findings: [],
    checked: { inodes: 0, records: 0, chunks: 0, bytes: 0 },
    mended: false,
  }

  constructor(opening: VolumeOpening, { repair, acceptLoss }: Mending, work: Work, disk: Disk) {
    this.#opening = opening
    this.#repair = repair
    this.#acceptLoss = acceptLoss
    this.#work = work
    const trusted = viewIsWhole(opening, disk)
    const damage = trusted ? viewDamage(opening.viewDirectory) : null
    if (damage)
      this.#add(
        'damage',
        `the view is damaged: ${damage}`,
        'it is made anew from checkpoint and journal',
      )
    this.#whole = trusted && !damage
    const viewDirectory = this.#whole ? opening.viewDirectory : besideOf(opening)
    if (!this.#whole) rmSync(viewDirectory, { recursive: true, force: true })
    this.#volume = new LocalVolume({ ...opening, viewDirectory }, disk)
  }

  async run(): Promise<ClosedCheck> {
    const journal = await this.#journal()
    const ready = this.#whole ? this.#follow() : this.#fill()
    const index = ready ? await this.#index() : null
    if (index) await this.#chunks(index)
    else await this.#checkpoint()
    const apart = this.#reach?.held === false
    if (apart && journal.damage.length === 0) journal.damage.push(apartFrom(this.#reach))
    if (journal.damage.length > 0) this.#tellJournal(journal, await this.#mend(journal, index))
    return this.#result
  }

  async end(): Promise<void> {
    await this.#volume.close()
    if (this.#whole) return
    const { viewDirectory } = this.#opening
    const { disk } = this.#volume
    if (this.#install) {
      rmSync(viewDirectory, { recursive: true, force: true })
      renameSync(besideOf(this.#opening), viewDirectory)
      disk.fsyncDirectory(dirname(viewDirectory))
      markViewClean(this.#opening, disk)
    } else rmSync(besideOf(this.#opening), { recursive: true, force: true })
  }

  async #journal(): Promise<JournalCheck> {
    const { disk, sealer } = this.#volume
    const journal = await checkJournal(disk, this.#opening, sealer, null, this.#work, (bytes) =>
      this.#work.progress(bytes, null, `${this.#opening.name}: journal`),
    )
    this.#result.checked.records = journal.records
    this.#result.checked.bytes += journal.bytes
    return journal
  }

  /** A view made aside. False when there is nothing to make one from. */
  #fill(): boolean {
    const volume = this.#volume
    try {
      const from = fillView(volume, true)
      const reach = reachOf(volume, from)
      if (reach.held) replay(volume, from, { upTo: reach.head.seq })
      this.#reach = reach
      if (reach.damaged) {
        const how = `up to record ${reach.head.seq} only`
        this.#add(
          'damage',
          `the index cannot be made anew ${how}: the journal is damaged there`,
          '',
        )
      }
      return true
    } catch (error) {
      if (!(error instanceof CorruptError || error instanceof ProtocolError) && !codeOf(error))
        throw error
      const head = volume.view.head()
      const how = head ? `up to record ${head.seq} only` : 'at all'
      this.#add('damage', `the index cannot be made anew ${how}: ${messageOf(error)}`, '')
      return head !== null
    }
  }

  /** How far the log goes on behind the volume's own view. */
  #follow(): boolean {
    const head = this.#volume.view.head()
    if (!head) return false
    try {
      this.#reach = reachOf(this.#volume, head)
    } catch (error) {
      if (!(error instanceof ProtocolError) && !codeOf(error)) throw error
      this.#add('damage', `the journal cannot be read: ${messageOf(error)}`, '')
    }
    return true
  }

  async #index(): Promise<IndexCheck> {
    const index = await checkIndex(this.#volume, this.#work)
    this.#result.checked.inodes = index.inodes
    const paths = new Paths(this.#volume)
    await paths.learn(new Set(index.problems.flatMap(inosOf)), this.#work)
    for (const { key } of index.bad) {
      this.#add('damage', `${keyWords(key).what} cannot be read in the index`, this.#next())
    }
    for (const problem of index.problems) {
      const [ino] = inosOf(problem)
      const path = ino === undefined ? null : paths.path(ino)
      this.#add('damage', problemWords(problem), this.#next(), path)
    }
    return index
  }

  async #chunks(index: IndexCheck): Promise<void> {
    const done = this.#result.checked.bytes
    let total = done
    for (const { storedBytes } of index.chunks.values()) total += storedBytes
    const found = await checkChunks(
      this.#volume,
      index.chunks,
      () => true,
      this.#work,
      (bytes) => this.#work.progress(done + bytes, total, `${this.#opening.name}: chunks`),
    )
    this.#result.checked.chunks += found.chunks
    this.#result.checked.bytes += found.bytes
    const { lost } = await lostRanges(this.#volume, found.bad, this.#work)
    const paths = new Paths(this.#volume)
    await paths.learn(new Set(lost.map(({ ino }) => ino)), this.#work)
    for (const chunk of found.bad) {
      const ofChunk = lost.filter((one) => one.chunk === chunk)
      if (ofChunk.length === 0) this.#add('damage', chunkWords(chunk), this.#next())
      for (const one of ofChunk) {
        this.#add('damage', lostWords(one), this.#next(), paths.path(one.ino))
      }
    }
    await this.#checkpoint()
  }

  /** The checkpoint's own list and chunks. */
  async #checkpoint(): Promise<void> {
    try {
      const manifest = readManifest(this.#volume)
      const dumps = manifest ? [manifest.newest, manifest.previous] : []
      const list = dumps.flatMap((dump) => dump?.chunks ?? [])
      const found = await checkChunks(
        this.#volume,
        list.map(({ id, drive, plainBytes }) => [
          id as ChunkId,
          { drive, storedBytes: plainBytes },
        ]),
        () => true,
        this.#work,
        () => null,
      )
      this.#result.checked.chunks += found.chunks
      this.#result.checked.bytes += found.bytes
      for (const { id, what } of found.bad) {
        this.#add('damage', `the checkpoint: chunk ${id}: ${what}`, this.#next())
      }
    } catch (error) {
      if (!(error instanceof CorruptError || error instanceof ProtocolError)) throw error
      this.#add('damage', `the checkpoint: ${messageOf(error)}`, this.#next())
    }
  }

  /** @returns null when the journal was mended, else why not */
  async #mend(journal: JournalCheck, index: IndexCheck | null): Promise<string | null> {
    const { name } = this.#opening
    const reach = this.#reach
    if (!reach || !index) {
      return 'there is neither a view nor a checkpoint from which the volume could go on: nothing is changed. Bring the journal back from a copy of the drive'
    }
    const { seq } = reach.head
    if (this.#whole && this.#hasAllOf(journal)) {
      if (!this.#acceptLoss && (index.bad.length > 0 || index.problems.length > 0)) {
        return `the index has damage of its own, and the journal may be needed to mend it: nothing is changed. To give that up: weft fsck ${name} --repair --accept-loss`
      }
      if (!this.#repair)
        return `weft fsck ${name} --repair begins a new journal behind the view, which has all of it`
      this.#beginAnew(reach)
      return null
    }
    if (!reach.damaged) return 'it is not needed to open the volume; then it is mended'
    const last = lastLost(journal, seq)
    const lost = recordsWords(seq + 1, last)
    if (!this.#acceptLoss) {
      return `the view can only be made up to record ${seq}; ${lost} would be lost, what can still be read of them too, because nothing can be applied behind a gap. Nothing is changed. Bring the journal back from a copy of the drive, or give them up: weft fsck ${name} --repair --accept-loss`
    }
    await this.#tellLoss(journal, seq, last)
    if (reach.held) {
      if (this.#whole) this.#bringUpTo(seq)
      await this.#keepChunks(index)
      cutJournal(this.#volume, reach.head)
    } else {
      await this.#keepChunks(index)
      this.#beginAnew(reach)
    }
    this.#result.mended = true
    return null
  }

  /** Nothing of the log, readable or not, is behind the volume's own view. */
  #hasAllOf({ lastSeq, damage }: JournalCheck): boolean {
    const last = this.#volume.view.head()?.seq ?? 0
    return lastSeq <= last && damage.every(({ seq }) => seq <= last)
  }

  /** The volume's own view gets what can still be read of the log. */
  #bringUpTo(seq: RecordSeq): void {
    const { disk, view } = this.#volume
    const head = view.head()
    if (!head || head.seq >= seq) return
    dropCleanMark(this.#opening, disk)
    replay(this.#volume, head, { upTo: seq })
    markViewClean(this.#opening, disk)
  }

  /** The view has all there is: a new journal goes on behind it, the old files are put aside. */
  #beginAnew({ head }: Reach): void {
    const { id, journalDirectory } = this.#opening
    const { disk, view } = this.#volume
    disk.mkdir(journalDirectory)
    const begun = beginAnew(disk, journalDirectory, id, head)
    if (this.#whole) dropCleanMark(this.#opening, disk)
    view.apply([], begun.head)
    if (this.#whole) markViewClean(this.#opening, disk)
    else this.#install = true
    this.#result.mended = true
  }

  /** @param last null when it is not known where the log ended */
  async #tellLoss(journal: JournalCheck, seq: RecordSeq, last: number | null): Promise<void> {
    const { journalDirectory } = this.#opening
    const lost = recordsWords(seq + 1, last)
    const kept = `what is left of them is kept in ${journalDirectory}/quarantine`
    this.#cut(`${lost} are given up: the volume goes on from record ${seq}; ${kept}`)
    const changed = [...journal.behind].filter(([, one]) => one.seq > seq)
    const paths = new Paths(this.#volume)
    const inos = changed.map(([ino]) => ino)
    await paths.learn(new Set(inos), this.#work)
    for (const [ino, { seq: at, name }] of changed.slice(0, LOST_SHOWN_MAX)) {
      const path = paths.path(ino)
      if (path !== null) this.#cut(`changes up to record ${at} are lost`, path)
      else
        this.#cut(`inode ${ino}, made later than record ${seq}, is lost`, name?.toString() ?? null)
    }
    if (changed.length > LOST_SHOWN_MAX) {
      this.#cut(`${changed.length - LOST_SHOWN_MAX} further files have lost changes`)
    }
    this.#cut('what the records changed that cannot be read at all is not known')
  }

  /** Data that only the lost records named stays on the drives. */
  async #keepChunks(index: IndexCheck): Promise<void> {
    const moved = await quarantineUnnamed(this.#volume, index, this.#work)
    if (moved > 0) this.#cut(`${moved} chunks that only lost records named were put aside`)
  }

  #cut(what: string, path: string | null = null): void {
    const { name: volume } = this.#opening
    const outcome = 'quarantined'
    this.#result.findings.push({ severity: 'damage', volume, what, path, outcome, next: '' })
  }

  #tellJournal(journal: JournalCheck, refused: string | null): void {
    for (const damage of journal.damage) {
      const { findings } = this.#result
      const outcome = refused === null ? 'quarantined' : 'left'
      const { name: volume } = this.#opening
      const next = refused ?? ''
      findings.push({
        severity: 'damage',
        volume,
        what: journalWords(damage),
        path: null,
        outcome,
        next,
      })
    }
  }

  #next(): string {
    return this.#repair ? '' : `weft fsck ${this.#opening.name} --repair`
  }

  #add(
    severity: Finding['severity'],
    what: string,
    next: string,
    path: string | null = null,
  ): void {
    const { name: volume } = this.#opening
    this.#result.findings.push({ severity, volume, what, path, outcome: 'left', next })
  }
}

/**
 * Where a view is made beside the volume's own. No dot in its name: LMDB makes a single file of a path with an extension
 * (lmdb 3.5.6, open.js, noSubdir), which could not take the place of a directory.
 */
function besideOf({ viewDirectory }: VolumeOpening): string {
  return `${viewDirectory}-fsck`
}

/** Damage of a journal whose files are whole and that does not go on where the view ends. */
function apartFrom(reach: Reach | null): JournalDamage {
  const { file = 0, offset = 0, seq = 0 } = reach?.head ?? {}
  return { file, offset, seq, lastSeq: seq, sign: 'apart' }
}

/** The last record known of that is lost with everything behind `seq`; null when none is known. */
function lastLost(journal: JournalCheck, seq: number): number | null {
  const last = Math.max(journal.lastSeq, ...journal.damage.map(({ lastSeq }) => lastSeq ?? 0))
  return last > seq ? last : null
}
