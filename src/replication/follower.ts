import {
  type Clock,
  type CopyId,
  codeOf,
  type Epoch,
  messageOf,
  type NodeId,
  ProtocolError,
  type RecordSeq,
} from '../base/index.ts'
import { commonPlace } from './common-place.ts'
import type { Answer, CopyPlace, Place, Request } from './messages.ts'

/** Asks one copy. @throws FsError EHOSTUNREACH, ETIMEDOUT, ECONNRESET when there is no answer */
export type AskCopy = (
  copy: CopyPlace,
  request: Request,
  options: { readonly deadlineMs: number },
) => Promise<Answer>

/** The log of the owner, as far as it is appended. */
export interface OwnLog {
  readonly head: Place
  /** The place behind record `seq`; null when the log does not reach back so far. */
  placeBehind(seq: RecordSeq): Place | null
  /** As Places. */
  placesBehind(seqs: readonly RecordSeq[]): readonly (Place | null)[]
  /** Whole records behind `after`, up to about `bytesMax`; null when the log does not reach back so far. */
  read(after: Place, bytesMax: number): Buffer | null
  /** On stable storage up to here; rises with `sync`. */
  readonly durable: RecordSeq
  /** All that is appended now on stable storage. @throws FsError EIO, and then always: the owner's copy has failed */
  sync(): Promise<void>
  /** Another copy takes chunks from now on: a record appended behind this names none that was confirmed before. */
  grew(): void
  /** Records up to here are on stable storage on every member. */
  advanced(committed: RecordSeq): void
  /** Reads and unsynced changes may be answered until then: told whenever it is another moment. */
  leased(untilMs: number): void
  /** What stands before this record goes; where files end the log may keep some of it. */
  cutBefore(seq: RecordSeq): void
}

/** A copy that begins anew: the place it goes on from, and what it is to be told when it has caught up. */
export interface Begun {
  readonly place: Place
  release(): void
}

export interface FollowerWorld {
  readonly ask: AskCopy
  readonly clock: Clock
  readonly log: OwnLog
  readonly epoch: Epoch
  readonly node: NodeId
  readonly answerMs: number
  /** Something was confirmed, or the copy fell silent or came back: look at everything anew. */
  changed(): void
  /** The copy promised a higher epoch, or the lease of another lasts: this owner is past. */
  deposed(words: string): void
  /**
   * The log of the copy, which ends at `end`, has nothing in common with the owner's: have it begin at a checkpoint.
   * @throws what keeps it from that
   */
  beginAnew(copy: CopyPlace, end: Place): Promise<Begun>
}

const RUN_BYTES_MAX = 2 * 1024 * 1024
const RETRY_MS = { min: 20, max: 1000 } as const
/**
 * Keeps one copy's log the same as the owner's: finds where they part, ships what is missing, one request under way at a
 * time, so that what is appended and waited for meanwhile goes together in the next (group commit).
 */
export class Follower {
  readonly copy: CopyPlace
  readonly #world: FollowerWorld
  /** The copy's log is the owner's up to here; null until that is known in this life. */
  #common: Place | null = null
  #durable = 0 as RecordSeq
  #syncWanted = 0
  #answeredMs: number
  #wrong: string | null = null
  #lost: string | null = null
  #isAway = false
  #running = false
  #again = false
  #stopped = false
  #retryMs: number = RETRY_MS.min
  #cancelRetry: (() => void) | null = null
  /** Of a copy that began anew: until its log has this record, what it goes on from stays. */
  #catchingUp: { readonly until: RecordSeq; release(): void } | null = null

  constructor(copy: CopyPlace, world: FollowerWorld) {
    this.copy = copy
    this.#world = world
    this.#answeredMs = world.clock.monotonicMs()
  }

  get id(): CopyId {
    return this.copy.id
  }

  /** Records of this owner's log that the copy has on stable storage, up to here. */
  get durable(): RecordSeq {
    return this.#durable
  }

  /** When it last confirmed something, or had nothing to confirm; the beginning of this owner before it did. */
  get answeredMs(): number {
    return this.#answeredMs
  }

  /** It answered something else than an append: enough while there is nothing to confirm. */
  heard(): void {
    if (!this.#behind()) this.#answeredMs = this.#world.clock.monotonicMs()
  }

  /** It refuses to serve this owner: remembered where that is for good. */
  refused({ why, words }: Answer & { kind: 'refused' }): void {
    if (why === 'damaged' || why === 'otherCopy') this.#lost = words
    this.#isAway = why === 'away'
  }

  /** Why it cannot follow, in words; null while it does. */
  get wrong(): string | null {
    return this.#wrong
  }

  /** Why it will not follow again, in words: it is damaged, or not there any more; null unless it said so last. */
  get lost(): string | null {
    return this.#lost
  }

  /** Its node is there and its drive is not, as it said last. */
  get isAway(): boolean {
    return this.#isAway
  }

  /** Ship what is there; with `sync` all up to now is wanted on stable storage. */
  wake(sync: boolean): void {
    if (sync) this.#syncWanted = Math.max(this.#syncWanted, this.#world.log.head.seq)
    if (this.#stopped) return
    if (this.#running) {
      this.#again = true
      return
    }
    this.#cancelRetry?.()
    this.#cancelRetry = null
    this.#running = true
    void this.#run()
  }

  stop(): void {
    this.#stopped = true
    this.#cancelRetry?.()
    this.#cancelRetry = null
  }

  async #run(): Promise<void> {
    let failed = false
    try {
      do {
        this.#again = false
        while (!this.#stopped && this.#behind()) await this.#step()
      } while (this.#again && !this.#stopped)
      this.#retryMs = RETRY_MS.min
    } catch (error) {
      failed = true
      this.#wrong = messageOf(error)
      this.#common = null
    }
    if (failed || this.#stopped) this.#caughtUp()
    this.#running = false
    this.#world.changed()
    if (!failed || this.#stopped || this.#cancelRetry) return
    this.#cancelRetry = this.#world.clock.after(this.#retryMs, () => this.wake(false))
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MS.max)
  }

  #behind(): boolean {
    const { head } = this.#world.log
    return !this.#common || this.#common.seq < head.seq || this.#durable < this.#syncWanted
  }

  async #step(): Promise<void> {
    const { log, epoch, node, clock, changed } = this.#world
    const before = this.#common ?? log.head
    const records = before.seq < log.head.seq ? log.read(before, RUN_BYTES_MAX) : Buffer.alloc(0)
    if (!records) {
      // Cut since; where the copy stands is asked anew.
      this.#common = null
      return
    }
    const sync = this.#durable < this.#syncWanted || this.#common === null
    const answer = await this.#ask({ op: 'append', epoch, owner: node, before, records, sync })
    if (answer.kind === 'apart') {
      this.#durable = 0 as RecordSeq
      this.#common = (await this.#commonPlace(answer.end)) ?? (await this.#beginAnew(answer.end))
      return
    }
    if (answer.kind !== 'appended') throw unexpected(answer)
    const place = log.placeBehind(answer.end)
    if (!place || answer.end < before.seq) throw unexpected(answer)
    this.#common = place
    this.#durable = answer.durable
    this.#wrong = null
    this.#lost = null
    this.#isAway = false
    this.#answeredMs = clock.monotonicMs()
    if (this.#catchingUp && place.seq >= this.#catchingUp.until) this.#caughtUp()
    changed()
  }

  async #beginAnew(end: Place): Promise<Place> {
    this.#caughtUp()
    const { place, release } = await this.#world.beginAnew(this.copy, end)
    this.#catchingUp = { until: this.#world.log.head.seq, release }
    return place
  }

  #caughtUp(): void {
    this.#catchingUp?.release()
    this.#catchingUp = null
  }

  /** The last place that both logs have; null when there is none left. */
  async #commonPlace(end: Place): Promise<Place | null> {
    const { log } = this.#world
    return await commonPlace(log, end, async (seqs) => {
      const answer = await this.#ask({ op: 'tags', seqs })
      if (answer.kind !== 'tags') throw unexpected(answer)
      return answer.tags
    })
  }

  async #ask(request: Request): Promise<Answer> {
    const { ask, answerMs, deposed } = this.#world
    const answer = await ask(this.copy, request, { deadlineMs: answerMs })
    if (answer.kind === 'refused') {
      if (answer.why === 'promised') deposed(answer.words)
      this.refused(answer)
      throw new ProtocolError(`copy ${this.copy.id} on node ${this.copy.node}: ${answer.words}`)
    }
    return answer
  }
}

function unexpected(answer: Answer): ProtocolError {
  return new ProtocolError(`a copy answered ${answer.kind} where it must not`)
}

/** No answer came; anything else is an answer, or a mistake. */
export function isSilence(error: unknown): boolean {
  return ['EHOSTUNREACH', 'ETIMEDOUT', 'ECONNRESET'].includes(codeOf(error))
}
