import { rmSync } from 'node:fs'
import { type ChunkId, CorruptError, codeOf, messageOf, ProtocolError } from '../base/index.ts'
import { type Disk, systemDisk } from '../disk/index.ts'
import { beginAnew } from '../journal/index.ts'
import { readManifest } from './checkpoint.ts'
import { checkChunks, lostRanges } from './fsck-chunks.ts'
import { checkIndex, type IndexCheck } from './fsck-index.ts'
import { checkJournal, type JournalCheck } from './fsck-journal.ts'
import { Paths } from './fsck-paths.ts'
import {
  chunkWords,
  inosOf,
  journalWords,
  keyWords,
  lostWords,
  problemWords,
} from './fsck-words.ts'
import { viewDamage } from './lmdb-file.ts'
import { LocalVolume, type VolumeOpening } from './local-volume.ts'
import { dropCleanMark, fillView, markViewClean, replay, viewIsWhole } from './recovery.ts'
import type { Finding, Work } from './work.ts'

/** What fsck found of a volume that is not open. */
export interface ClosedCheck {
  findings: Finding[]
  checked: { inodes: number; records: number; chunks: number; bytes: number }
  /** The journal was begun anew behind the view: opening the volume is worth a try. */
  mended: boolean
}

/**
 * Checks a volume that could not be opened, from what lies on the drives. Where its view is not to be trusted, one is
 * made beside it from checkpoint and journal as far as they go, and checked in its place. Without `repair` nothing of the
 * volume is changed; with it, a journal that is damaged behind a whole view is put aside and begun anew. Everything else
 * is mended once the volume is open again.
 * @param opening used up: its keys are wiped
 */
export async function fsckClosed(
  opening: VolumeOpening,
  repair: boolean,
  work: Work,
  disk: Disk = systemDisk,
): Promise<ClosedCheck> {
  const closed = new ClosedFsck(opening, repair, work, disk)
  try {
    return await closed.run()
  } finally {
    await closed.end()
  }
}

class ClosedFsck {
  readonly #opening: VolumeOpening
  readonly #repair: boolean
  readonly #work: Work
  readonly #volume: LocalVolume
  /** The volume's own view can be used: it stands alone, whatever the journal says. */
  readonly #whole: boolean
  readonly #result: ClosedCheck = {
    findings: [],
    checked: { inodes: 0, records: 0, chunks: 0, bytes: 0 },
    mended: false,
  }

  constructor(opening: VolumeOpening, repair: boolean, work: Work, disk: Disk) {
    this.#opening = opening
    this.#repair = repair
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
    const viewDirectory = this.#whole ? opening.viewDirectory : `${opening.viewDirectory}.fsck`
    if (!this.#whole) rmSync(viewDirectory, { recursive: true, force: true })
    this.#volume = new LocalVolume({ ...opening, viewDirectory }, disk)
  }

  async run(): Promise<ClosedCheck> {
    const journal = await this.#journal()
    const ready = this.#whole || this.#fill()
    const index = ready ? await this.#index() : null
    if (index) await this.#chunks(index)
    else await this.#checkpoint()
    if (journal.damage.length > 0) this.#tellJournal(journal, this.#mend(journal, index))
    return this.#result
  }

  async end(): Promise<void> {
    await this.#volume.close()
    if (!this.#whole)
      rmSync(`${this.#opening.viewDirectory}.fsck`, { recursive: true, force: true })
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
      const head = fillView(volume)
      replay(volume, head)
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

  /** @returns null when a new journal was begun behind the view, else why not */
  #mend(journal: JournalCheck, index: IndexCheck | null): string | null {
    const { id, journalDirectory, name } = this.#opening
    if (!this.#whole || !index) {
      return 'the view is not whole, and the damaged records may be needed to make it anew: nothing is changed. Bring the journal back from a copy of the drive'
    }
    if (index.bad.length > 0 || index.problems.length > 0) {
      return 'the index has damage of its own, and the journal may be needed to mend it: nothing is changed'
    }
    const head = this.#volume.view.head()
    if (!head || journal.lastSeq > head.seq) {
      return `the view ends at record ${head?.seq ?? 0} and the journal goes on to ${journal.lastSeq}: records between are lost, and what follows cannot be applied without them. Nothing is changed. Bring the journal back from a copy of the drive`
    }
    if (!this.#repair)
      return `weft fsck ${name} --repair begins a new journal behind the view, which has all of it`
    const { disk } = this.#volume
    disk.mkdir(journalDirectory)
    const begun = beginAnew(disk, journalDirectory, id, head)
    dropCleanMark(this.#opening, disk)
    this.#volume.view.apply([], begun.head)
    markViewClean(this.#opening, disk)
    this.#result.mended = true
    return null
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
