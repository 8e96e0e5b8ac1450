import {
  type ChunkId,
  type Clock,
  CorruptError,
  codeOf,
  type Ino,
  messageOf,
  type Random,
} from '../base/index.ts'
import { keys } from '../meta/index.ts'
import type { Engine } from './engine.ts'
import { type BadChunk, checkChunks, isNamed, type LostRange, lostRanges } from './fsck-chunks.ts'
import { checkIndex, type IndexCheck, type IndexProblem } from './fsck-index.ts'
import { checkJournal, type JournalCheck, type JournalDamage } from './fsck-journal.ts'
import { Paths } from './fsck-paths.ts'
import {
  chunkWords,
  inosOf,
  journalWords,
  keyWords,
  lostWords,
  problemWords,
} from './fsck-words.ts'
import { type Mending, repairBadChunk, repairJournal } from './repair.ts'
import { repairProblem } from './repair-index.ts'
import { restoreValues } from './restore-values.ts'
import { sweep } from './sweep.ts'
import { type Finding, turn, type Work } from './work.ts'

export interface FsckWorld {
  clock: Clock
  random: Random
}

/** What fsck of one volume found and did. */
export interface VolumeCheck {
  findings: Finding[]
  checked: { inodes: number; records: number; chunks: number; bytes: number }
  /** Chunks that bytes of files are lost with, for status. */
  damaged: { chunk: ChunkId; what: string }[]
  /** Something was changed that threads with caches of their own have to see anew. */
  changed: boolean
}

const FINDINGS_MAX = 10_000
const REPAIRS_PER_TURN = 100
/** Mending one thing can bring another to light: a name that was dropped leaves a link count to mend. */
const ROUNDS_MAX = 4

/**
 * Checks a volume that is in use: journal, index, chunks; every seal. It reads one moment of the index, looks again
 * before it calls something bad, and changes nothing without `repair`. Repairs are ordinary records.
 */
export async function fsckVolume(
  engine: Engine,
  mending: Mending,
  world: FsckWorld,
  work: Work,
): Promise<VolumeCheck> {
  return await new Fsck(engine, mending, world, work).run()
}

class Fsck {
  readonly #engine: Engine
  readonly #repair: boolean
  readonly #acceptLoss: boolean
  readonly #world: FsckWorld
  readonly #work: Work
  readonly #paths: Paths
  readonly #result: VolumeCheck = {
    findings: [],
    checked: { inodes: 0, records: 0, chunks: 0, bytes: 0 },
    damaged: [],
    changed: false,
  }
  #total = 0
  #unlisted = 0

  constructor(engine: Engine, { repair, acceptLoss }: Mending, world: FsckWorld, work: Work) {
    this.#engine = engine
    this.#repair = repair
    this.#acceptLoss = acceptLoss
    this.#world = world
    this.#work = work
    this.#paths = new Paths(engine.volume)
  }

  async run(): Promise<VolumeCheck> {
    const { volume } = this.#engine
    if (volume.shared.stopped) {
      const stopped = volume.stoppedError()
      if (this.#repair) throw stopped
      this.#damage(stopped.message)
    } else await this.#engine.settle()
    this.#total = this.#bytesToCheck()
    const journal = await this.#journal()
    let index = await this.#index()
    if (this.#repair) index = await this.#mendIndex(index)
    else await this.#tellIndex(index)
    if (this.#repair && journal.damage.length > 0) await this.#mendJournal(journal, index)
    await this.#chunks(index)
    await this.#unnamed()
    if (this.#unlisted > 0) {
      this.#note(
        `${this.#unlisted} further findings are not listed`,
        'mend these, then run it again',
      )
    }
    return this.#result
  }

  #bytesToCheck(): number {
    const journal = this.#engine.volume.journal.bytes()
    try {
      return journal + this.#engine.figures().storedBytes
    } catch (error) {
      // A damaged entry of the chunk table: found and told later.
      if (codeOf(error) === '' && !(error instanceof CorruptError)) throw error
      return journal
    }
  }

  async #journal(): Promise<JournalCheck> {
    const { volume, checkpoints } = this.#engine
    const release = await checkpoints.hold()
    try {
      const { head } = volume.shared
      const { disk, opening, sealer } = volume
      const journal = await checkJournal(disk, opening, sealer, head, this.#work, (bytes) =>
        this.#progress(bytes, 'journal'),
      )
      this.#result.checked.records = journal.records
      this.#result.checked.bytes += journal.bytes
      if (!this.#repair) for (const damage of journal.damage) this.#journalDamage(damage, 'left')
      return journal
    } finally {
      release()
    }
  }

  async #index(): Promise<IndexCheck> {
    this.#progress(this.#result.checked.bytes, 'index')
    const index = await checkIndex(this.#engine.volume, this.#work)
    this.#result.checked.inodes = index.inodes
    return index
  }

  async #tellIndex(index: IndexCheck): Promise<void> {
    for (const { key, why } of index.bad) await this.#badValue(key, why, 'left')
    await this.#learn(index.problems)
    for (const problem of index.problems) this.#problem(problem, 'left')
    this.#unlisted += index.unlisted
    this.#orphans(index)
  }

  /** Values that do not open come back from the log; then what contradicts itself is mended, until nothing new shows. */
  async #mendIndex(first: IndexCheck): Promise<IndexCheck> {
    let index = first
    if (index.bad.length > 0) {
      await this.#restore(index)
      index = await this.#index()
    }
    for (let round = 0; round < ROUNDS_MAX && index.problems.length > 0; round++) {
      const before = index.problems.length
      await this.#restoreMissing(index)
      await this.#mendProblems(index.problems)
      index = await this.#index()
      if (index.problems.length >= before && round > 0) break
    }
    await this.#learn(index.problems)
    for (const problem of index.problems) this.#problem(problem, 'left')
    this.#unlisted += index.unlisted
    this.#orphans(index)
    return index
  }

  async #restore(index: IndexCheck): Promise<void> {
    let outcome: Finding['outcome'] = 'repaired'
    try {
      await restoreValues(
        this.#engine,
        index.bad.map(({ key }) => key),
        this.#work,
      )
      this.#changedBeside()
      this.#result.changed = true
    } catch (error) {
      if (codeOf(error) === 'ECANCELED') throw error
      outcome = 'left'
      this.#damage(
        `the index could not be restored from checkpoint and journal: ${messageOf(error)}`,
      )
    }
    for (const { key, why } of index.bad) await this.#badValue(key, why, outcome)
  }

  /** The view was changed by no record. */
  #changedBeside(): void {
    const { shared } = this.#engine.volume
    shared.foreign.noteAnything()
    shared.countForeignChange()
  }

  /** An inode that is missing from the index alone is in the log: it comes back, and with it what hangs on it. */
  async #restoreMissing(index: IndexCheck): Promise<void> {
    const missing: Ino[] = []
    for (const problem of index.problems) {
      if (problem.kind === 'dangling' || problem.kind === 'lost-inode') missing.push(problem.ino)
    }
    if (missing.length === 0) return
    let values: Map<string, Buffer | null>
    try {
      values = await restoreValues(this.#engine, missing.map(keys.inodeKey), this.#work)
    } catch (error) {
      if (codeOf(error) === 'ECANCELED') throw error
      return
    }
    const back = missing.filter((ino) => values.get(keys.inodeKey(ino).toString('latin1')))
    if (back.length === 0) return
    this.#changedBeside()
    this.#result.changed = true
    await this.#paths.learn(back, this.#work)
    for (const ino of back) {
      const path = this.#paths.path(ino)
      this.#add(
        'damage',
        `inode ${ino} was missing from the index; the log has it`,
        path,
        'repaired',
      )
    }
    const returned = new Set(back)
    index.problems = index.problems.filter(
      (problem) =>
        !(
          (problem.kind === 'dangling' || problem.kind === 'lost-inode') &&
          returned.has(problem.ino)
        ),
    )
  }

  async #mendProblems(problems: readonly IndexProblem[]): Promise<void> {
    const { volume } = this.#engine
    await this.#learn(problems)
    let count = 0
    for (const problem of problems) {
      if (++count % REPAIRS_PER_TURN === 0) await turn(this.#work)
      let mended = false
      try {
        this.#engine.commit((draft) => {
          const { clock } = this.#world
          mended = repairProblem(volume, draft, problem, this.#paths, clock.now())
          return mended ? {} : null
        })
      } catch (error) {
        // The record was not made: the problem is told as it is.
        if (codeOf(error) === 'ECANCELED') throw error
        mended = false
      }
      // What could not be mended shows again in the next look, and is told then.
      if (!mended) continue
      this.#result.changed = true
      this.#problem(problem, 'repaired')
    }
  }

  async #chunks(index: IndexCheck): Promise<void> {
    const { volume, checkpoints } = this.#engine
    const done = this.#result.checked.bytes
    const named = (id: ChunkId) => {
      volume.view.refresh()
      return isNamed(volume, id)
    }
    const progress = (bytes: number) => this.#progress(done + bytes, 'chunks')
    const found = await checkChunks(volume, index.chunks, named, this.#work, progress)
    this.#result.checked.chunks = found.chunks
    this.#result.checked.bytes += found.bytes
    const { lost } = await lostRanges(volume, found.bad, this.#work)
    await this.#paths.learn(new Set(lost.map(({ ino }) => ino)), this.#work)
    for (const chunk of found.bad) {
      const ofChunk = lost.filter((one) => one.chunk === chunk)
      await this.#badChunk(chunk, ofChunk)
    }
    await this.#checkpointChunks()
    if (checkpoints.problem) await this.#mendCheckpoint(checkpoints.problem)
  }

  async #badChunk(chunk: BadChunk, lost: readonly LostRange[]): Promise<void> {
    let outcome: Finding['outcome'] = chunk.quarantined ? 'quarantined' : 'left'
    if (this.#repair && !chunk.unreadable) {
      outcome = await repairBadChunk(this.#engine, chunk, this.#world.random, this.#work)
      this.#result.changed = true
    }
    if (lost.length > 0 && outcome !== 'repaired') {
      this.#result.damaged.push({ chunk: chunk.id, what: chunk.what })
    }
    if (lost.length === 0) {
      this.#add('damage', chunkWords(chunk), null, outcome, this.#nextFor(outcome))
    }
    for (const one of lost) {
      const path = this.#paths.path(one.ino)
      this.#add('damage', lostWords(one), path, outcome, this.#nextFor(outcome))
    }
  }

  #nextFor(outcome: Finding['outcome']): string {
    const { name } = this.#engine.volume
    if (outcome === 'repaired') return ''
    if (outcome === 'left') return this.#repair ? 'see the log' : `weft fsck ${name} --repair`
    return 'copy the file back from a backup, or delete it'
  }

  /** Chunks of checkpoints: nothing but the index is in them, so a new one takes their place. */
  async #checkpointChunks(): Promise<void> {
    const { volume, checkpoints } = this.#engine
    const release = await checkpoints.hold()
    let bad: BadChunk[]
    try {
      const list = checkpoints.chunks()
      const entries = list.map(
        ({ id, drive, plainBytes }): [ChunkId, { drive: typeof drive; storedBytes: number }] => [
          id,
          { drive, storedBytes: plainBytes },
        ],
      )
      const found = await checkChunks(
        volume,
        entries,
        () => true,
        this.#work,
        () => null,
      )
      this.#result.checked.chunks += found.chunks
      this.#result.checked.bytes += found.bytes
      bad = found.bad
    } finally {
      release()
    }
    for (const chunk of bad) await this.#mendCheckpoint(`chunk ${chunk.id}: ${chunk.what}`)
  }

  async #mendCheckpoint(what: string): Promise<void> {
    let outcome: Finding['outcome'] = 'left'
    let next = `weft fsck ${this.#engine.volume.name} --repair takes a new one`
    if (this.#repair) {
      try {
        await this.#engine.checkpoints.take((make) => this.#engine.commit(make), { alone: true })
        outcome = 'repaired'
        next = ''
      } catch (error) {
        next = `no new one could be taken: ${messageOf(error)}`
      }
    }
    this.#add('damage', `the checkpoint: ${what}`, null, outcome, next)
  }

  async #mendJournal(journal: JournalCheck, index: IndexCheck): Promise<void> {
    const left = await repairJournal(this.#engine, journal, index, this.#acceptLoss)
    for (const damage of journal.damage) {
      if (left === null) this.#journalDamage(damage, 'quarantined')
      else this.#journalDamage(damage, 'left', left)
    }
  }

  async #unnamed(): Promise<void> {
    if (!this.#repair) return
    const { deleted, resting } = await sweep([this.#engine], this.#world.clock, this.#work)
    const sum = (list: readonly { storedBytes: number }[]) =>
      list.reduce((bytes, one) => bytes + one.storedBytes, 0)
    if (deleted.length > 0) {
      const what = `${deleted.length} chunks of ${sum(deleted)} bytes that nothing named were deleted`
      this.#add('note', what, null, 'repaired')
    }
    if (resting.length > 0) {
      const what = `${resting.length} chunks of ${sum(resting)} bytes are named by nothing and rest a day`
      this.#note(what, 'they are deleted by themselves')
    }
  }

  async #learn(problems: readonly IndexProblem[]): Promise<void> {
    await this.#paths.learn(new Set(problems.flatMap(inosOf)), this.#work)
  }

  async #badValue(key: Buffer, why: 'seal' | 'form', outcome: Finding['outcome']): Promise<void> {
    const { what, ino } = keyWords(key)
    if (ino !== null) await this.#paths.learn([ino], this.#work)
    const words =
      why === 'seal' ? `${what} fails its seal in the index` : `${what} is not what its key says`
    this.#add(
      'damage',
      words,
      ino === null ? null : this.#paths.path(ino),
      outcome,
      this.#nextFor(outcome),
    )
  }

  #problem(problem: IndexProblem, outcome: Finding['outcome']): void {
    const [ino] = inosOf(problem)
    const path = ino === undefined ? null : this.#paths.path(ino)
    this.#add('damage', problemWords(problem), path, outcome, this.#nextFor(outcome))
  }

  #orphans({ orphans, orphanBytes }: IndexCheck): void {
    if (orphans === 0) return
    this.#note(
      `${orphans} files of ${orphanBytes} bytes were deleted and are still open somewhere`,
      'their space comes back when the last program closes them',
    )
  }

  #journalDamage(damage: JournalDamage, outcome: Finding['outcome'], next?: string): void {
    const words = next ?? (outcome === 'left' ? this.#nextFor(outcome) : '')
    this.#add('damage', journalWords(damage), null, outcome, words)
  }

  #damage(what: string): void {
    this.#add('damage', what, null, 'left')
  }

  #note(what: string, next: string): void {
    this.#add('note', what, null, 'left', next)
  }

  #add(
    severity: Finding['severity'],
    what: string,
    path: string | null,
    outcome: Finding['outcome'],
    next = '',
  ): void {
    const { findings } = this.#result
    if (findings.length >= FINDINGS_MAX) {
      this.#unlisted++
      return
    }
    findings.push({ severity, volume: this.#engine.volume.name, what, path, outcome, next })
  }

  #progress(bytes: number, part: string): void {
    const total = Math.max(this.#total, bytes)
    this.#work.progress(bytes, total, `${this.#engine.volume.name}: ${part}`)
  }
}
