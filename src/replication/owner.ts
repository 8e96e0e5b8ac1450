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
  type RecordSeq,
  sleep,
  type VolumeId,
} from '../base/index.ts'
import { OwnerLease } from '../lease/index.ts'
import { type AskCopy, Follower, isSilence, type OwnLog } from './follower.ts'
import type { InSyncSet } from './in-sync-set.ts'
import type { CopyPlace, Request } from './messages.ts'
import type { RecordedSet } from './sets.ts'
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
  readonly clock: Clock
  readonly times: Times
  readonly report: Log
  /** Told once: nothing is acknowledged any more. */
  lost(words: string): void
}

interface Waiter {
  readonly seq: RecordSeq
  readonly done: (error: Error | null) => void
}

const TICKS_PER_TERM = 10
const CHUNKS_PER_QUESTION = 512

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
  /** Copies that confirmed a chunk which no record names yet. */
  readonly #confirmed = new Map<ChunkId, Set<CopyId>>()
  readonly #waiters: Waiter[] = []
  #serving = false
  #changingSet = false
  #roundMs: number
  #end: string | null = null
  #cancelTick: (() => void) | null = null

  constructor(world: OwnerWorld, set: InSyncSet) {
    this.#world = world
    this.#set = set
    const { recorded } = set
    this.#lease = new OwnerLease(world.times.termMs)
    this.#roundMs = world.clock.monotonicMs()
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
    let least = Number.POSITIVE_INFINITY
    for (const id of this.members) least = Math.min(least, this.#durableAt(id))
    return least as RecordSeq
  }

  /** Copies, members or not, that have the log up to `seq` on stable storage and every chunk of it. */
  holding(seq: RecordSeq): CopyId[] {
    return this.#set.recorded.copies
      .map((copy) => copy.id)
      .filter((id) => this.#whole.has(id) && this.#durableAt(id) >= seq)
  }

  /** Something was appended: it goes out, nobody waits for it. */
  appended(): void {
    for (const follower of this.#followers.values()) follower.wake(false)
  }

  /**
   * fsync: fulfilled when every member has all records up to `seq` on stable storage.
   * @throws FsError EIO when this owner is past, or its own copy failed
   */
  async sync(seq: RecordSeq): Promise<void> {
    if (this.#end !== null) throw this.#past('sync')
    const waiting = new Promise<void>((resolve, reject) => {
      const done = (error: Error | null) => (error ? reject(error) : resolve())
      this.#waiters.push({ seq, done })
    })
    for (const follower of this.#followers.values()) follower.wake(true)
    this.#syncOwn()
    await waiting
  }

  /** Have a chunk on stable storage on every member. @throws FsError EIO when this owner is past, ENOSPC from a member */
  async putChunk(chunk: ChunkId, bytes: Buffer): Promise<void> {
    const confirmed = this.#confirmed.get(chunk) ?? new Set()
    this.#confirmed.set(chunk, confirmed)
    for (;;) {
      if (this.#end !== null) throw this.#past('putChunk')
      const missing = [...this.#takingChunks()].filter((id) => !confirmed.has(id))
      if (missing.length === 0) return
      await Promise.all(missing.map((id) => this.#putOne(id, chunk, bytes, confirmed)))
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
   * Have every copy delete chunks whose last use a committed record dropped (§6.6). Copies that are away keep them until
   * they are swept. @param droppedBy the record · @returns false when it is not committed yet
   */
  async deleteChunks(chunks: readonly ChunkId[], droppedBy: RecordSeq): Promise<boolean> {
    if (this.#end !== null || this.committed < droppedBy) return false
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
    try {
      const answer = await ask(copy, request, { deadlineMs: times.chunkMs })
      if (answer.kind === 'done') confirmed.add(id)
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
    this.#world.log.advanced(committed)
    for (let i = 0; i < this.#waiters.length; ) {
      const waiter = this.#waiters[i] as Waiter
      if (waiter.seq <= committed) {
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
            this.#followers.get(copy.id)?.heard()
          } else if (answer.kind === 'refused' && answer.why === 'promised') {
            this.stop(answer.words)
          }
        },
        (error: unknown) => {
          if (!isSilence(error)) report.warn({ error: messageOf(error) }, 'lease')
        },
      )
    }
  }

  /** Settle what is unsettled, else bring copies up and change the set by one of them, if that is due. */
  async #changeSet(now: number): Promise<void> {
    this.#changingSet = true
    try {
      await this.#bringUp(now)
      if (!this.#serving || this.#end !== null) return
      if (this.#set.changing) {
        await this.#set.change(this.#set.recorded.inSync)
        return
      }
      const next = this.#nextSet(now)
      if (next) await this.#set.change(next)
    } catch (error) {
      if (codeOf(error) === 'ESTALE') this.stop('another owner has the volume')
      else if (!isSilence(error)) {
        this.#world.report.warn({ volume: this.#world.volume, error: messageOf(error) }, 'set')
      }
    } finally {
      this.#changingSet = false
      this.#advance()
    }
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
        now - since >= times.steadyMs &&
        this.#durableAt(id) >= this.committed,
    )?.[0]
    if (silent === undefined) return steady === undefined ? null : [...inSync, steady]
    const left = inSync.filter((id) => id !== silent)
    if (left.length < minimum && steady === undefined) return null
    this.#forget(silent)
    return left.length < minimum && steady !== undefined ? [...left, steady] : left
  }

  /** Have copies that are no members follow, and give them what they lack. */
  async #bringUp(now: number): Promise<void> {
    const { times, log, own } = this.#world
    for (const copy of this.#set.recorded.copies) {
      const { id } = copy
      if (this.members.has(id)) continue
      const follower = this.#followers.get(id)
      if (follower && (follower.wrong !== null || now - follower.answeredMs > times.dropMs)) {
        this.#leaveBehind(id)
        continue
      }
      if (this.#durableAt(id) < log.head.seq) {
        if (id === own) this.#syncOwn()
        else follower?.wake(true)
      }
      if (this.#whole.has(id) || this.#durableAt(id) === 0) continue
      // From here on it gets every new chunk, so that what it lacks only shrinks.
      this.#taking.add(id)
      log.grew()
      if (!(await this.#fillUp(copy))) this.#leaveBehind(id)
      else if (this.#taking.has(id)) {
        this.#whole.add(id)
        this.#steadySince.set(id, now)
      }
    }
  }

  /** Give a copy every chunk that the log uses and it lacks. @returns false when it did not get them all */
  async #fillUp(copy: CopyPlace): Promise<boolean> {
    // Before it serves nothing is appended, and all that is there is committed once the set is recorded.
    const committed = this.#serving ? this.committed : this.#world.log.head.seq
    try {
      const chunks = [...(await this.#world.chunksInUse(committed))]
      for (let at = 0; at < chunks.length; at += CHUNKS_PER_QUESTION) {
        const asked = chunks.slice(at, at + CHUNKS_PER_QUESTION)
        if (!(await this.#fill(copy, asked))) return false
      }
      return true
    } catch (error) {
      if (!isSilence(error)) throw error
      return false
    }
  }

  async #fill(copy: CopyPlace, chunks: readonly ChunkId[]): Promise<boolean> {
    const { ask, epoch, node, times } = this.#world
    const answer = await ask(copy, { op: 'lacksChunks', chunks }, { deadlineMs: times.chunkMs })
    if (answer.kind !== 'lacks') return false
    for (const chunk of answer.chunks) {
      const bytes = await this.#findChunk(chunk)
      // Its last use was dropped meanwhile, or nobody who has it answers: the next look decides.
      if (!bytes) return false
      const put: Request = { op: 'putChunk', epoch, owner: node, chunk, bytes }
      const done = await ask(copy, put, { deadlineMs: times.chunkMs })
      if (done.kind !== 'done') return false
    }
    return true
  }

  /** From the own copy if it has it, else from any other. */
  async #findChunk(chunk: ChunkId): Promise<Buffer | null> {
    const { ask, own, readChunk, times } = this.#world
    const bytes = await readChunk(chunk)
    if (bytes) return bytes
    for (const copy of this.#set.recorded.copies) {
      if (copy.id === own || !this.#whole.has(copy.id)) continue
      const request: Request = { op: 'readChunk', chunk }
      const answer = await ask(copy, request, { deadlineMs: times.chunkMs }).catch(
        (error: unknown) => {
          if (!isSilence(error)) throw error
          return null
        },
      )
      if (answer?.kind === 'chunk' && answer.bytes) return answer.bytes
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
