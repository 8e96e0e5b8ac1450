import {
  assert,
  type ChunkId,
  type Clock,
  CorruptError,
  codeOf,
  type DriveId,
  errnoOf,
  FsError,
  type Ino,
  type Log,
  limits,
  messageOf,
  newId,
  type Random,
  type RecordSeq,
  sleep,
} from '../base/index.ts'
import { type Drive, takesData } from '../drives/index.ts'
import type { JournalHead } from '../journal/index.ts'
import {
  type Change,
  decodeChanges,
  decodeChunkInfo,
  type Inode,
  keys,
  type View,
} from '../meta/index.ts'
import { Checkpoints } from './checkpoint.ts'
import { type ChunkPiece, nameChunk, putPieces, type SealedChunk } from './chunk-pieces.ts'
import { type ChunkEnd, Draft, ExtentEditor } from './draft.ts'
import { isNamed } from './fsck-chunks.ts'
import { type Interval, Intervals } from './intervals.ts'
import { KeptExtents } from './kept-extents.ts'
import { type LocalVolume, TOUCHED } from './local-volume.ts'
import { ExtentsAtHand } from './placed-extents.ts'
import { Quiet } from './quiet.ts'
import { Reclaim } from './reclaim.ts'
import { VOLUME_STATE } from './shared.ts'
import { coverStaged, putInline } from './staged-commit.ts'
import {
  dropCommittedSegments,
  dropSpareSegments,
  dropStaging,
  STAGED_SEGMENT_BYTES,
  type Staged,
  StagingReader,
} from './staging.ts'
import type { Touched } from './touched.ts'

export interface EngineFigures {
  records: number
  chunks: number
  storedBytes: number
  liveBytes: number
  journalBytes: number
  drives: string[]
}

/** A caller waiting for stable storage. */
export interface SyncRequest {
  stagedNumber: number
  seq: number
  /** @param errno negative, 0 for success · @param why what failed */
  done(errno: number, why?: unknown): void
}

interface BatchFile {
  intervals: Intervals
  /** Newest staged write of the file in the batch: its times become the file's. */
  newest: Staged
}

/** A file of a batch in the draft of its record, and what of its staged writes no record holds yet. */
interface EditedFile {
  inode: Inode
  editor: ExtentEditor
  newest: Staged
  intervals: readonly Interval[]
  /** Staged writes up to this number are in the file already. */
  through: number
  end: number
}

/** Staged writes that one record will cover, and of each file the ranges that survive. */
interface Batch {
  last: Staged
  bytes: number
  files: Map<Ino, BatchFile>
}

/** The surviving ranges of a batch, one behind the other, as they lie in its chunk. */
function* layOut({ files }: Batch): Generator<ChunkPiece & { interval: Interval }> {
  let at = 0
  for (const [ino, { intervals }] of files) {
    for (const interval of intervals.list) {
      const length = interval.to - interval.from
      yield { ino, offset: interval.from, length, at, interval }
      at += length
    }
  }
}

/** Drafts one record; null when there is nothing to do after all. */
type Make = (
  draft: Draft,
  atHand: ExtentsAtHand,
) => {
  /** Staged bytes that `draft.covers` covers. */
  stagedBytes?: number
} | null

interface Drafted {
  draft: Draft
  more: ReturnType<Make>
}

/** A record of the engine's own that is in the journal. */
interface Made {
  changes: Change[]
  ends: ChunkEnd[]
  head: JournalHead
  covers: number | null
  stagedBytes: number
}

function draftOf(view: View, kept: KeptExtents, make: Make): Drafted {
  const atHand = new ExtentsAtHand(view, kept)
  const draft = new Draft(atHand)
  return { draft, more: make(draft, atHand) }
}

/** Chunks that may be on their way to the drives at once: enough to keep a drive busy while the next is sealed. */
const PUTS_MAX = 3
/** Files whose new state goes into one record, so that the lock is held for milliseconds. */
const FILES_PER_BATCH = 256
/** A few small files travel in the record; many become one chunk. */
const INLINE_FILES_MAX = 4
/** Somebody waits: a record is there sooner than a chunk. */
const INLINE_FILES_WANTED_MAX = 64
const NO_SPACE_RETRY_MS = 500
/** Extents that one record gives back at most, so that it stays small and the lock short. */
const PURGED_EXTENTS_MAX = 8192
/** From so many separate ranges on, a file's extents between them are read in one go, if they are not far more. */
const INTERVALS_SCANNED_MIN = 4
const EXTENTS_PER_INTERVAL_MAX = 16
/** Bounds the back-pointer of a chunk (limits.chunkBackPointerBytesMax). */
const WRITES_PER_BATCH = 8192
/**
 * The view may be this far behind while nobody waits for it: what records change again and again, a directory's inode,
 * the totals, is then written once for all of them.
 */
const FOLLOW_MS = 100
const FOLLOW_RECORDS = 1000
/** Between two turns that nobody asked for. */
const TURN_MS_MIN = 20
/** Staging keeps its memory this long after the last commit. */
const IDLE_SEGMENTS_MS = 2000
/** Ended chunks deleted beside writers in one turn: more than one turn ends, mostly. */
const ENDED_PER_TURN = 8
/** A pass of reclaim beside writers ends soon after this. */
const PASS_BESIDE_WRITERS_MS = 20
/** Passes before the next batch when the drives are nearly full: each writes a chunk at most. */
const PASSES_WHEN_DRY = 8
const SYNC_MS = 1000
const PROBE_BYTES = 4096
/** A volume is closed beside a probe that still waits then: for another copy, its own file being written. */
const PROBE_ENDS_MS = 1000

/**
 * The engine of one volume: applies the journal to the view, commits staged writes, answers fsync, gives back space.
 * It runs in its own thread beside the thread that answers the kernel; the two meet in the shared state, the journal
 * and the staging log only, so that what a crash leaves is what the engine reads anyway.
 */
export class Engine {
  readonly volume: LocalVolume
  readonly #log: Log
  readonly #clock: Clock
  readonly #random: Random
  readonly #staging: StagingReader
  readonly #checkpoints: Checkpoints
  readonly #reclaim: Reclaim
  readonly #kept = new KeptExtents()
  readonly #syncs: SyncRequest[] = []
  /** Chunks whose last use a record dropped; deleted once that record is stable (rule 6). */
  readonly #ended: { seq: number; chunk: ChunkEnd }[] = []
  /** Buffers of finished puts: fresh memory costs a page fault for every 4 KiB. */
  readonly #plains: Buffer[] = []
  #stagedSegment = 0
  #spares = false
  #droppedThrough = 0
  #seenCommitted = 0
  #seenCommittedMs = 0
  #taken = 0
  #takenAt: { segment: number; at: number } | undefined
  #followedMs = 0
  #commits: Promise<void> = Promise.resolve()
  #syncing: Promise<void> = Promise.resolve()
  /** Sequence of the last record of staged data: what an fsync rests on. */
  #lastCommit = 0
  /** The last sync of the other copies that was begun. */
  #shipped = { seq: 0, done: Promise.resolve() }
  #putsInFlight = 0
  #putDone: (() => void) | null = null
  readonly #quiet: Quiet
  #running: Promise<void> | null = null
  #again = false
  #stopped = false
  /** Of the probe under way. */
  #probed: ChunkId | null = null
  #probing: Promise<void> = Promise.resolve()
  /** Nothing is probed any more. */
  #closing = false
  /** Nothing will be synced any more. */
  #over = false
  #noSpaceUntilMs = 0
  /** When staged writes that are not taken yet were first seen; 0 for none. */
  #stagedSinceMs = 0
  #lastSyncMs: number
  #lastSpaceMs = 0
  #cancelTimer: (() => void) | null = null

  constructor(volume: LocalVolume, world: { log: Log; clock: Clock; random: Random }) {
    this.volume = volume
    this.#log = world.log
    this.#clock = world.clock
    this.#random = world.random
    this.#staging = new StagingReader(volume.opening.stagingDirectory)
    this.#checkpoints = new Checkpoints(volume, world)
    this.#reclaim = new Reclaim(volume, world)
    this.#reclaim.survey()
    this.#quiet = new Quiet(volume.shared, world.clock)
    this.#taken = volume.shared.committedNumber
    this.#lastSyncMs = this.#clock.monotonicMs()
    this.measureSpace()
  }

  get checkpoints(): Checkpoints {
    return this.#checkpoints
  }

  /** Under the lock, over a view with every record applied: for repairs that are no record. */
  locked<T>(work: () => T): T {
    const { shared } = this.volume
    this.follow()
    shared.lock()
    try {
      this.#followTo(shared.seq)
      this.#kept.clear()
      return work()
    } finally {
      shared.unlock()
    }
  }

  /** Something was appended or staged; also called by the timer. */
  wake(): void {
    if (this.#stopped) return
    if (this.#running) {
      this.#again = true
      return
    }
    this.#cancelTimer?.()
    this.#cancelTimer = null
    this.#running = this.#run()
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#running = null
        if (this.#again) {
          this.#again = false
          this.wake()
        }
      })
  }

  /** fsync: answered when all staged up to `stagedNumber` and all records up to `seq` are on stable storage. */
  sync(request: SyncRequest): void {
    if (this.#over) {
      request.done(-errnoOf('EIO'))
      return
    }
    const { shared } = this.volume
    if (request.stagedNumber > shared.flushWanted) shared.flushWanted = request.stagedNumber
    this.#syncs.push(request)
    this.wake()
  }

  /**
   * What a program's write, fsync and read do, of no file: a few random bytes, sealed, as a chunk on every copy that counts;
   * a record that begins and ends it, on stable storage on every copy in sync; and the bytes read back, unsealed here and as
   * the other copies have them. No name, inode or quota has any of it. The chunk goes as any goes whose last use a record
   * dropped (§6.6), the record with its journal file at the next checkpoint but one.
   * @param id of the chunk, never used before
   * @throws FsError as an fsync; EIO when other bytes come back; ECANCELED when the volume is being closed; EBUSY
   */
  async probe(id: ChunkId): Promise<void> {
    if (this.#probed !== null) throw new FsError('EBUSY', 'probe', { volume: this.volume.id })
    this.#mayProbe()
    this.#probed = id
    const probing = this.#probe(id).finally(() => {
      this.#probed = null
      // For the chunk to go.
      this.wake()
    })
    this.#probing = probing.catch(() => {})
    await probing
  }

  async #probe(id: ChunkId): Promise<void> {
    const { volume } = this
    const plain = this.#random.bytes(PROBE_BYTES)
    const chunk = await this.#putProbe(id, plain)
    let seq = 0
    try {
      await nameChunk(volume, chunk, () => {
        seq = this.#commitProbe(id)
      })
      await this.#untilSynced(seq)
      this.#mayProbe()
      this.#mustBe(chunk, plain)
      await volume.replicas?.readBack(id)
    } finally {
      this.#ended.push({ seq, chunk })
    }
  }

  /** One that fails leaves nothing on the copies that took it: it may fail every half minute for days. */
  async #putProbe(id: ChunkId, plain: Buffer): Promise<SealedChunk> {
    const { volume } = this
    try {
      return await putPieces(volume, id, plain, plain.length, [])
    } catch (error) {
      if (!this.#closing) volume.replicas?.deleteChunk(id, volume.shared.committed as RecordSeq)
      throw error
    }
  }

  /** After every wait: a volume that is closed, or stopped, is left alone. */
  #mayProbe(): void {
    const { volume } = this
    if (volume.shared.stopped) throw volume.stoppedError()
    if (!this.#closing) return
    throw new FsError('ECANCELED', 'probe', { message: 'the volume is being closed' })
  }

  /** @returns the record's sequence */
  #commitProbe(id: ChunkId): number {
    this.#mayProbe()
    // It is no use of the volume: reclaim need not stand back for it.
    this.#quiet.except(() =>
      this.commit((draft) => {
        draft.besides = { begins: [id], ends: [id] }
        return {}
      }),
    )
    return this.volume.shared.engineSeq
  }

  async #untilSynced(seq: number): Promise<void> {
    const { id } = this.volume
    await new Promise<void>((resolve, reject) => {
      const done = (errno: number, why?: unknown) => {
        if (errno === 0) resolve()
        else reject(why instanceof FsError ? why : new FsError('EIO', 'probe', { volume: id }))
      }
      this.sync({ stagedNumber: 0, seq, done })
    })
  }

  /** Read from the drive, which has just taken it past the page cache. */
  #mustBe({ id, drive }: SealedChunk, plain: Buffer): void {
    const { chunks, reader } = this.volume
    const read = Buffer.alloc(plain.length)
    let cause: unknown
    try {
      chunks.readSync(id, drive, reader, 0, plain.length, read, 0)
      if (read.equals(plain)) return
    } catch (error) {
      if (!(error instanceof CorruptError)) throw error
      cause = error
    } finally {
      chunks.forget(id)
    }
    throw new FsError('EIO', 'probe', {
      chunk: id,
      drive,
      cause,
      message: `drive ${drive} of this node does not give back what it has just stored`,
    })
  }

  /** Give back nameless inodes that the kernel forgot: extents, attributes, space. */
  purge(inos: readonly Ino[]): void {
    let left = [...inos]
    while (left.length > 0) {
      const purged = new Set<Ino>()
      this.#commitDrafted((draft) => {
        purged.clear()
        for (const ino of left) {
          if (draft.get(keys.orphanKey(ino)) && !draft.purge(ino, PURGED_EXTENTS_MAX)) break
          purged.add(ino)
        }
        return {}
      })
      left = left.filter((ino) => !purged.has(ino))
    }
  }

  /** All accepted writes committed and stable, view applied. */
  async settle(): Promise<void> {
    const { shared } = this.volume
    await new Promise<void>((resolve, reject) => {
      this.sync({
        stagedNumber: shared.stagedNumber,
        seq: shared.seq,
        done: (errno) =>
          errno === 0
            ? resolve()
            : reject(new FsError('EIO', 'settle', { volume: this.volume.id })),
      })
    })
    this.follow()
  }

  /** Settles, unless another node owns the volume, then ends the engine; the volume is the caller's to close. */
  async stop(): Promise<void> {
    this.#closing = true
    if (!this.volume.shared.isLost) {
      await Promise.race([this.#probing, sleep(this.#clock, PROBE_ENDS_MS)])
      await this.settle()
    }
    this.#stopped = true
    await this.#checkpoints.stop()
    // Reclaim may be in the middle of a pass.
    await this.#running
    this.#cancelTimer?.()
    this.#over = true
    // What they wait for will not come: the volume was lost, or they came while it was being let go.
    this.#refuseSyncs()
    this.#staging.close()
    dropStaging(this.volume.opening.stagingDirectory)
  }

  /** What the volume takes; walks the chunk table. */
  figures(): EngineFigures {
    const { volume } = this
    this.follow()
    const end = Buffer.of(keys.KIND.chunk + 1)
    const drives = new Set<string>()
    const figures = { chunks: 0, storedBytes: 0, liveBytes: 0 }
    for (const [key, value] of volume.view.range(Buffer.of(keys.KIND.chunk), end)) {
      const info = decodeChunkInfo(value)
      figures.chunks++
      figures.storedBytes += info.storedBytes
      figures.liveBytes += info.liveBytes
      drives.add(this.#driveOf(keys.chunkOfKey(key), info.drive))
    }
    return {
      ...figures,
      records: volume.shared.seq,
      journalBytes: volume.journal.bytes(),
      drives: [...drives],
    }
  }

  /** Where a chunk is now: drives are emptied, and taken out, and volumes go to other classes. */
  #driveOf(id: ChunkId, put: DriveId): DriveId {
    const { drives, chunks, shared } = this.volume
    const isRight = ({ cos }: Drive) => shared.cos === null || shared.cos === cos
    if (drives.some((one) => one.id === put && takesData(one) && isRight(one))) return put
    const order = [...drives].sort((a, b) => Number(takesData(b)) - Number(takesData(a)))
    return order.find((one) => chunks.has(id, one.id))?.id ?? put
  }

  measureSpace(): void {
    const now = this.#clock.monotonicMs()
    if (now - this.#lastSpaceMs < 250) return
    this.#lastSpaceMs = now
    this.volume.measureSpace()
  }

  async #run(): Promise<void> {
    const { shared } = this.volume
    for (;;) {
      this.#followWhenDue()
      if (shared.forgotten.count > 0) this.purge(shared.forgotten.take())
      const flushed = await this.#flushOnce()
      if (this.#syncs.length > 0) await this.#answerSyncs()
      this.measureSpace()
      const now = this.#clock.monotonicMs()
      if (now - this.#lastSyncMs >= SYNC_MS && shared.synced < shared.seq) {
        // Nobody waits for it here; if it fails, the next who does is told.
        this.volume.replicas?.sync(shared.seq as RecordSeq).catch(() => {})
        await this.#syncJournal()
      }
      await this.#makeRoom()
      this.#checkpoints.maybeTake((make) => this.commit(make))
      if (this.#stopped) return
      if (this.#syncs.length > 0 || flushed) continue
      await this.#deleteEnded(Number.POSITIVE_INFINITY)
      if (this.#idleEnough() && (await this.#passWhenQuiet())) continue
      break
    }
    const busy =
      shared.applied < shared.seq ||
      shared.stagedNumber > shared.committedNumber ||
      shared.synced < shared.seq ||
      this.#ended.length > 0
    if (!busy) {
      const idleMs = this.#dropIdleSegments()
      const reclaimMs = this.#reclaim.waitMs(this.#quiet.ms())
      const waitMs = Math.min(
        idleMs || Number.POSITIVE_INFINITY,
        reclaimMs ?? Number.POSITIVE_INFINITY,
      )
      if (waitMs < Number.POSITIVE_INFINITY) {
        this.#cancelTimer = this.#clock.after(waitMs, () => this.wake())
      }
      shared.engineSleeps()
      const missed =
        shared.applied < shared.seq ||
        shared.stagedNumber > shared.committedNumber ||
        shared.forgotten.count > 0
      if (missed) {
        shared.takeEngineSleeps()
        this.#again = true
      }
      return
    }
    this.#cancelTimer = this.#clock.after(this.#nextTurnMs(), () => this.wake())
  }

  /** Nothing was staged for a while: its memory is given back. @returns ms until that is due, 0 when it is done */
  #dropIdleSegments(): number {
    const { stagingDirectory } = this.volume.opening
    const { committedNumber } = this.volume.shared
    if (!this.#spares && committedNumber === this.#droppedThrough) return 0
    const now = this.#clock.monotonicMs()
    if (committedNumber !== this.#seenCommitted) {
      this.#seenCommitted = committedNumber
      this.#seenCommittedMs = now
    }
    const waitMs = this.#seenCommittedMs + IDLE_SEGMENTS_MS - now
    if (waitMs > 0) return waitMs
    dropCommittedSegments(stagingDirectory, committedNumber, 0)
    dropSpareSegments(stagingDirectory)
    this.#kept.clear()
    this.#droppedThrough = committedNumber
    this.#spares = false
    return 0
  }

  /** Until something is due by its age; what cannot wait wakes the engine. */
  #nextTurnMs(): number {
    const { shared } = this.volume
    const now = this.#clock.monotonicMs()
    const follow = this.#followedMs + FOLLOW_MS - now
    const flush = this.#stagedSinceMs + limits.stagingMsMax - now
    const sync = this.#lastSyncMs + SYNC_MS - now
    const staged = shared.stagedNumber > shared.committedNumber
    const waits = [sync]
    if (staged) waits.push(flush)
    if (shared.applied < shared.seq) waits.push(follow)
    return Math.max(TURN_MS_MIN, Math.min(...waits))
  }

  #followWhenDue(): void {
    const { shared } = this.volume
    const behind = shared.seq - shared.applied
    if (behind === 0) return
    const due =
      behind >= FOLLOW_RECORDS ||
      shared.followWanted > shared.applied ||
      this.#clock.monotonicMs() - this.#followedMs >= FOLLOW_MS
    if (due) this.follow()
  }

  /** Apply every record the log has by now, in transactions of a bounded number of changes. */
  follow(): void {
    const { shared } = this.volume
    shared.lock()
    const { seq } = shared
    shared.unlock()
    this.#followTo(seq)
    this.#ship(seq)
    this.#followedMs = this.#clock.monotonicMs()
  }

  /**
   * Chunks that records use, and those whose last use a record dropped that may not be committed: they are not deleted
   * yet, and a copy whose log ends sooner needs them. Those of checkpoints too. Walks the chunk table.
   */
  chunksInUse(): ChunkId[] {
    this.follow()
    const end = Buffer.of(keys.KIND.chunk + 1)
    const chunks = this.#ended.map(({ chunk }) => chunk.id)
    chunks.push(...this.#checkpoints.named)
    for (const key of this.volume.view.keys(Buffer.of(keys.KIND.chunk), end)) {
      chunks.push(keys.chunkOfKey(key))
    }
    return chunks
  }

  /** Of these chunks those that nothing uses, with every record up to `seq` looked at. */
  unnamed(chunks: readonly ChunkId[]): { chunks: ChunkId[]; seq: RecordSeq } {
    this.follow()
    const used = new Set([
      ...this.#ended.map(({ chunk }) => chunk.id),
      ...(this.#probed === null ? [] : [this.#probed]),
      ...this.#checkpoints.chunks().map(({ id }) => id),
    ])
    return {
      chunks: chunks.filter((id) => !used.has(id) && !isNamed(this.volume, id)),
      seq: this.volume.shared.applied as RecordSeq,
    }
  }

  /** Every change that the view takes passes here. */
  #noteChange(change: Change): void {
    this.#reclaim.note(change)
    this.#kept.note(change)
  }

  #followTo(seq: number): void {
    const { volume } = this
    const { shared } = volume
    if (shared.applied >= seq) return
    let head = volume.view.head()
    assert(head !== null, 'a volume in use has a view with a head')
    let pending = new Map<string, Change>()
    for (const record of volume.records(head, seq as RecordSeq)) {
      assert(record.body !== null, 'the engine holds the keys')
      for (const id of record.header.ends) this.#noteEnded(id, record.header.seq)
      for (const change of decodeChanges(record.body)) {
        this.#noteChange(change)
        pending.set(change.key.toString('latin1'), change)
      }
      head = record.head
      if (pending.size >= 2048) {
        volume.view.apply(pending.values(), head)
        pending = new Map()
      }
    }
    if (pending.size > 0) volume.view.apply(pending.values(), head)
    shared.applied = head.seq
    shared.announceProgress()
  }

  /** A chunk that a record of the front ended: found where it lies, because the view may have forgotten it. */
  #noteEnded(id: ChunkId, seq: number): void {
    const drive = this.volume.drives.find((one) => this.volume.chunks.has(id, one.id))
    if (drive) this.#ended.push({ seq, chunk: { id, drive: drive.id } })
  }

  /** Take one batch of staged writes, if one is due, and start its way to the drives. True when there was one. */
  async #flushOnce(): Promise<boolean> {
    const { shared } = this.volume
    if (this.#noSpaceUntilMs > 0 && !(await this.#retrySpace())) return false
    this.#passCommitted()
    if (shared.stagedNumber <= this.#taken) return false
    const now = this.#clock.monotonicMs()
    const wanted = shared.flushWanted > this.#taken
    const bytes = shared.stagedBytes - shared.committedBytes
    const full = bytes >= limits.chunkBytesMax
    if (this.#stagedSinceMs === 0) this.#stagedSinceMs = now
    if (!wanted && !full && now - this.#stagedSinceMs < limits.stagingMsMax) return false
    const batch = this.#claimBatch(wanted && !full ? shared.flushWanted : shared.stagedNumber)
    if (!batch) return false
    this.#stagedSinceMs = 0
    const filesMax = wanted ? INLINE_FILES_WANTED_MAX : INLINE_FILES_MAX
    let withData = 0
    for (const { intervals } of batch.files.values()) if (intervals.list.length > 0) withData++
    if (batch.bytes <= limits.inlineBytesMax && withData <= filesMax) {
      await this.#commits
      this.#commitInline(batch)
      return true
    }
    while (this.#putsInFlight >= PUTS_MAX) {
      await new Promise<void>((resolve) => {
        this.#putDone = resolve
      })
    }
    this.#commits = this.#putAndCommit(batch, this.#commits)
    this.#commits.catch((error: unknown) => this.#putFailed(error))
    return true
  }

  /** Commits come in the order of the staged writes, whatever put ends first. */
  async #putAndCommit(batch: Batch, before: Promise<void>): Promise<void> {
    this.#putsInFlight++
    try {
      const chunk = await this.#putChunk(batch)
      try {
        await before
        await nameChunk(this.volume, chunk, () => this.#commitChunk(batch, chunk))
      } catch (error) {
        // Nothing was appended, so nobody will name the chunk. After any other failure a record may.
        if (codeOf(error) === 'ENOSPC') this.#ended.push({ seq: 0, chunk })
        throw error
      }
    } finally {
      this.#putsInFlight--
      this.#putDone?.()
      this.#putDone = null
    }
  }

  /** A full drive keeps the data staged and answers ENOSPC until there is room; anything else ends the volume. */
  #putFailed(error: unknown): void {
    if (codeOf(error) !== 'ENOSPC') {
      this.#fail(error)
      return
    }
    this.#noSpaceUntilMs = this.#clock.monotonicMs() + NO_SPACE_RETRY_MS
    for (const sync of this.#syncs.splice(0)) sync.done(-errnoOf('ENOSPC'), error)
  }

  /** After a put found no room: begin again behind the last commit, when all puts have ended and a moment passed. */
  async #retrySpace(): Promise<boolean> {
    if (this.#putsInFlight > 0 || this.#clock.monotonicMs() < this.#noSpaceUntilMs) return false
    this.#noSpaceUntilMs = 0
    this.#commits = Promise.resolve()
    this.#taken = this.volume.shared.committedNumber
    this.volume.shared.takenNumber = this.#taken
    this.#takenAt = undefined
    return true
  }

  /** The mount's thread may have committed small writes itself, while nothing was in our hands. */
  #passCommitted(): void {
    const { committedNumber } = this.volume.shared
    if (committedNumber <= this.#taken) return
    this.#taken = committedNumber
    this.#takenAt = undefined
    this.#stagedSinceMs = 0
  }

  /** Claimed before it is read: from then on the mount's thread leaves these writes alone. */
  #claimBatch(upTo: number): Batch | null {
    const { shared } = this.volume
    shared.lock()
    this.#passCommitted()
    shared.takenNumber = upTo
    shared.unlock()
    const batch = this.#takeBatch(upTo)
    shared.takenNumber = this.#taken
    return batch
  }

  #takeBatch(upTo: number): Batch | null {
    const files: Batch['files'] = new Map()
    let bytes = 0
    let last: Staged | null = null
    let writes = 0
    for (const staged of this.#staging.scan(this.#taken, upTo, this.#takenAt)) {
      let file = files.get(staged.ino)
      if (last && bytes + staged.length > limits.chunkBytesMax) break
      if (++writes > WRITES_PER_BATCH) break
      if (!file) {
        if (files.size >= FILES_PER_BATCH) break
        file = { intervals: new Intervals(), newest: staged }
        files.set(staged.ino, file)
      }
      file.intervals.insert(staged)
      file.newest = staged
      bytes += staged.length
      last = staged
    }
    if (!last) return null
    this.#taken = last.number
    this.#takenAt = { segment: last.segment, at: last.at + last.length }
    return { last, bytes, files }
  }

  /** The surviving bytes of a batch as one chunk, sealed here, written by the thread pool. */
  async #putChunk(batch: Batch): Promise<SealedChunk> {
    const { volume } = this
    const plain = this.#plains.pop() ?? Buffer.allocUnsafeSlow(limits.chunkBytesMax)
    const pieces: ChunkPiece[] = []
    let bytes = 0
    for (const { ino, offset, length, at, interval } of layOut(batch)) {
      this.#staging.read(interval.staged, interval.skip, plain, at, length)
      pieces.push({ ino, offset, length, at })
      bytes = at + length
    }
    try {
      // Sealed before the call returns: the plain bytes are free again.
      return await putPieces(volume, newId<ChunkId>(this.#random), plain, bytes, pieces)
    } finally {
      this.#plains.push(plain)
    }
  }

  #commitInline(batch: Batch): void {
    this.#commitFiles(batch, (_draft, files) => {
      for (const { editor, intervals } of files.values()) {
        putInline(editor, intervals, this.#staging)
      }
    })
  }

  #commitChunk(batch: Batch, chunk: SealedChunk): void {
    let used = false
    this.#commitFiles(batch, (draft, files) => {
      draft.addChunk(chunk.id, chunk)
      used = false
      for (const { ino, offset, length, at, interval } of layOut(batch)) {
        const file = files.get(ino)
        if (!file || interval.staged.number <= file.through) continue
        used = true
        file.editor.carve(offset, offset + length)
        file.editor.put(offset, { kind: 'chunk', length, chunk: chunk.id, at })
      }
    })
    // Every file of it was deleted or committed otherwise meanwhile: nobody will ever name this chunk.
    if (!used) this.#ended.push({ seq: this.volume.shared.seq, chunk })
  }

  /** One record for a batch: extents by `place`, sizes, times, and the last staged number it covers. */
  #commitFiles(
    batch: Batch,
    place: (draft: Draft, files: ReadonlyMap<Ino, EditedFile>) => void,
  ): void {
    const { shared } = this.volume
    this.#commitDrafted((draft, atHand) => {
      const files = new Map<Ino, EditedFile>()
      for (const [ino, { intervals: staged, newest }] of batch.files) {
        const inode = draft.inode(ino)
        if (!inode) continue
        const { dataThrough: through } = inode
        // The thread that answers the kernel has committed these writes itself.
        if (newest.number <= through) continue
        const intervals = staged.list.filter((one) => one.staged.number > through)
        const [first] = intervals
        const last = intervals.at(-1)
        if (first && last && intervals.length >= INTERVALS_SCANNED_MIN) {
          atHand.load(ino, first.from, last.to, intervals.length * EXTENTS_PER_INTERVAL_MAX)
        }
        const editor = new ExtentEditor(draft, ino)
        files.set(ino, { inode, editor, newest, intervals, through, end: last?.to ?? 0 })
      }
      place(draft, files)
      for (const [ino, { inode, editor, newest, end }] of files) {
        coverStaged(inode, end, newest, editor.bytesDelta)
        inode.version = shared.seq + 1
        draft.putInode(ino, inode)
      }
      draft.covers = batch.last.number
      return { stagedBytes: batch.bytes }
    })
    if (batch.last.segment !== this.#stagedSegment) {
      this.#stagedSegment = batch.last.segment
      this.#spares = true
      this.#staging.closeBelow(batch.last.segment)
      dropCommittedSegments(
        this.volume.opening.stagingDirectory,
        batch.last.number,
        limits.stagingBytesMax / STAGED_SEGMENT_BYTES,
      )
    }
  }

  /**
   * Make a record under the lock, over a view with every earlier record applied. The view takes it when the lock is given
   * back: what others append meanwhile has nothing to do with it, or waits (`shared.engineBehind`).
   */
  commit(make: Make): boolean {
    const { volume } = this
    const { shared } = volume
    this.follow()
    shared.lock()
    let made: Made | null
    try {
      this.#followTo(shared.seq)
      made = this.#append(draftOf(volume.view, this.#kept, make))
    } finally {
      shared.unlock()
    }
    if (made) this.#applyOwn(made)
    return made !== null
  }

  /**
   * As `commit`, for large records that may be made twice: drafted without the lock, so that nobody waits for that, and
   * appended unless somebody changed one of the same inodes or chunks meanwhile.
   */
  #commitDrafted(make: Make): void {
    const { volume } = this
    const { shared } = volume
    shared.lock()
    shared.touchedByOthers.clear()
    const { seq } = shared
    shared.unlock()
    this.#followTo(seq)
    const drafted = draftOf(volume.view, this.#kept, make)
    let made: Made | null = null
    shared.lock()
    try {
      made = this.#append(drafted, shared.touchedByOthers)
    } catch (error) {
      if (error !== TOUCHED) throw error
    } finally {
      shared.unlock()
    }
    if (made) this.#applyOwn(made)
    else this.commit(make)
  }

  /** Under the lock. @throws TOUCHED */
  #append({ draft, more }: Drafted, apartFrom?: Touched): Made | null {
    if (!more) return null
    const { volume } = this
    const { shared } = volume
    const apart = apartFrom ? { apartFrom } : {}
    const { changes, ends, seq } = volume.append(draft, { urgent: true, ...apart })
    shared.touchedByEngine.clear()
    shared.touchedByEngine.add(changes)
    shared.foreign.note(changes)
    shared.engineSeq = seq
    const { stagedBytes = 0 } = more
    return { changes, ends, head: shared.head, covers: draft.covers, stagedBytes }
  }

  /** Without the lock: the view takes a record of the engine's own. */
  #applyOwn({ changes, ends, head, covers, stagedBytes }: Made): void {
    const { shared, view } = this.volume
    const { seq } = head
    this.#lastCommit = seq
    this.#ship(seq)
    // Whoever waits for the drive waits while the view takes the record, not after.
    if (this.#syncs.length > 0) this.#startSync(head)
    // Records of others that came before it and that it has nothing to do with.
    this.#followTo((seq - 1) as RecordSeq)
    view.apply(changes, head)
    for (const chunk of ends) this.#ended.push({ seq, chunk })
    for (const change of changes) this.#noteChange(change)
    // In this order: who finds the engine's record applied has also been told to look at everything anew, and then finds
    // the staged writes that it covers committed.
    shared.committedBytes += stagedBytes
    if (covers !== null) shared.committedNumber = covers
    shared.countForeignChange()
    shared.applied = seq
    shared.announceProgress()
  }

  async #answerSyncs(): Promise<void> {
    const { shared } = this.volume
    const ready = this.#syncs.filter((sync) => sync.stagedNumber <= this.#taken)
    if (ready.length === 0) return
    for (const sync of ready) this.#syncs.splice(this.#syncs.indexOf(sync), 1)
    let errno = 0
    let why: unknown
    try {
      await this.#commits
      await this.#syncing
      const wanted = Math.max(this.#lastCommit, ...ready.map((sync) => sync.seq)) as RecordSeq
      const others = this.#shipped.seq >= wanted ? this.#shipped.done : this.#shipAndSync(wanted)
      if (shared.synced < wanted) await this.#syncJournal()
      await others
    } catch (error) {
      this.#log.error(
        { op: 'fsync', volume: this.volume.id, error: messageOf(error) },
        'sync failed',
      )
      errno = error instanceof FsError ? error.errno : -5
      why = error
    }
    for (const sync of ready) sync.done(errno, why)
  }

  /** What was appended goes to the other copies; at once to be made durable there when somebody waits for that. */
  #ship(seq: number): void {
    if (this.#syncs.length > 0) void this.#shipAndSync(seq)
    else this.volume.replicas?.appended()
  }

  #shipAndSync(seq: number): Promise<void> {
    const { replicas } = this.volume
    if (!replicas || this.#shipped.seq >= seq) return this.#shipped.done
    const done = replicas.sync(seq as RecordSeq)
    // Told to whoever awaits it.
    done.catch(() => {})
    this.#shipped = { seq, done }
    return done
  }

  async #syncJournal(): Promise<void> {
    const { shared } = this.volume
    // Under the lock: a head half moved could name a record of the next file with the file before.
    shared.lock()
    const { head } = shared
    shared.unlock()
    this.#startSync(head)
    await this.#syncing
  }

  /** Begin a sync of the journal up to `head`; `#syncing` settles with it, and with those begun before. */
  #startSync(head: JournalHead): void {
    const { shared } = this.volume
    const before = this.#syncing
    const sync = this.volume.journal.syncAsync(head)
    this.#syncing = (async () => {
      await sync
      await before
      this.#lastSyncMs = this.#clock.monotonicMs()
      shared.syncedThrough(head.seq)
    })()
    // Told to whoever awaits it; a failed sync has poisoned the journal besides.
    this.#syncing.catch(() => {})
  }

  async #deleteEnded(countMax: number): Promise<void> {
    const { shared } = this.volume
    for (let left = countMax; left > 0; left--) {
      const [first] = this.#ended
      if (!first || first.seq > Math.min(shared.synced, shared.committed)) return
      this.#ended.shift()
      await this.#delete(first.chunk)
      this.volume.replicas?.deleteChunk(first.chunk.id, first.seq as RecordSeq)
    }
  }

  /** One whose drive fails stays on it: nothing names it, and a sweep finds it if the drive is ever used again. */
  async #delete({ id, drive }: { id: ChunkId; drive: DriveId }): Promise<void> {
    try {
      await this.volume.chunks.delete(id, drive)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      this.#log.warn({ op: 'chunk.delete', chunk: id, drive, error: error.message }, 'not deleted')
    }
  }

  /** Beside writers that never pause: what is dead goes, a little each turn, and more when room is short. */
  async #makeRoom(): Promise<void> {
    const { shared } = this.volume
    await this.#deleteEnded(ENDED_PER_TURN)
    const dry = () => {
      this.volume.measureSpace()
      return shared.freeBytes < limits.dryFreeBytes
    }
    // Who waits for an fsync waits for no pass while there is room.
    if (!dry() && this.#syncs.length > 0) return
    for (let passes = 1; passes <= PASSES_WHEN_DRY; passes++) {
      const found = this.#reclaim.pressing && (await this.#passBesideWriters())
      if (!dry()) return
      if (this.#ended.length > 0) {
        if (shared.synced < shared.seq) await this.#syncJournal()
        await this.#deleteEnded(Number.POSITIVE_INFINITY)
      }
      if (!found || !dry()) return
    }
  }

  async #passBesideWriters(): Promise<boolean> {
    const until = this.#clock.monotonicMs() + PASS_BESIDE_WRITERS_MS
    return await this.#reclaim.pass((make) => this.#quiet.except(() => this.commit(make)), {
      quiet: false,
      goOn: async () => this.#clock.monotonicMs() < until,
    })
  }

  async #passWhenQuiet(): Promise<boolean> {
    const quiet = () => this.#quiet.ms() >= limits.reclaimQuietMs
    return await this.#reclaim.pass((make) => this.#quiet.except(() => this.commit(make)), {
      quiet: quiet(),
      goOn: async () => {
        await new Promise((resolve) => setImmediate(resolve))
        return quiet() && this.#syncs.length === 0 && !this.#stopped
      },
    })
  }

  /** User I/O first: nothing waits to be committed. */
  #idleEnough(): boolean {
    const { shared } = this.volume
    return shared.stagedNumber === this.#taken && this.#putsInFlight === 0
  }

  /** Rule 7: a copy that failed is never tried again. Everyone who waits gets EIO. */
  #fail(error: unknown): void {
    this.#log.error(
      { op: 'engine', volume: this.volume.id, code: codeOf(error), error: messageOf(error) },
      'the volume stops',
    )
    this.volume.shared.state = VOLUME_STATE.failed
    this.#refuseSyncs(error)
  }

  #refuseSyncs(why?: unknown): void {
    for (const sync of this.#syncs.splice(0)) sync.done(-errnoOf('EIO'), why)
  }
}
