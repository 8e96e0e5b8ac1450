import {
  assert,
  type ChunkId,
  type Clock,
  type CopyId,
  CorruptError,
  type Epoch,
  type NodeId,
  type RecordSeq,
  type VolumeId,
} from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import {
  createJournal,
  Journal,
  type JournalHead,
  placeBehind,
  scan,
  splitRecords,
  tagOfRecord,
} from '../journal/index.ts'
import { Grant } from '../lease/index.ts'
import type { Answer, Place, Refusal, Request } from './messages.ts'
import { type Promised, readPromise, writePromise } from './promise-file.ts'
import { RecentPlaces } from './recent-places.ts'

/** Sealed chunks of one copy, as stored. */
export interface CopyChunks {
  /** On stable storage when it is fulfilled; no error when it is there already. @throws FsError ENOSPC … */
  put(chunk: ChunkId, bytes: Buffer): Promise<void>
  has(chunk: ChunkId): boolean
  /** Null when it is not there or fails its checksum. */
  read(chunk: ChunkId): Promise<Buffer | null>
  delete(chunk: ChunkId): Promise<void>
}

export interface CopyWorld {
  readonly disk: Disk
  readonly clock: Clock
  readonly chunks: CopyChunks
  readonly termMs: number
  /** As JournalOptions.aheadBytes. */
  readonly aheadBytes?: number
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

/**
 * One copy of a volume: its journal, its chunks, and what it has promised. It needs no key. Requests are carried out one
 * after the other, each judged when its turn comes: from a promise on, lower epochs in the queue are refused too, so the
 * end of the log that was reported with it is final (design §6.1).
 */
export class Copy {
  readonly identity: CopyIdentity
  readonly #world: CopyWorld
  readonly #journal: Journal
  readonly #grant: Grant
  readonly #recent = new RecentPlaces()
  #promised: Promised
  #head: JournalHead
  #durable: RecordSeq
  #damaged: string | null
  #led: LedLog | null = null
  #fenced: () => void = () => {}
  #queue: Promise<unknown> = Promise.resolve()

  private constructor(
    identity: CopyIdentity,
    world: CopyWorld,
    state: { promised: Promised; head: JournalHead; damaged: string | null; silentFromMs: number },
  ) {
    this.identity = identity
    this.#world = world
    this.#promised = state.promised
    this.#head = state.head
    this.#durable = state.head.seq
    this.#damaged = state.damaged
    this.#grant = new Grant(world.termMs, state.promised.owner, state.silentFromMs)
    const { volume, directory } = identity
    const ahead = world.aheadBytes === undefined ? {} : { aheadBytes: world.aheadBytes }
    this.#journal = new Journal({
      disk: world.disk,
      directory,
      volumeId: volume,
      sealer: null,
      ...ahead,
    })
  }

  /** A new, empty copy, durable. @throws FsError EEXIST where there is a journal */
  static create(identity: CopyIdentity, world: CopyWorld): Copy {
    const { volume, id, directory } = identity
    const head = createJournal(world.disk, directory, volume)
    const promised = { copy: id, epoch: 0 as Epoch, owner: null }
    writePromise(world.disk, directory, promised)
    const silentFromMs = Number.NEGATIVE_INFINITY
    return new Copy(identity, world, { promised, head, damaged: null, silentFromMs })
  }

  /**
   * The copy that lies in the directory. A damaged one opens too, says so, and counts for nothing.
   * @throws FsError ENOENT where there is none; ENOTSUP; CorruptError when its promise cannot be read
   */
  static open(identity: Omit<CopyIdentity, 'id'>, world: CopyWorld): Copy {
    const { volume, directory } = identity
    const promised = readPromise(world.disk, directory)
    const { head, damaged } = endOfLog(world.disk, directory, volume)
    const silentFromMs = world.clock.monotonicMs()
    const state = { promised, head, damaged, silentFromMs }
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
  }

  /** The owner has given the volume up by itself. */
  unlead(): void {
    const led = this.#led
    if (!led) return
    this.#led = null
    this.#head = led.fence()
    this.#durable = led.durable
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
    const { head } = this
    if (seq >= head.seq) return seq === head.seq ? head : null
    return this.#behind(seq)
  }

  close(): void {
    this.#journal.close()
  }

  /** @throws ProtocolError for records that are none; what the disk throws, after which the copy is damaged */
  async handle(request: Request): Promise<Answer> {
    const before = this.#queue
    const answer = (async () => {
      await before
      return await this.#carryOut(request)
    })()
    this.#queue = answer.catch(() => {})
    return await answer
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
        return { kind: 'granted' }
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
          tags: request.seqs.map((seq) => this.placeBehind(seq)?.chain ?? null),
        }
      case 'read':
        return this.#read(request.after, Math.min(request.bytesMax, READ_BYTES_MAX))
      case 'putChunk': {
        const refused = this.#refuse(request)
        if (refused) return refused
        await chunks.put(request.chunk, request.bytes)
        return { kind: 'done' }
      }
      case 'lacksChunks':
        return { kind: 'lacks', chunks: request.chunks.filter((chunk) => !chunks.has(chunk)) }
      case 'readChunk':
        return { kind: 'chunk', bytes: await chunks.read(request.chunk) }
      case 'deleteChunks': {
        const refused = this.#refuse(request)
        if (refused) return refused
        if (this.head.seq < request.committed.seq) return { kind: 'apart', end: this.head }
        for (const chunk of request.chunks) await chunks.delete(chunk)
        return { kind: 'done' }
      }
    }
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
    const place = this.#behind((at.seq + 1) as RecordSeq)
    return place?.chain.equals(tag) ? place : null
  }

  #behind(seq: RecordSeq): JournalHead | null {
    const { volume, directory } = this.identity
    return this.#recent.behind(seq) ?? placeBehind(this.#world.disk, directory, volume, seq)
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
  for (const { raw, head } of scan(disk, directory, volume, from, null, { upTo })) {
    if (bytes > 0 && bytes + raw.length > bytesMax) break
    passed(head)
    // Borrowed until the next step.
    records.push(Buffer.from(raw))
    bytes += raw.length
  }
  return Buffer.concat(records)
}

function endOfLog(
  disk: Disk,
  directory: string,
  volume: VolumeId,
): { head: JournalHead; damaged: string | null } {
  const steps = scan(disk, directory, volume, null, null)
  let head: JournalHead | null = null
  try {
    for (;;) {
      const step = steps.next()
      if (step.done) return { head: step.value, damaged: null }
      head = step.value.head
    }
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error
    return { head: head ?? nowhere, damaged: error.message }
  }
}

/** Of a log whose very beginning is damaged. */
const nowhere: JournalHead = {
  epoch: 0 as Epoch,
  seq: 0 as RecordSeq,
  chain: Buffer.alloc(16),
  file: 0,
  offset: 0,
}
