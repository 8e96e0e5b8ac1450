import {
  assert,
  type ChunkId,
  type Clock,
  type CopyId,
  codeOf,
  type Epoch,
  FsError,
  type Log,
  messageOf,
  type NodeId,
  ProtocolError,
  type RecordSeq,
  sleep,
  type VolumeId,
} from '../base/index.ts'
import type { Checkpoint } from '../journal/index.ts'
import { OwnerLease } from '../lease/index.ts'
import { Doubts } from './doubts.ts'
import { type AskCopy, type Begun, Follower, isSilence, type OwnLog } from './follower.ts'
import type { InSyncSet } from './in-sync-set.ts'
import type { CopyPlace, DriveSet, OldChunks, Place, PlacedCopy, Request } from './messages.ts'
import { Fill, type FillProgress } from './repair-fill.ts'
import { type ScrubFinding, type ScrubProgress, scrubCopy } from './scrub.ts'
import type { RecordedSet } from './sets.ts'
import { PARTS, sweepCopy, type Unnamed } from './sweep-copy.ts'
import type { Times } from './times.ts'

export interface OwnerWorld {
  readonly volume: VolumeId
  readonly node: NodeId
  readonly epoch: Epoch
  /** Copy that the own log is, and whether it is one of the volume's copies at all. */
  readonly own: CopyId
  readonly ask: AskCopy
  readonly log: OwnLog
  /**
   * Every chunk that a record of the log uses, acknowledged or not, but those whose last use a record up to `committed`
   * dropped: the log of a copy may end before a record that drops one and is not committed.
   */
  chunksInUse(committed: RecordSeq): Promise<Iterable<ChunkId>>
  readChunk(chunk: ChunkId): Promise<Buffer | null>
  /** The newest checkpoint that the log names, as it is taken over. */
  readonly checkpoint: Checkpoint | null
  /** Of these chunks those that nothing uses, and up to where the log was looked at. */
  unnamed(chunks: readonly ChunkId[]): Promise<Unnamed>
  /** No other is taken until the returned function is called; one that is being taken is awaited. */
  pinCheckpoint(): Promise<() => void>
  readonly clock: Clock
  readonly times: Times
  readonly report: Log
  /** Told once: nothing is acknowledged any more. */
  lost(words: string): void
  /** A member's drive that went away may come back so long before the member is given what was on it. Without it at once. */
  awayMs?(): number
  /** Whether another copy's answer is this chunk, as far as checksums tell. Without it every answer is. */
  isWhole?(chunk: ChunkId, bytes: Buffer): boolean
  /** Fulfilled when so many bytes, which no caller waits for, may go to another copy. Without it they go at once. */
  pace?(bytes: number, isAwaited: () => boolean): Promise<void>
}

/** A copy as its owner sees it. */
export interface CopyStanding {
  readonly id: CopyId
  readonly node: NodeId
  readonly isOwn: boolean
  readonly isMember: boolean
  readonly isLeaving: boolean
  /** Since it last answered as it should. */
  readonly silentMs: number
  /** Why it does not follow, in words. */
  readonly wrong: string | null
  /** Why it will not follow again: damaged, or not there any more. */
  readonly lost: string | null
  /** Its node is there, without the drive that it lies on, which may come back. */
  readonly isAway: boolean
  /** Records on its stable storage. */
  readonly durable: RecordSeq
  /** How many of the log it has not on stable storage. */
  readonly lagRecords: number
  /** It has every chunk in use. */
  readonly isWhole: boolean
  /** Chunks that a member was found to lack, since its node lost a drive; 0 when none, or not known. */
  readonly lacksChunks: number
  /** While it is given what it lacks. */
  readonly fill: FillProgress | null
  /** How long it has had everything, while it is no member. */
  readonly steadyMs: number | null
}

interface Waiter {
  readonly seq: RecordSeq
  /** The own copy counts: nobody else sees to it. */
  readonly own: boolean
  readonly done: (error: Error | null) => void
}

const TICKS_PER_TERM = 10

/**
 * The owner of a volume at one epoch: ships its log to every copy, says what is durable on the whole in-sync set, keeps
 * the lease, drops members that do not confirm and takes copies in that have caught up. Nothing here trusts a clock for
 * what is acknowledged: only the members' answers (design §6).
 */
export class Owner {
  readonly #world: OwnerWorld
  readonly #set: InSyncSet
  readonly #lease: OwnerLease
  readonly #followers = new Map<CopyId, Follower>()
  /** Since when a copy that is no member has followed to the end of the log, every chunk included. */
  readonly #steadySince = new Map<CopyId, number>()
  /** Copies that get every new chunk: members do, and those that are being brought up. */
  readonly #taking = new Set<CopyId>()
  /** Of these, the copies that have every chunk in use. */
  readonly #whole = new Set<CopyId>()
  readonly #doubts: Doubts
  /** Copies that confirmed a chunk which no record names yet. */
  readonly #confirmed = new Map<ChunkId, Set<CopyId>>()
  /** Copies that are to give a chunk back still. */
  readonly #readingBack = new Map<ChunkId, Set<CopyId>>()
  readonly #waiters: Waiter[] = []
  /** Sequence of the newest checkpoint that each copy has said it has, in this life. */
  readonly #checkpointAt = new Map<CopyId, number>()
  #checkpoint: Checkpoint | null
  /** Callers make the own copy durable: this looks after them, so that one that failed is noticed. */
  #ownSeenTo = false
  /** Copies that are being brought up. */
  readonly #fills = new Map<CopyId, Fill>()
  /** Copies that are given up: not brought up any more, and out of the set as soon as that can be. */
  readonly #leaving = new Set<CopyId>()
  /** Copies that are to be entered. */
  readonly #asked: { readonly copy: PlacedCopy; readonly done: (error: Error | null) => void }[] =
    []
  /** Others may have changed the record. */
  #isOld = false
  #putting = 0
  /** What a scrub found of the own log. */
  #ownDamage: string | null = null
  #serving = false
  /** Where the log ended then: what it named is committed once this is. */
  #servedFrom = 0
  #changingSet = false
  #roundMs: number
  #end: string | null = null
  #cancelTick: (() => void) | null = null

  constructor(world: OwnerWorld, set: InSyncSet) {
    this.#world = world
    this.#set = set
    const { volume, clock, report, times } = world
    this.#doubts = new Doubts(
      {
        volume,
        clock,
        report,
        againMs: times.termMs,
        awayMs: () => world.awayMs?.() ?? 0,
        fillOf: (copy, isOver) =>
          this.#fillOf(copy, () => world.chunksInUse(this.committed), isOver),
        foundWhole: (copy, drives) => this.#foundWhole(copy, drives),
      },
      this.#fills,
    )
    const { recorded } = set
    this.#lease = new OwnerLease(world.times.termMs)
    this.#roundMs = world.clock.monotonicMs()
    this.#checkpoint = world.checkpoint
    for (const copy of recorded.copies) this.#follow(copy)
    // Members have what their log names (rule 5); their logs are cut to this one's, which names no more.
    for (const id of recorded.inSync) this.#whole.add(id)
  }

  /** Begin to ship and to ask for the lease; the set stays as it is recorded. */
  start(): void {
    this.#tick()
  }

  /** The set is recorded: from here on it is kept as it should be. */
  serve(): void {
    this.#serving = true
    this.#servedFrom = this.#world.log.head.seq
    this.#tellLease()
  }

  get volume(): VolumeId {
    return this.#world.volume
  }

  get members(): ReadonlySet<CopyId> {
    return this.#set.members
  }

  get recorded(): RecordedSet {
    return this.#set.recorded
  }

  /** Why nothing is acknowledged any more; null while it may be. */
  get end(): string | null {
    return this.#end
  }

  /** Until when reads and unsynced changes may be answered. */
  get leaseUntilMs(): number {
    return this.#end === null ? this.#lease.untilMs(this.members) : Number.NEGATIVE_INFINITY
  }

  /** Records up to here are on stable storage on every member. */
  get committed(): RecordSeq {
    return Math.min(this.#committedByOthers, this.#durableWithin(true)) as RecordSeq
  }

  get #committedByOthers(): number {
    return this.#durableWithin(false)
  }

  /** Up to where the own copy has its log on stable storage, or every other member; without any there is no end. */
  #durableWithin(own: boolean): number {
    let least = Number.POSITIVE_INFINITY
    for (const id of this.members) {
      if ((id === this.#world.own) === own) least = Math.min(least, this.#durableAt(id))
    }
    return least
  }

  /** Copies, members or not, that have the log up to `seq` on stable storage and every chunk of it. */
  holding(seq: RecordSeq): CopyId[] {
    return this.#set.recorded.copies
      .map((copy) => copy.id)
      .filter((id) => this.#whole.has(id) && this.#durableAt(id) >= seq)
  }

  /** Somebody waits for this owner: what is not for a caller stands back. */
  get isAwaited(): boolean {
    return this.#waiters.length > 0 || this.#putting > 0
  }

  /** Every copy of the volume, as it stands now. */
  standing(): CopyStanding[] {
    const { clock, own, log } = this.#world
    const now = clock.monotonicMs()
    const head = log.head.seq
    return this.#set.recorded.copies.map(({ id, node }) => {
      const follower = this.#followers.get(id)
      const since = this.#steadySince.get(id)
      return {
        id,
        node,
        isOwn: id === own,
        isMember: this.members.has(id),
        isLeaving: this.#leaving.has(id),
        silentMs: Math.max(0, now - this.#answeredMs(id)),
        wrong: follower?.wrong ?? null,
        lost: (id === own ? this.#ownDamage : follower?.lost) ?? this.#doubts.stuck(id),
        isAway: follower?.isAway ?? false,
        durable: this.#durableAt(id) as RecordSeq,
        lagRecords: Math.max(0, head - this.#durableAt(id)),
        isWhole: this.#whole.has(id) && !this.#doubts.has(id),
        lacksChunks: this.#doubts.lacksChunks(id),
        fill: this.#fills.get(id)?.progress ?? null,
        steadyMs: since === undefined ? null : now - since,
      }
    })
  }

  /**
   * Enter a further copy, empty and made already: it is brought up, and taken into the set once it has caught up.
   * @throws as SetStore.addCopy; FsError EIO when this owner is past. Without an answer it is open whether it was entered.
   */
  async addCopy(copy: PlacedCopy): Promise<void> {
    if (this.#end !== null) throw this.#past('addCopy')
    await new Promise<void>((resolve, reject) => {
      this.#asked.push({ copy, done: (error) => (error ? reject(error) : resolve()) })
    })
  }

  /** Give a copy up, never the own one: out of the set, unless that would be below the minimum, and out of the record. */
  release(id: CopyId): void {
    assert(id !== this.#world.own, 'an owner keeps its own copy')
    this.#leaving.add(id)
  }

  /** It is kept after all, if it was not given up yet. */
  keep(id: CopyId): void {
    this.#leaving.delete(id)
  }

  /** Have a copy, the own one too, read all it holds; what is broken is mended from another. @returns as scrubCopy */
  async scrub(
    id: CopyId,
    isOver: () => boolean,
    passed: (progress: ScrubProgress) => void,
  ): Promise<ScrubFinding[] | null> {
    const { ask, times } = this.#world
    const copy = this.#placeOf(id)
    const found = await scrubCopy(copy, {
      ask,
      deadlineMs: times.chunkMs,
      committed: this.committed,
      chunksInUse: () => this.#world.chunksInUse(this.committed),
      mend: (chunk) => this.#giveAnew(copy, chunk),
      pace: async (bytes) => await this.#world.pace?.(bytes, () => this.isAwaited),
      isOver: () => isOver() || this.#end !== null,
      passed,
    })
    const log = found?.find(({ chunk }) => chunk === null)
    if (log && id === this.#world.own) this.#ownDamage = log.what
    return found
  }

  /** A chunk of a copy failed a read: checked, and had from another copy if need be. @returns whether it is whole now */
  async mend(chunk: ChunkId, id: CopyId = this.#world.own): Promise<boolean> {
    const { ask, times } = this.#world
    const copy = this.#placeOf(id)
    const options = { deadlineMs: times.chunkMs }
    const answer = await ask(copy, { op: 'checkChunks', chunks: [chunk] }, options)
    if (answer.kind !== 'checked') return false
    if (answer.bad.length + answer.missing.length === 0) return true
    return await this.#giveAnew(copy, chunk)
  }

  /** A chunk that a copy has lost, from another one. @returns whether the copy has it now */
  async #giveAnew(copy: CopyPlace, chunk: ChunkId): Promise<boolean> {
    const { ask, epoch, node, times } = this.#world
    const bytes = await this.#findChunk(chunk, copy.id)
    if (!bytes) return false
    const put: Request = { op: 'putChunk', epoch, owner: node, chunk, bytes }
    return (await ask(copy, put, { deadlineMs: times.chunkMs })).kind === 'done'
  }

  /** Others may have changed the record: looked at soon. */
  look(): void {
    this.#isOld = true
  }

  /** Something was appended: it goes out, nobody waits for it. */
  appended(): void {
    for (const follower of this.#followers.values()) follower.wake(false)
  }

  /**
   * fsync: fulfilled when every member has all records up to `seq` on stable storage.
   * @param isHere the caller sees to the own copy, and acknowledges nothing before it is durable there too
   * @throws FsError EIO when this owner is past, or its own copy failed
   */
  async sync(seq: RecordSeq, { isHere = false } = {}): Promise<void> {
    if (this.#end !== null) throw this.#past('sync')
    const waiting = new Promise<void>((resolve, reject) => {
      const done = (error: Error | null) => (error ? reject(error) : resolve())
      this.#waiters.push({ seq, own: !isHere, done })
    })
    for (const follower of this.#followers.values()) follower.wake(true)
    if (isHere) {
      this.#ownSeenTo = true
      // They may have it already, or there is nobody else.
      this.#advance()
    } else this.#syncOwn()
    await waiting
  }

  /**
   * Have a chunk on stable storage on every member.
   * @param bytes lent until this settles, whatever becomes of it
   * @param isHere the caller sees to the own copy, and names the chunk only when it is durable there
   * @throws FsError EIO when this owner is past, ENOSPC from a member
   */
  async putChunk(chunk: ChunkId, bytes: Buffer, { isHere = false } = {}): Promise<void> {
    const confirmed = this.#confirmed.get(chunk) ?? new Set()
    this.#confirmed.set(chunk, confirmed)
    if (isHere) confirmed.add(this.#world.own)
    for (;;) {
      if (this.#end !== null) throw this.#past('putChunk')
      const missing = [...this.#takingChunks()].filter((id) => !confirmed.has(id))
      if (missing.length === 0) return
      this.#putting++
      try {
        const asked = missing.map((id) => this.#putOne(id, chunk, bytes, confirmed))
        for (const put of await Promise.allSettled(asked)) {
          if (put.status === 'rejected') throw put.reason
        }
      } finally {
        this.#putting--
      }
    }
  }

  /**
   * Whether a record may name these new chunks now: every member, as the set stands at this moment, has confirmed them
   * (§6.5). Asked when the record is appended; if not, `putChunk` again. What may be named is forgotten here.
   */
  mayName(chunks: readonly ChunkId[]): boolean {
    const taking = [...this.#takingChunks()]
    const may = chunks.every((chunk) => {
      const confirmed = this.#confirmed.get(chunk)
      return confirmed !== undefined && taking.every((id) => confirmed.has(id))
    })
    if (may) for (const chunk of chunks) this.#confirmed.delete(chunk)
    return may
  }

  /**
   * Have every other member give back a chunk that it has confirmed. One that falls silent is waited for until it is no
   * member. @throws FsError EIO with the copy that gives other bytes or none, or when this owner is past
   */
  async readBack(chunk: ChunkId): Promise<void> {
    const { own, readChunk, clock, times } = this.#world
    const bytes = await readChunk(chunk)
    if (!bytes) throw this.#notReadBack(chunk, this.#placeOf(own))
    const left = new Set([...this.members].filter((id) => id !== own))
    this.#readingBack.set(chunk, left)
    try {
      for (;;) {
        if (this.#end !== null) throw this.#past('readBack')
        for (const id of left) if (!this.members.has(id)) left.delete(id)
        const asked = [...left].map(async (id) => {
          if (await this.#gives(this.#placeOf(id), chunk, bytes)) left.delete(id)
        })
        for (const one of await Promise.allSettled(asked)) {
          if (one.status === 'rejected') throw one.reason
        }
        if (left.size === 0) return
        await sleep(clock, times.dropMs / 10)
      }
    } finally {
      this.#readingBack.delete(chunk)
    }
  }

  /** @returns false when it says nothing to that · @throws FsError EIO when it gives something else */
  async #gives(copy: CopyPlace, chunk: ChunkId, bytes: Buffer): Promise<boolean> {
    const { ask, times } = this.#world
    try {
      const answer = await ask(copy, { op: 'readChunk', chunk }, { deadlineMs: times.chunkMs })
      // A copy that refuses is dropped for that.
      if (answer.kind !== 'chunk') return false
      if (answer.bytes?.equals(bytes)) return true
    } catch (error) {
      if (!isSilence(error)) throw error
      return false
    }
    throw this.#notReadBack(chunk, copy)
  }

  #notReadBack(chunk: ChunkId, { id, node }: CopyPlace): FsError {
    const { volume } = this.#world
    return new FsError('EIO', 'readBack', {
      volume,
      chunk,
      node,
      message: `copy ${id} on node ${node} does not give back what it has confirmed`,
    })
  }

  /** For how long the member that is silent longest has not answered. */
  get silentMs(): number {
    const now = this.#world.clock.monotonicMs()
    return Math.max(0, ...[...this.members].map((id) => now - this.#answeredMs(id)))
  }

  /** Of the other members those that a chunk on its way, its read-back or, without these, an fsync waits for. */
  awaited(chunk: ChunkId): CopyPlace[] {
    const { own } = this.#world
    const confirmed = this.#confirmed.get(chunk)
    const left = this.#readingBack.get(chunk)
    const seq = Math.max(0, ...this.#waiters.map((waiter) => waiter.seq))
    const lacks = (id: CopyId) => {
      if (left) return left.has(id)
      return confirmed ? !confirmed.has(id) : this.#durableAt(id) < seq
    }
    return [...this.members].filter((id) => id !== own && lacks(id)).map((id) => this.#placeOf(id))
  }

  /**
   * Have every copy delete chunks whose last use a committed record dropped (§6.6). Copies that are away keep them until
   * they are swept. @param droppedBy the record · @returns false when it is not committed yet
   */
  async deleteChunks(chunks: readonly ChunkId[], droppedBy: RecordSeq): Promise<boolean> {
    if (this.#end !== null || this.committed < droppedBy) return false
    for (const chunk of chunks) this.#confirmed.delete(chunk)
    const { ask, epoch, node, times } = this.#world
    const committed = { epoch, seq: droppedBy }
    const request: Request = { op: 'deleteChunks', epoch, owner: node, committed, chunks }
    const asked = this.#set.recorded.copies.map((copy) =>
      ask(copy, request, { deadlineMs: times.chunkMs }),
    )
    for (const answer of await Promise.allSettled(asked)) {
      if (answer.status === 'rejected' && !isSilence(answer.reason)) throw answer.reason
    }
    return true
  }

  /**
   * Have every member keep this checkpoint, which a committed record names, and drop what is older: the own log too. Other
   * copies get it when they have caught up. @returns how many copies of the volume do not have it now
   * @throws FsError EIO when this owner is past
   */
  async checkpoint(checkpoint: Checkpoint): Promise<number> {
    this.#checkpoint = checkpoint
    const { clock, times } = this.#world
    for (;;) {
      if (this.#end !== null) throw this.#past('checkpoint')
      const missing = [...this.members].filter((id) => !this.#hasCheckpoint(id))
      if (missing.length === 0) break
      await Promise.all(missing.map((id) => this.#giveCheckpoint(this.#placeOf(id), checkpoint)))
      // Until it answers, has what it lacks, or is dropped for its silence.
      if (missing.some((id) => !this.#hasCheckpoint(id))) await sleep(clock, times.dropMs / 10)
    }
    return this.#set.recorded.copies.filter(({ id }) => !this.#hasCheckpoint(id)).length
  }

  #hasCheckpoint(id: CopyId): boolean {
    return (this.#checkpointAt.get(id) ?? 0) >= (this.#checkpoint?.newest.seq ?? 0)
  }

  async #giveCheckpoint(copy: CopyPlace, checkpoint: Checkpoint): Promise<void> {
    const { ask, epoch, node, own, log, times } = this.#world
    // Before it does: what is looked for meanwhile would be gone.
    if (copy.id === own) log.cutBefore(checkpoint.oldest.seq)
    const request: Request = { op: 'checkpoint', epoch, owner: node, checkpoint }
    try {
      const answer = await ask(copy, request, { deadlineMs: times.chunkMs })
      if (answer.kind === 'done') this.#checkpointAt.set(copy.id, checkpoint.newest.seq)
      else if (answer.kind === 'lacks') await this.#fillOf(copy, async () => answer.chunks).run()
      else if (answer.kind === 'refused' && answer.why === 'promised') this.stop(answer.words)
    } catch (error) {
      if (!isSilence(error)) throw error
    }
  }

  /**
   * A copy whose log ends before this one begins, or parted from it before: it gets a checkpoint and goes on from there.
   * Never a member: it has every acknowledged record, and this log begins before the last of them.
   */
  async #beginAnew(copy: CopyPlace, end: Place): Promise<Begun> {
    const { ask, epoch, node, log, times, pinCheckpoint } = this.#world
    if (this.members.has(copy.id)) {
      throw new ProtocolError(
        `copy ${copy.id} on node ${copy.node}: a member of the set has lost what it confirmed`,
      )
    }
    const release = await pinCheckpoint()
    try {
      const checkpoint = this.#checkpoint
      const place = checkpoint && log.placeBehind(checkpoint.newest.seq)
      if (!checkpoint || !place) throw new ProtocolError('the log names no checkpoint to begin at')
      this.#forget(copy.id)
      if (!(await this.#fillOf(copy, async () => checkpoint.chunks).run())) {
        throw new FsError('EAGAIN', 'begin', {
          message: `copy ${copy.id} on node ${copy.node}: no chunks of the checkpoint for it`,
        })
      }
      if (this.#end !== null) throw this.#past('begin')
      const request: Request = { op: 'begin', epoch, owner: node, end, checkpoint }
      const answer = await ask(copy, request, { deadlineMs: times.chunkMs })
      if (answer.kind !== 'done') throw new ProtocolError(`begin: a copy answered ${answer.kind}`)
      return { place, release }
    } catch (error) {
      release()
      throw error
    }
  }

  /**
   * Have every copy delete chunks that no record names. @param old epoch is this owner's
   * @returns chunks deleted, and how many copies were not there for it · @throws FsError EIO when this owner is past
   */
  async sweep(
    old: Omit<OldChunks, 'epoch'>,
    parts = PARTS,
  ): Promise<{ deleted: number; without: number }> {
    const { ask, epoch, node, times, unnamed } = this.#world
    const sync = (seq: RecordSeq) => this.sync(seq)
    const world = { ask, epoch, node, times, unnamed, sync }
    const swept = { deleted: 0, without: 0 }
    for (const copy of this.#set.recorded.copies) {
      const deleted = await sweepCopy(world, copy, { ...old, epoch }, parts)
      if (deleted === null) swept.without++
      else swept.deleted += deleted
    }
    return swept
  }

  /** Make exactly these copies the set: the last step of a take-over. @throws as InSyncSet.change */
  async recordSet(copies: readonly CopyId[]): Promise<boolean> {
    return await this.#set.change(copies)
  }

  /**
   * Let go of the volume: who takes it over next need not wait for the lease to end. Everything that is to be kept has
   * been synced.
   */
  async resign(words: string): Promise<void> {
    this.stop(words)
    const { ask, epoch, node, times } = this.#world
    const request: Request = { op: 'yield', epoch, owner: node }
    const asked = this.#set.recorded.copies.map((copy) =>
      ask(copy, request, { deadlineMs: times.askMs }),
    )
    for (const answer of await Promise.allSettled(asked)) {
      if (answer.status === 'rejected' && !isSilence(answer.reason)) throw answer.reason
    }
  }

  /** No more of it. Whoever waits is told. */
  stop(words: string): void {
    if (this.#end !== null) return
    this.#end = words
    this.#cancelTick?.()
    for (const follower of this.#followers.values()) follower.stop()
    // The volume is fenced by this, and only then is anybody told.
    this.#world.lost(words)
    for (const { done } of this.#waiters.splice(0)) done(this.#past('sync'))
    for (const { done } of this.#asked.splice(0)) done(this.#past('addCopy'))
  }

  /** Members, and copies that are being taken in. */
  *#takingChunks(): Generator<CopyId> {
    yield* this.members
    for (const id of this.#taking) if (!this.members.has(id)) yield id
  }

  async #putOne(id: CopyId, chunk: ChunkId, bytes: Buffer, confirmed: Set<CopyId>): Promise<void> {
    const { epoch, node, own, ask, clock, times } = this.#world
    const copy = this.#placeOf(id)
    const request: Request = { op: 'putChunk', epoch, owner: node, chunk, bytes }
    const drivesBefore = this.#doubts.changes(id)
    try {
      const answer = await ask(copy, request, { deadlineMs: times.chunkMs })
      const isKept = this.#doubts.changes(id) === drivesBefore
      if (answer.kind === 'done' && isKept) confirmed.add(id)
      else if (answer.kind === 'done') return
      else if (answer.kind === 'refused' && answer.why === 'promised') this.stop(answer.words)
      else this.#leaveBehind(id)
    } catch (error) {
      if (!isSilence(error)) throw error
      if (id === own) throw error
      this.#leaveBehind(id)
    }
    if (!confirmed.has(id) && this.#end === null && this.members.has(id)) {
      // Until it answers, or is dropped for its silence.
      await sleep(clock, times.dropMs / 10)
    }
  }

  /** A copy that is no member and lacks a chunk is looked through again before it is taken in. */
  #leaveBehind(id: CopyId): void {
    if (this.members.has(id)) return
    this.#forget(id)
  }

  #forget(id: CopyId): void {
    this.#taking.delete(id)
    this.#whole.delete(id)
    this.#steadySince.delete(id)
  }

  /** @param drives as Doubts.heard */
  #doubt(id: CopyId, drives: DriveSet | null): void {
    if (!this.#doubts.heard(id, drives)) return
    // What it confirmed and no record names yet may be gone with the drive: it is to confirm it again.
    for (const confirmed of this.#confirmed.values()) confirmed.delete(id)
    if (this.members.has(id) || this.#taking.has(id)) this.#world.log.grew()
    if (!this.members.has(id) && this.#whole.has(id)) this.#forget(id)
  }

  #durableAt(id: CopyId): number {
    const { own, log } = this.#world
    return id === own ? log.durable : (this.#followers.get(id)?.durable ?? 0)
  }

  #placeOf(id: CopyId): CopyPlace {
    const copy = this.#set.recorded.copies.find((one) => one.id === id)
    assert(copy !== undefined, 'a member is a copy of the volume')
    return copy
  }

  #follow(copy: CopyPlace): void {
    const { own, ask, clock, log, epoch, node, times } = this.#world
    if (copy.id === own || this.#followers.has(copy.id)) return
    const follower = new Follower(copy, {
      ask,
      clock,
      log,
      epoch,
      node,
      answerMs: times.answerMs,
      changed: () => this.#advance(),
      deposed: (words) => this.stop(words),
      beginAnew: (one, end) => this.#beginAnew(one, end),
    })
    this.#followers.set(copy.id, follower)
  }

  #syncOwn(): void {
    const { log } = this.#world
    log.sync().then(
      () => this.#advance(),
      (error: unknown) => this.stop(`the own copy failed: ${messageOf(error)}`),
    )
  }

  #advance(): void {
    if (this.#end !== null) return
    const { committed } = this
    const byOthers = this.#committedByOthers
    this.#world.log.advanced(committed)
    this.#tellLease()
    for (let i = 0; i < this.#waiters.length; ) {
      const waiter = this.#waiters[i] as Waiter
      if (waiter.seq <= (waiter.own ? committed : byOthers)) {
        this.#waiters.splice(i, 1)
        waiter.done(null)
      } else i++
    }
  }

  #tick(): void {
    if (this.#end !== null) return
    const { clock, times } = this.#world
    this.#askForLease()
    for (const follower of this.#followers.values()) follower.wake(false)
    if (this.#ownSeenTo && this.#world.log.durable < this.#world.log.head.seq) this.#syncOwn()
    const now = clock.monotonicMs()
    const oldest = Math.min(...[...this.members].map((id) => this.#answeredMs(id)))
    this.#roundMs = Math.max(this.#roundMs, oldest)
    if (now - this.#roundMs >= times.giveUpMs) {
      this.stop(`no legal set of copies has answered for ${Math.round(now - this.#roundMs)} ms`)
      return
    }
    if (!this.#changingSet) void this.#changeSet(now)
    this.#cancelTick = clock.after(times.termMs / TICKS_PER_TERM, () => this.#tick())
  }

  #answeredMs(id: CopyId): number {
    const { own, clock } = this.#world
    return id === own ? clock.monotonicMs() : (this.#followers.get(id)?.answeredMs ?? 0)
  }

  /** Of every copy: one that becomes a member has granted already, and all show that they are there. */
  #askForLease(): void {
    const { epoch, node, ask, clock, times, report } = this.#world
    const request: Request = { op: 'grant', epoch, owner: node }
    for (const copy of this.#set.recorded.copies) {
      const sentMs = clock.monotonicMs()
      ask(copy, request, { deadlineMs: times.termMs }).then(
        (answer) => {
          if (answer.kind === 'granted') {
            this.#lease.granted(copy.id, sentMs)
            this.#tellLease()
            this.#followers.get(copy.id)?.heard()
            this.#doubt(copy.id, answer.doubt)
          } else if (answer.kind === 'refused') {
            if (answer.why === 'promised') this.stop(answer.words)
            // Nothing can be appended: others have what was acknowledged, and own the volume next.
            else if (copy.id === this.#world.own) this.stop(`the own copy: ${answer.words}`)
            else this.#followers.get(copy.id)?.refused(answer)
          }
        },
        (error: unknown) => {
          if (!isSilence(error)) report.warn({ error: messageOf(error) }, 'lease')
        },
      )
    }
  }

  #tellLease(): void {
    this.#world.log.leased(this.leaseUntilMs)
  }

  /** Settle what is unsettled, else bring copies up and change the set by one of them, if that is due. */
  async #changeSet(now: number): Promise<void> {
    this.#changingSet = true
    try {
      this.#bringUp(now)
      if (this.#serving) this.#doubts.look(this.#answeringMembers())
      await this.#spreadCheckpoint()
      if (!this.#serving || this.#end !== null) return
      if (this.#set.changing) {
        await this.#set.change(this.#set.recorded.inSync)
        return
      }
      const next = this.#nextSet(now)
      if (!next) {
        await this.#changeCopies()
        return
      }
      const recorded = this.#set.change(next)
      // A copy that is added counts from the asking, for the lease too.
      this.#tellLease()
      await recorded
    } catch (error) {
      if (codeOf(error) === 'ESTALE') this.stop('another owner has the volume')
      else if (!isSilence(error)) {
        this.#world.report.warn({ volume: this.#world.volume, error: messageOf(error) }, 'set')
      }
    } finally {
      this.#changingSet = false
      this.#knowCopies()
      this.#advance()
    }
  }

  /** One change of the record that is not of the set: a copy more, copies fewer, or a look at what others changed. */
  async #changeCopies(): Promise<void> {
    const asked = this.#asked.shift()
    if (asked) {
      const { copy, done } = asked
      try {
        await this.#set.addCopy(copy)
        done(null)
      } catch (error) {
        done(error as Error)
        throw error
      }
      return
    }
    const given = this.#set.recorded.copies
      .map(({ id }) => id)
      .filter((id) => this.#leaving.has(id) && !this.members.has(id))
    if (given.length > 0) await this.#set.release(given)
    else if (this.#isOld) {
      this.#isOld = false
      await this.#set.look()
    }
  }

  /** The copies are those of the record: new ones are followed, those that were given up forgotten. */
  #knowCopies(): void {
    if (this.#end !== null) return
    const { copies } = this.#set.recorded
    for (const copy of copies) this.#follow(copy)
    const known = new Set(copies.map(({ id }) => id))
    for (const [id, follower] of this.#followers) {
      if (known.has(id)) continue
      follower.stop()
      this.#followers.delete(id)
      this.#leaving.delete(id)
      this.#doubts.forget(id)
      this.#forget(id)
    }
  }

  /**
   * Copies that were away when it was taken, and those that a newcomer finds. Not before the set is recorded: until then
   * the record that names it may still be cut, and what it made needless be needed.
   */
  async #spreadCheckpoint(): Promise<void> {
    const checkpoint = this.#checkpoint
    if (!checkpoint || !this.#serving || this.committed < this.#servedFrom) return
    const missing = this.#set.recorded.copies.filter(
      ({ id }) => this.#whole.has(id) && !this.#hasCheckpoint(id) && this.#answers(id),
    )
    await Promise.all(missing.map((copy) => this.#giveCheckpoint(copy, checkpoint)))
  }

  #answers(id: CopyId): boolean {
    const { clock, times } = this.#world
    return clock.monotonicMs() - this.#answeredMs(id) < times.dropMs
  }

  /** Without a member that is silent, with a copy that has caught up, or both in one step; null when it is as it should be. */
  #nextSet(now: number): CopyId[] | null {
    const { times } = this.#world
    const { inSync, minimum } = this.#set.recorded
    const patience = inSync.length === 2 ? times.dropToOneMs : times.dropMs
    const silent = inSync.find((id) => now - this.#answeredMs(id) >= patience)
    const steady = [...this.#steadySince].find(
      ([id, since]) =>
        !inSync.includes(id) &&
        !this.#leaving.has(id) &&
        now - since >= times.steadyMs &&
        this.#durableAt(id) >= this.committed,
    )?.[0]
    if (silent === undefined && steady !== undefined) return [...inSync, steady]
    if (silent === undefined) return this.#withoutLeaving(inSync, minimum)
    const left = inSync.filter((id) => id !== silent)
    if (left.length < minimum && steady === undefined) return null
    this.#forget(silent)
    return left.length < minimum && steady !== undefined ? [...left, steady] : left
  }

  /** Have copies that are no members follow, and give them what they lack, beside everything else. */
  #bringUp(now: number): void {
    const { times, log, own } = this.#world
    for (const copy of this.#set.recorded.copies) {
      const { id } = copy
      if (this.members.has(id) || this.#leaving.has(id)) continue
      // A member before this owner that the set was recorded without: new chunks passed it by.
      if (!this.#taking.has(id)) this.#whole.delete(id)
      const follower = this.#followers.get(id)
      if (follower && (follower.wrong !== null || now - follower.answeredMs > times.dropMs)) {
        this.#leaveBehind(id)
        continue
      }
      if (this.#durableAt(id) < log.head.seq) {
        if (id === own) this.#syncOwn()
        else follower?.wake(true)
      }
      if (this.#whole.has(id) || this.#durableAt(id) === 0 || this.#fills.has(id)) continue
      // From here on it gets every new chunk, so that what it lacks only shrinks.
      this.#taking.add(id)
      log.grew()
      this.#fillUp(copy).catch((error: unknown) => {
        this.#leaveBehind(id)
        this.#world.report.warn({ copy: id, error: messageOf(error) }, 'a copy is not brought up')
      })
    }
  }

  *#answeringMembers(): Generator<CopyPlace> {
    for (const copy of this.#set.recorded.copies) {
      if (this.members.has(copy.id) && this.#answers(copy.id)) yield copy
    }
  }

  async #foundWhole(copy: CopyPlace, drives: DriveSet): Promise<void> {
    const { ask, epoch, node, times } = this.#world
    const request: Request = { op: 'whole', epoch, owner: node, drives }
    await ask(copy, request, { deadlineMs: times.chunkMs })
  }

  async #fillUp(copy: CopyPlace): Promise<void> {
    const { clock } = this.#world
    const { id } = copy
    const drives = this.#doubts.drives(id)
    // Before it serves nothing is appended, and all that is there is committed once the set is recorded.
    const fill = this.#fillOf(
      copy,
      () => this.#world.chunksInUse(this.#serving ? this.committed : this.#world.log.head.seq),
      () => !this.#taking.has(id),
    )
    this.#fills.set(id, fill)
    try {
      const isWhole = await fill.run()
      // Forgotten meanwhile, or on other drives: what it was given may not be all.
      const isKept = this.#taking.has(id) && this.#doubts.drives(id) === drives
      if (!isWhole || !isKept) return this.#leaveBehind(id)
      this.#whole.add(id)
      this.#steadySince.set(id, clock.monotonicMs())
      if (drives !== null) await this.#foundWhole(copy, drives)
    } finally {
      this.#fills.delete(id)
    }
  }

  /** Gives a copy these chunks, as far as it lacks them. */
  #fillOf(
    copy: CopyPlace,
    chunksInUse: () => Promise<Iterable<ChunkId>>,
    isOver: () => boolean = () => false,
  ): Fill {
    const { ask, epoch, node, times } = this.#world
    return new Fill(copy, {
      ask,
      epoch,
      node,
      chunkMs: times.chunkMs,
      chunksInUse,
      findChunk: (chunk) => this.#findChunk(chunk),
      pace: async (bytes) => await this.#world.pace?.(bytes, () => this.isAwaited),
      isOver: () => this.#end !== null || isOver(),
    })
  }

  /** Without one that is given up, if enough are left and all of them answer; null when there is none. */
  #withoutLeaving(inSync: readonly CopyId[], minimum: number): CopyId[] | null {
    const { own } = this.#world
    const leaving = inSync.find((id) => this.#leaving.has(id) && id !== own)
    if (leaving === undefined || inSync.length - 1 < minimum) return null
    this.#forget(leaving)
    return inSync.filter((id) => id !== leaving)
  }

  /** From the own copy if it has it, else from any other but `not`. */
  async #findChunk(chunk: ChunkId, not: CopyId | null = null): Promise<Buffer | null> {
    const { ask, own, readChunk, isWhole, times, report } = this.#world
    const bytes = await readChunk(chunk)
    if (bytes) return bytes
    for (const copy of this.#set.recorded.copies) {
      if (copy.id === own || copy.id === not || !this.#whole.has(copy.id)) continue
      const request: Request = { op: 'readChunk', chunk }
      const answer = await ask(copy, request, { deadlineMs: times.chunkMs }).catch(
        (error: unknown) => {
          if (!isSilence(error)) throw error
          return null
        },
      )
      if (answer?.kind !== 'chunk' || !answer.bytes) continue
      if (isWhole?.(chunk, answer.bytes) ?? true) return answer.bytes
      report.warn({ op: 'chunk', chunk, copy: copy.id, node: copy.node }, 'a copy gave wrong bytes')
    }
    return null
  }

  #past(op: string): FsError {
    const { volume, epoch } = this.#world
    return new FsError('EIO', op, {
      volume,
      message: `volume ${volume}: epoch ${epoch} of this node is past: ${this.#end}`,
    })
  }
}
