import {
  assert,
  type ChunkId,
  type Clock,
  type CopyId,
  CorruptError,
  codeOf,
  type Epoch,
  type NodeId,
  type RecordSeq,
  type VolumeId,
} from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import {
  beginAtCheckpoint,
  type Checkpoint,
  createJournal,
  finishBeginning,
  firstHead,
  Journal,
  type JournalHead,
  placeBehind,
  readCheckpoint,
  scan,
  splitRecords,
  startOfFile,
  tagOfRecord,
  writeCheckpoint,
} from '../journal/index.ts'
import { Grant } from '../lease/index.ts'
import type { Answer, DriveSet, OldChunks, Place, Refusal, Request } from './messages.ts'
import { type Promised, readPromise, writePromise } from './promise-file.ts'
import { RecentPlaces } from './recent-places.ts'
import { readWhole, writeWhole } from './whole-file.ts'

/** Sealed chunks of one copy, as stored. */
export interface CopyChunks {
  /** On stable storage when it is fulfilled; no error when it is there already. @throws FsError ENOSPC … */
  put(chunk: ChunkId, bytes: Buffer): Promise<void>
  has(chunk: ChunkId): boolean
  /** Those that chunks can be read from now. */
  drives(): DriveSet
  /** Null when it is not there or fails its checksum. */
  read(chunk: ChunkId): Promise<Buffer | null>
  delete(chunk: ChunkId): Promise<void>
  /** Reads all of it; what is there and not whole is moved aside. @returns null when there is none */
  check(chunk: ChunkId): Promise<{ readonly isWhole: boolean; readonly bytes: number } | null>
  /** Those of the volume in a part (0 to 255) that are old in that sense, at most `countMax`. */
  old(part: number, old: OldChunks, countMax: number): Promise<ChunkId[]>
}

export interface CopyWorld {
  readonly disk: Disk
  readonly clock: Clock
  readonly chunks: CopyChunks
  readonly termMs: number
  /** As JournalOptions. */
  readonly aheadBytes?: number
  readonly fileBytesMax?: number
}

export interface CopyIdentity {
  readonly volume: VolumeId
  readonly id: CopyId
  /** Of the journal; the promise stands beside it. */
  readonly directory: string
}

/** What appends to a copy's journal in its place, while its own node owns the volume. */
export interface LedLog {
  readonly epoch: Epoch
  /** From the return on nothing is appended or synced any more. @returns where the log ends */
  fence(): JournalHead
  readonly head: JournalHead
  readonly durable: RecordSeq
}

/** Records that a `read` hands out at most, so that an answer stays a frame. */
const READ_BYTES_MAX = 4 * 1024 * 1024
/** Chunks that a `listOld` tells of: the rest comes with the next sweep. */
const OLD_MAX = 4096

/**
 * One copy of a volume: its journal, its chunks, and what it has promised. It needs no key. Requests are carried out one
 * after the other, each judged when its turn comes: from a promise on, lower epochs in the queue are refused too, so the
 * end of the log that was reported with it is final (design §6.1). Chunks are stored beside that queue, several at once.
 */
export class Copy {
  readonly identity: CopyIdentity
  readonly #world: CopyWorld
  readonly #grant: Grant
  readonly #recent: RecentPlaces
  #journal: Journal
  #promised: Promised
  #head: JournalHead
  #checkpoint: Checkpoint | null
  #durable: RecordSeq
  /** Its node's drives when it was last found to have every chunk. */
  #wholeOn: DriveSet | null
  #damaged: string | null
  /** Found while its node owned the volume. */
  #foundDamaged: string | null = null
  #led: LedLog | null = null
  #fenced: () => void = () => {}
  #queue: Promise<unknown> = Promise.resolve()
  /** Chunks that are being stored, beside the queue. */
  readonly #puts = new Set<Promise<unknown>>()

  private constructor(
    identity: CopyIdentity,
    world: CopyWorld,
    state: {
      promised: Promised
      head: JournalHead
      checkpoint: Checkpoint | null
      wholeOn: DriveSet | null
      damaged: string | null
      silentFromMs: number
    },
  ) {
    this.identity = identity
    this.#world = world
    this.#promised = state.promised
    this.#head = state.head
    this.#durable = state.head.seq
    this.#checkpoint = state.checkpoint
    this.#wholeOn = state.wholeOn
    this.#damaged = state.damaged
    this.#grant = new Grant(world.termMs, state.promised.owner, state.silentFromMs)
    const { volume, directory } = identity
    this.#recent = new RecentPlaces({ disk: world.disk, volume, directory })
    this.#journal = this.#openJournal()
  }

  #openJournal(): Journal {
    const { disk, aheadBytes, fileBytesMax } = this.#world
    const { volume: volumeId, directory } = this.identity
    const ahead = aheadBytes === undefined ? {} : { aheadBytes }
    const most = fileBytesMax === undefined ? {} : { fileBytesMax }
    return new Journal({ disk, directory, volumeId, sealer: null, ...ahead, ...most })
  }

  /** A new, empty copy, durable. @throws FsError EEXIST where there is a journal */
  static create(identity: CopyIdentity, world: CopyWorld): Copy {
    const { volume, id, directory } = identity
    const head = createJournal(world.disk, directory, volume)
    // It is to have no chunk yet.
    const wholeOn = world.chunks.drives()
    writeWhole(world.disk, directory, wholeOn)
    const promised = { copy: id, epoch: 0 as Epoch, owner: null }
    writePromise(world.disk, directory, promised)
    const silentFromMs = Number.NEGATIVE_INFINITY
    const state = { promised, head, checkpoint: null, wholeOn, damaged: null, silentFromMs }
    return new Copy(identity, world, state)
  }

  /**
   * The copy that lies in the directory. A damaged one opens too, says so, and counts for nothing.
   * @throws FsError ENOENT where there is none; ENOTSUP; CorruptError when its promise cannot be read
   */
  static open(identity: Omit<CopyIdentity, 'id'>, world: CopyWorld): Copy {
    const { volume, directory } = identity
    const promised = readPromise(world.disk, directory)
    const silentFromMs = world.clock.monotonicMs()
    const wholeOn = readWhole(world.disk, directory)
    const state = { promised, wholeOn, silentFromMs, ...stateOf(world.disk, directory, volume) }
    const { head, damaged } = state
    const copy = new Copy({ ...identity, id: promised.copy }, world, state)
    // What a daemon left in the page cache is not durable because it can be read.
    if (damaged === null) copy.#journal.truncateTo(head)
    return copy
  }

  get promised(): Promised {
    return this.#promised
  }

  get head(): JournalHead {
    return this.#led?.head ?? this.#head
  }

  /** What it could begin anew from, with the log; null while the log begins at the start. */
  get checkpoint(): Checkpoint | null {
    return this.#checkpoint
  }

  get damaged(): string | null {
    return this.#damaged
  }

  /**
   * The node of this copy owns the volume now, and appends to the journal itself until it is fenced or gives it up.
   * @param fenced told behind that; by then another owner may have been promised the copy
   */
  lead(led: LedLog, fenced: () => void): void {
    assert(
      led.epoch === this.#promised.epoch,
      'an owner leads at the epoch that its own copy promised',
    )
    this.#led = led
    this.#fenced = fenced
    // It appends and cuts by itself: what is remembered of its places here may be wrong.
    this.#recent.clear()
  }

  /** The node of this copy owns the volume, or is about to. */
  get isLed(): boolean {
    return this.#led !== null
  }

  /** Nothing was ever asked of it but that it be there. */
  get isUnused(): boolean {
    return this.#damaged === null && this.#promised.epoch === 0 && this.head.seq === 0
  }

  /** The owner has given the volume up by itself. */
  unlead(): void {
    const led = this.#led
    if (!led) return
    this.#led = null
    this.#head = led.fence()
    this.#durable = led.durable
    this.#damaged ??= this.#foundDamaged
    this.#fenced()
  }

  /**
   * The candidate of this node, which was promised `epoch`, has taken another copy's log: what stands behind `end` goes.
   * @returns null when a higher epoch was promised since
   */
  endAt(epoch: Epoch, end: Place): JournalHead | null {
    if (epoch !== this.#promised.epoch) return null
    const place = this.#placeOf(end)
    assert(place !== null, 'a log that was taken is there')
    if (place.seq < this.#head.seq) this.#cut(place)
    return place
  }

  /** The place behind record `seq`, null where the log has none. */
  placeBehind(seq: RecordSeq): JournalHead | null {
    return this.placesBehind([seq])[0] ?? null
  }

  /** As RecentPlaces.behind. */
  placesBehind(seqs: readonly RecordSeq[]): (JournalHead | null)[] {
    return this.#recent.behind(seqs, this.head)
  }

  close(): void {
    this.#journal.close()
  }

  /** @throws ProtocolError for records that are none; what the disk throws, after which the copy is damaged */
  async handle(request: Request): Promise<Answer> {
    // What reads for long and changes nothing that an owner asks for stands in nobody's way.
    if (request.op === 'checkChunks') return await this.#checkChunks(request.chunks)
    if (request.op === 'checkLog') return this.#checkLog(request)
    // Looks at many files and orders nothing: records do not wait for it.
    if (request.op === 'listOld') return await this.#listOld(request)
    if (request.op === 'putChunk') return await this.#putChunk(request)
    return await this.#inTurn(() => this.#carryOut(request))
  }

  async #inTurn<T>(work: () => T | Promise<T>): Promise<T> {
    const before = this.#queue
    const done = (async () => {
      await before
      return await work()
    })()
    this.#queue = done.catch(() => {})
    return await done
  }

  /**
   * Beside the queue, so that records never wait for chunks. Judged twice: it changes nothing when it is refused, and says
   * nothing of a chunk that came to its place behind a promise to another.
   */
  async #putChunk(request: Request & { op: 'putChunk' }): Promise<Answer> {
    const isOwners =
      request.epoch === this.#promised.epoch && request.owner === this.#promised.owner
    // Only a new owner's first word changes what is promised, and that has its turn.
    const refused = isOwners
      ? this.#refuse(request)
      : await this.#inTurn(() => this.#refuse(request))
    if (refused) return refused
    const put = this.#world.chunks.put(request.chunk, request.bytes)
    this.#puts.add(put)
    try {
      await put
    } finally {
      this.#puts.delete(put)
    }
    return this.#refuse(request) ?? { kind: 'done' }
  }

  async #carryOut(request: Request): Promise<Answer> {
    const { clock, chunks } = this.#world
    switch (request.op) {
      case 'state': {
        const waitMs = this.#grant.waitMs(request.candidate, clock.monotonicMs())
        const { epoch } = this.#promised
        return { kind: 'state', promised: epoch, waitMs, end: this.head, damaged: this.#damaged }
      }
      case 'promise': {
        const refused = this.#refuse(request)
        if (refused) return refused
        return { kind: 'promised', end: this.#head }
      }
      case 'grant': {
        const refused = this.#refuse(request)
        if (refused) return refused
        const given = this.#grant.give(request.owner, clock.monotonicMs())
        assert(given, 'who may be promised an epoch may be granted the lease')
        const drives = chunks.drives()
        return { kind: 'granted', doubt: drives === this.#wholeOn ? null : drives }
      }
      case 'yield': {
        const refused = this.#refuse(request)
        if (refused) return refused
        this.#grant.end(request.owner)
        return { kind: 'done' }
      }
      case 'append':
        return this.#refuse(request) ?? (await this.#append(request))
      case 'tags':
        return {
          kind: 'tags',
          tags: this.placesBehind(request.seqs).map((place) => place?.chain ?? null),
        }
      case 'read':
        return this.#read(request.after, Math.min(request.bytesMax, READ_BYTES_MAX))
      case 'putChunk':
        return await this.#putChunk(request)
      case 'lacksChunks':
        // What is on its way to the drive counts once it is there.
        await Promise.allSettled(this.#puts)
        return { kind: 'lacks', chunks: request.chunks.filter((chunk) => !chunks.has(chunk)) }
      case 'whole':
        return this.#refuse(request) ?? this.#foundWhole(request.drives)
      case 'listOld':
        return await this.#listOld(request)
      case 'readChunk':
        return { kind: 'chunk', bytes: await chunks.read(request.chunk) }
      case 'checkChunks':
        return await this.#checkChunks(request.chunks)
      case 'checkLog':
        return this.#checkLog(request)
      case 'deleteChunks': {
        const refused = this.#refuse(request)
        if (refused) return refused
        if (this.head.seq < request.committed.seq) return { kind: 'apart', end: this.head }
        // What its own checkpoint needs goes with that: the owner's log may name another.
        const kept = new Set(this.#checkpoint?.chunks)
        for (const chunk of request.chunks) if (!kept.has(chunk)) await chunks.delete(chunk)
        return { kind: 'done' }
      }
      case 'checkpoint':
        return this.#refuse(request) ?? (await this.#takeCheckpoint(request.checkpoint))
      case 'begin':
        return this.#refuse(request) ?? this.#begin(request)
      case 'readCheckpoint':
        return {
          kind: 'checkpoint',
          volume: this.identity.volume,
          checkpoint: this.#checkpoint,
        }
    }
  }

  /** Other drives since: what was found says nothing of now. */
  #foundWhole(drives: DriveSet): Answer {
    const { disk, chunks } = this.#world
    if (drives === chunks.drives() && drives !== this.#wholeOn) {
      writeWhole(disk, this.identity.directory, drives)
      this.#wholeOn = drives
    }
    return { kind: 'done' }
  }

  async #checkChunks(chunks: readonly ChunkId[]): Promise<Answer> {
    const bad: ChunkId[] = []
    const missing: ChunkId[] = []
    let bytes = 0
    for (const chunk of chunks) {
      const checked = await this.#world.chunks.check(chunk)
      bytes += checked?.bytes ?? 0
      if (checked === null) missing.push(chunk)
      else if (!checked.isWhole) bad.push(chunk)
    }
    return { kind: 'checked', bytes, bad, missing }
  }

  /**
   * Every record again, checksum and chain, as far as it is on stable storage. Damage makes the copy a damaged one, at once
   * or, while its node owns the volume and serves from what it has in memory, when that ends.
   */
  #checkLog({ after, bytesMax }: Request & { op: 'checkLog' }): Answer {
    const { volume, directory } = this.identity
    const upTo = Math.min(this.#led?.durable ?? this.#durable, this.head.seq) as RecordSeq
    let end = Math.min(after, upTo) as RecordSeq
    let bytes = 0
    let damaged: string | null = this.#damaged ?? this.#foundDamaged
    try {
      const from = end === 0 ? null : placeBehind(this.#world.disk, directory, volume, end)
      // A log that was shortened meanwhile begins later: what is left of it is read.
      const steps = scan(this.#world.disk, directory, volume, from, null, { upTo })
      for (const { raw, head } of damaged === null && end < upTo ? steps : []) {
        bytes += raw.length
        end = head.seq
        if (bytes >= bytesMax) break
      }
    } catch (error) {
      if (!(error instanceof CorruptError)) throw error
      damaged = error.message
    }
    if (damaged !== null && this.#led) this.#foundDamaged = damaged
    else this.#damaged = damaged
    return { kind: 'checkedLog', end, bytes, damaged }
  }

  /** The log up to the place is durable and the chunks are here: then the file, and only then what is older goes. */
  async #takeCheckpoint(checkpoint: Checkpoint): Promise<Answer> {
    const { disk, chunks } = this.#world
    const { volume, directory } = this.identity
    const before = this.#checkpoint
    // Positions of checkpoints are committed, so all of them are of one log: a message that comes late changes nothing.
    if (before && before.newest.seq >= checkpoint.newest.seq) return { kind: 'done' }
    const place = this.#placeOf(checkpoint.newest)
    if (!place || !(await this.#isDurable(place.seq))) return { kind: 'apart', end: this.head }
    const lacking = checkpoint.chunks.filter((chunk) => !chunks.has(chunk))
    if (lacking.length > 0) return { kind: 'lacks', chunks: lacking }
    writeCheckpoint(disk, directory, volume, checkpoint)
    this.#checkpoint = checkpoint
    // What comes behind it is in files of its own, so that all in front of it can go with the next one.
    if (!this.#led) this.#head = this.#journal.rollOver(this.#head)
    const start = startOfFile(disk, directory, volume, checkpoint.oldest.seq)
    if (start) {
      this.#recent.dropThrough(start.seq)
      this.#journal.dropBefore(start.file)
    }
    const kept = new Set(checkpoint.chunks)
    for (const chunk of before?.chunks ?? []) if (!kept.has(chunk)) await this.#drop(chunk)
    return { kind: 'done' }
  }

  async #isDurable(seq: RecordSeq): Promise<boolean> {
    if (this.#led) return this.#led.durable >= seq
    if (this.#durable < seq) {
      const head = this.#head
      await this.#journal.syncAsync(head)
      this.#durable = head.seq
    }
    return true
  }

  /** Of a checkpoint that is past. One that a drive does not give up is swept later. */
  async #drop(chunk: ChunkId): Promise<void> {
    try {
      await this.#world.chunks.delete(chunk)
    } catch (error) {
      if (codeOf(error) === '') throw error
    }
  }

  /** Discard the log whole, which the owner's does not reach back to, and begin at a checkpoint. */
  #begin({ end, checkpoint }: Request & { op: 'begin' }): Answer {
    assert(this.#led === null, 'an owner does not begin the log anew that it leads')
    const { seq, chain } = this.#head
    // It was asked for of another log than this one is by now.
    if (seq !== end.seq || !chain.equals(end.chain)) return { kind: 'apart', end: this.#head }
    const { disk, chunks } = this.#world
    const lacking = checkpoint.chunks.filter((chunk) => !chunks.has(chunk))
    if (lacking.length > 0) return { kind: 'lacks', chunks: lacking }
    const { volume, directory } = this.identity
    this.#journal.close()
    this.#recent.clear()
    const head = beginAtCheckpoint(disk, directory, volume, checkpoint)
    this.#journal = this.#openJournal()
    this.#checkpoint = checkpoint
    this.#head = head
    this.#durable = head.seq
    return { kind: 'done' }
  }

  async #listOld({ part, old }: Request & { op: 'listOld' }): Promise<Answer> {
    return { kind: 'old', chunks: await this.#world.chunks.old(part, old, OLD_MAX) }
  }

  /** Null when the owner of this epoch may go on; a higher one is promised to it first, durably. */
  #refuse({ epoch, owner }: { epoch: Epoch; owner: NodeId }): Answer | null {
    const promised = this.#promised
    if (this.#damaged !== null) return this.#refusal('damaged', 0, this.#damaged)
    if (epoch < promised.epoch || (epoch === promised.epoch && owner !== promised.owner)) {
      const words = `epoch ${promised.epoch} is promised to node ${promised.owner ?? 'nobody'}`
      return this.#refusal('promised', 0, words)
    }
    if (epoch === promised.epoch) return null
    const waitMs = this.#grant.waitMs(owner, this.#world.clock.monotonicMs())
    if (waitMs > 0) {
      return this.#refusal(
        'leased',
        waitMs,
        `the lease of another owner lasts ${Math.ceil(waitMs)} ms`,
      )
    }
    this.#promise(epoch, owner)
    return null
  }

  #promise(epoch: Epoch, owner: NodeId): void {
    this.unlead()
    const promised = { copy: this.#promised.copy, epoch, owner }
    writePromise(this.#world.disk, this.identity.directory, promised)
    this.#promised = promised
    // The end that is reported counts towards the longest log: what is behind the last sync must be worth it.
    this.#journal.sync(this.#head)
    this.#durable = this.#head.seq
  }

  #refusal(why: Refusal, waitMs: number, words: string): Answer {
    return { kind: 'refused', why, promised: this.#promised.epoch, waitMs, words }
  }

  async #append(request: Request & { op: 'append' }): Promise<Answer> {
    assert(this.#led === null, 'an owner does not ship to the copy that it leads')
    const place = this.#placeOf(request.before)
    if (!place) return { kind: 'apart', end: this.#head }
    let at: JournalHead = place
    for (const raw of splitRecords(request.records)) {
      const known = at.seq < this.#head.seq ? this.#holdsBehind(at, tagOfRecord(raw)) : null
      if (known) {
        at = known
        continue
      }
      if (at.seq < this.#head.seq) this.#cut(at)
      at = this.#journal.appendSealed(at, raw)
      this.#head = at
      this.#recent.note(at)
    }
    if (request.sync && this.#durable < at.seq) {
      const { seq } = this.#head
      await this.#journal.syncAsync(this.#head)
      this.#durable = seq
    }
    return {
      kind: 'appended',
      end: at.seq,
      durable: Math.min(at.seq, this.#durable) as RecordSeq,
    }
  }

  /** What stands behind `at` is of an owner whose log was not taken. */
  #cut(at: JournalHead): void {
    assert(
      at.seq >= (this.#checkpoint?.newest.seq ?? 0),
      'no log parts from another before a place that was committed',
    )
    this.#durable = Math.min(this.#durable, at.seq) as RecordSeq
    this.#head = at
    this.#recent.cutBehind(at.seq)
    this.#journal.truncateTo(at)
  }

  /** The place here that is the same as another log's; null when this log has no such record. */
  #placeOf({ seq, chain }: Place): JournalHead | null {
    const place = this.placeBehind(seq)
    return place?.chain.equals(chain) ? place : null
  }

  #holdsBehind(at: JournalHead, tag: Buffer): JournalHead | null {
    const place = this.placeBehind((at.seq + 1) as RecordSeq)
    return place?.chain.equals(tag) ? place : null
  }

  #read(after: Place, bytesMax: number): Answer {
    const from = this.#placeOf(after)
    if (!from) return { kind: 'apart', end: this.head }
    const { volume, directory } = this.identity
    return {
      kind: 'records',
      records: readRun(this.#world.disk, directory, volume, from, this.head.seq, bytesMax),
    }
  }
}

/**
 * Whole records behind `from` up to `upTo`: at least one when there is one, then up to about `bytesMax`.
 * @param passed told the place behind each of them
 */
export function readRun(
  disk: Disk,
  directory: string,
  volume: VolumeId,
  from: JournalHead,
  upTo: RecordSeq,
  bytesMax: number,
  passed: (place: JournalHead) => void = () => {},
): Buffer {
  const records: Buffer[] = []
  let bytes = 0
  // That `from` is the log's is known; that the record behind it follows, its chain says.
  const options = { upTo, resumed: true }
  for (const { raw, head } of scan(disk, directory, volume, from, null, options)) {
    if (bytes > 0 && bytes + raw.length > bytesMax) break
    passed(head)
    // Borrowed until the next step.
    records.push(Buffer.from(raw))
    bytes += raw.length
  }
  return records.length === 1 ? (records[0] as Buffer) : Buffer.concat(records)
}

/**
 * What lies in a copy's directory. A log that does not begin at the start needs a checkpoint, and the place of that in it:
 * without, it could not be read from anywhere.
 */
function stateOf(
  disk: Disk,
  directory: string,
  volume: VolumeId,
): { head: JournalHead; checkpoint: Checkpoint | null; damaged: string | null } {
  let head: JournalHead | null = null
  let checkpoint: Checkpoint | null = null
  try {
    finishBeginning(disk, directory, volume)
    checkpoint = readCheckpoint(disk, directory, volume)
    head = firstHead(disk, directory, volume)
    let goesOn = checkpoint === null ? head?.seq === 0 : isBehind(checkpoint.newest, head)
    for (const record of scan(disk, directory, volume, null, null)) {
      head = record.head
      if (checkpoint !== null && !goesOn) goesOn = isBehind(checkpoint.newest, head)
    }
    const damaged = goesOn
      ? null
      : `the log does not go on where ${checkpoint ? 'the checkpoint ends' : 'nothing was before it'}`
    return { head: head ?? nowhere, checkpoint, damaged }
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error
    return { head: head ?? nowhere, checkpoint, damaged: error.message }
  }
}

function isBehind({ seq, chain }: Place, head: JournalHead | null): boolean {
  return head !== null && head.seq === seq && head.chain.equals(chain)
}

/** Of a log whose very beginning is damaged. */
const nowhere: JournalHead = {
  epoch: 0 as Epoch,
  seq: 0 as RecordSeq,
  chain: Buffer.alloc(16),
  file: 0,
  offset: 0,
}
