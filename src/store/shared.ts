import { assert, type Epoch, type Position, type RecordSeq } from '../base/index.ts'
import { FOREIGN_BYTES, ForeignChanges } from './foreign-changes.ts'
import { INO_RING_BYTES, InoRing } from './ino-ring.ts'
import { TOUCHED_BYTES, Touched } from './touched.ts'

/** Int32 cells; the rest of the buffer are Float64 cells, exact for whole numbers below 2^53. */
const LOCK = 0
const FOREIGN = 1
const ENGINE_SLEEPS = 2
const PROGRESS = 3
const STATE = 4
const POISON = 5
const REPLICATED = 6
const LEAVING = 7
const OWES = 8
const CLASS = 9
const INT_CELLS = 16

const EPOCH = 0
const SEQ = 1
const FILE = 2
const OFFSET = 3
const APPLIED = 4
const SYNCED = 5
const STAGED_NUMBER = 6
const COMMITTED_NUMBER = 7
const STAGED_BYTES = 8
const COMMITTED_BYTES = 9
const USED_BYTES = 10
const SIZE_BYTES = 11
const INODES = 12
const INLINE_BYTES = 13
const INO_NEXT = 14
const INO_RESERVED = 15
const FLUSH_WANTED = 16
const FREE_BYTES = 17
const TAKEN_NUMBER = 18
const COVERED_NUMBER = 19
const ENGINE_SEQ = 20
const FOLLOW_WANTED = 21
const WRITTEN = 22
/** Three cells. */
const SET_NUMBER = 25
const COMMITTED = 26
const LEASE_UNTIL = 27
const LINE_FIRST = 28
/** One more than it is: 0 for none. */
const CARRIED_GENERATION = 29
const FLOAT_CELLS = 32
const CHAIN_AT = INT_CELLS * 4 + FLOAT_CELLS * 8
const TOUCHED_AT = CHAIN_AT + 16
const FORGOTTEN_AT = TOUCHED_AT + 2 * TOUCHED_BYTES
const FOREIGN_AT = FORGOTTEN_AT + INO_RING_BYTES
const SHARED_BYTES = FOREIGN_AT + FOREIGN_BYTES

/** What a volume can do right now; one number so that it is read in one load before each answer. */
export const VOLUME_STATE = {
  open: 0,
  /** Read only: rule 3 minimum, or a person's order. */
  readOnly: 1,
  /** Locked: the keys were taken out of memory. */
  locked: 2,
  /** The copy failed (rule 7): nothing is acknowledged any more. */
  failed: 3,
  deleting: 4,
  /** Another node owns the volume: nothing is appended here any more, and nothing acknowledged. */
  fenced: 5,
} as const

export type VolumeState = (typeof VOLUME_STATE)[keyof typeof VOLUME_STATE]

/**
 * State of one volume that its threads share: the mount's worker (which orders changes), the engine (which applies
 * them and commits data) and the main thread. The lock is the volume's lock: who holds it checks, appends and moves
 * the head, and waits for nothing. Numbers outside the lock may be a moment old, never torn (aligned 8-byte loads).
 */
export class SharedVolume {
  readonly buffer: SharedArrayBuffer
  readonly #ints: Int32Array
  readonly #floats: Float64Array
  readonly #chain: Uint8Array
  /** What the engine's record that `engineBehind` speaks of changes. */
  readonly touchedByEngine: Touched
  /** What was appended since the engine began to draft a record. */
  readonly touchedByOthers: Touched
  /** Nameless inodes that the kernel has forgotten, for the engine to give their space back. */
  readonly forgotten: InoRing
  /** What the thread that answers the kernel must not believe its caches of. */
  readonly foreign: ForeignChanges

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(SHARED_BYTES)) {
    assert(buffer.byteLength === SHARED_BYTES, 'shared volume state has one layout')
    this.buffer = buffer
    this.#ints = new Int32Array(buffer, 0, INT_CELLS)
    this.#floats = new Float64Array(buffer, INT_CELLS * 4, FLOAT_CELLS)
    this.#chain = new Uint8Array(buffer, CHAIN_AT, 16)
    this.touchedByEngine = new Touched(buffer, TOUCHED_AT)
    this.touchedByOthers = new Touched(buffer, TOUCHED_AT + TOUCHED_BYTES)
    this.forgotten = new InoRing(buffer, FORGOTTEN_AT)
    this.foreign = new ForeignChanges(buffer, FOREIGN_AT)
  }

  /** The cell in which the journals of all threads note a failed sync (rule 7). */
  get poison(): Int32Array {
    return this.#ints.subarray(POISON, POISON + 1)
  }

  /** Where the journals of all threads note how far the newest file is written. */
  get journalWritten(): Float64Array {
    return this.#floats.subarray(WRITTEN, WRITTEN + 3)
  }

  lock(): void {
    const ints = this.#ints
    let spins = 0
    while (Atomics.compareExchange(ints, LOCK, 0, 1) !== 0) {
      if (++spins > 200) Atomics.wait(ints, LOCK, 1, 1)
    }
  }

  unlock(): void {
    Atomics.store(this.#ints, LOCK, 0)
    Atomics.notify(this.#ints, LOCK, 1)
  }

  /** Grows whenever somebody other than the mount's worker changed the view: the worker then drops what it cached of it. */
  get foreignChanges(): number {
    return Atomics.load(this.#ints, FOREIGN)
  }
  /** What it was is in `foreign` by then. */
  countForeignChange(): void {
    Atomics.add(this.#ints, FOREIGN, 1)
  }

  get state(): VolumeState {
    return Atomics.load(this.#ints, STATE) as VolumeState
  }
  set state(state: VolumeState) {
    Atomics.store(this.#ints, STATE, state)
    this.announceProgress()
  }

  /** Nothing will be applied or committed any more. */
  get stopped(): boolean {
    const state = this.state
    return state !== VOLUME_STATE.open && state !== VOLUME_STATE.readOnly
  }

  /** Another node owns the volume; this one has not let go of it yet. */
  get isLost(): boolean {
    return this.state === VOLUME_STATE.fenced
  }

  /** This node is about to let go of it, for another: what is asked from now on is asked there. */
  get isLeaving(): boolean {
    return this.#ints[LEAVING] === 1
  }
  set isLeaving(leaving: boolean) {
    this.#ints[LEAVING] = leaving ? 1 : 0
  }

  /** No request that begins now is this node's to execute. */
  get isElsewhere(): boolean {
    return this.isLost || this.isLeaving
  }

  /**
   * Some fsync through this node's namespace mount is to fail, once, because of what was lost when the volume changed hands:
   * the main thread knows which (fuse/unsynced.ts).
   */
  get owes(): boolean {
    return this.#ints[OWES] === 1
  }
  set owes(owes: boolean) {
    this.#ints[OWES] = owes ? 1 : 0
  }

  /** Class of drive that its chunks go to; null for any. */
  get cos(): 1 | 2 | 3 | null {
    return (this.#ints[CLASS] || null) as 1 | 2 | 3 | null
  }
  set cos(cos: 1 | 2 | 3 | null) {
    this.#ints[CLASS] = cos ?? 0
  }

  /** The engine says it sleeps; who has work for it takes the sign and, if it was up, must send it a message. */
  engineSleeps(): void {
    Atomics.store(this.#ints, ENGINE_SLEEPS, 1)
  }
  takeEngineSleeps(): boolean {
    return this.#ints[ENGINE_SLEEPS] === 1 && Atomics.exchange(this.#ints, ENGINE_SLEEPS, 0) === 1
  }

  /** Wake everyone in waitForProgress: something was applied, committed, or the state changed. */
  announceProgress(): void {
    Atomics.add(this.#ints, PROGRESS, 1)
    Atomics.notify(this.#ints, PROGRESS)
  }
  /** Blocks this thread until `reached` says yes; looks again at each progress and every 50 ms. */
  waitForProgress(reached: () => boolean): void {
    for (;;) {
      const seen = Atomics.load(this.#ints, PROGRESS)
      if (reached()) return
      Atomics.wait(this.#ints, PROGRESS, seen, 50)
    }
  }

  get head(): { epoch: Epoch; seq: RecordSeq; file: number; offset: number; chain: Buffer } {
    return {
      epoch: this.#floats[EPOCH] as Epoch,
      seq: this.#floats[SEQ] as RecordSeq,
      file: this.#floats[FILE] as number,
      offset: this.#floats[OFFSET] as number,
      chain: Buffer.from(this.#chain),
    }
  }
  /** Only under the lock. */
  setHead(head: Position & { file: number; offset: number; chain: Uint8Array }): void {
    this.#floats[EPOCH] = head.epoch
    this.#floats[SEQ] = head.seq
    this.#floats[FILE] = head.file
    this.#floats[OFFSET] = head.offset
    this.#chain.set(head.chain)
  }
  get seq(): number {
    return this.#floats[SEQ] as number
  }
  get epoch(): Epoch {
    return this.#floats[EPOCH] as Epoch
  }

  get applied(): number {
    return this.#floats[APPLIED] as number
  }
  set applied(seq: number) {
    this.#floats[APPLIED] = seq
  }
  /** Last record of the engine: it is in the journal, and in the view once `applied` has reached it. */
  get engineSeq(): number {
    return this.#floats[ENGINE_SEQ] as number
  }
  set engineSeq(seq: number) {
    this.#floats[ENGINE_SEQ] = seq
  }
  /** The view lacks a record of the engine, which nobody else has at hand either. */
  get engineBehind(): boolean {
    return this.engineSeq > this.applied
  }
  /** Somebody waits for the view to hold the records up to this one. */
  get followWanted(): number {
    return this.#floats[FOLLOW_WANTED] as number
  }
  set followWanted(seq: number) {
    this.#floats[FOLLOW_WANTED] = seq
  }
  get synced(): number {
    return this.#floats[SYNCED] as number
  }
  /** When the volume is opened; else `syncedThrough`. */
  set synced(seq: number) {
    this.#floats[SYNCED] = seq
  }
  /** Records up to here are on stable storage in this node's copy; several threads sync. Takes the lock. */
  syncedThrough(seq: number): void {
    this.lock()
    if (seq > this.synced) this.synced = seq
    this.unlock()
  }

  /** There are other copies: nothing is durable before they say so. Set before the volume is open to anybody. */
  get replicated(): boolean {
    return this.#ints[REPLICATED] === 1
  }
  set replicated(replicated: boolean) {
    this.#ints[REPLICATED] = replicated ? 1 : 0
  }
  /**
   * Of a volume of several copies: until when its owner may answer reads and unsynced changes (design §6.1, lease), in
   * milliseconds of `suspendProof`, which is the same in every thread. Before the first grant it is past.
   */
  get leaseUntilMs(): number {
    return this.#floats[LEASE_UNTIL] as number
  }
  set leaseUntilMs(ms: number) {
    this.#floats[LEASE_UNTIL] = ms
  }
  /**
   * Grows whenever another copy begins to count. Changed only under the lock: a record that is appended behind the change
   * names no chunk that was confirmed before it.
   */
  get setNumber(): number {
    return this.#floats[SET_NUMBER] as number
  }
  /** Another copy begins to count. */
  growSet(): void {
    this.lock()
    this.#floats[SET_NUMBER] = this.setNumber + 1
    this.unlock()
  }
  /** Records up to here are on stable storage on every copy that counts. */
  get committed(): number {
    return this.replicated ? (this.#floats[COMMITTED] as number) : this.synced
  }
  set committed(seq: number) {
    this.#floats[COMMITTED] = seq
  }

  /** First of the epochs, up to this one, in which this node has owned the volume without losing anything it was asked to do. */
  get lineFirst(): number {
    return this.#floats[LINE_FIRST] as number
  }
  set lineFirst(epoch: number) {
    this.#floats[LINE_FIRST] = epoch
  }
  /**
   * Of the session that this node had with the owner before, who let go of the volume for it: descriptors of that session hold.
   * Null for none.
   */
  get carriedGeneration(): number | null {
    const cell = this.#floats[CARRIED_GENERATION] as number
    return cell === 0 ? null : cell - 1
  }
  set carriedGeneration(generation: number | null) {
    this.#floats[CARRIED_GENERATION] = generation === null ? 0 : generation + 1
  }

  get stagedNumber(): number {
    return this.#floats[STAGED_NUMBER] as number
  }
  set stagedNumber(number: number) {
    this.#floats[STAGED_NUMBER] = number
  }
  /** Staged writes up to this number are covered by records. Only under the lock. */
  get coveredNumber(): number {
    return this.#floats[COVERED_NUMBER] as number
  }
  set coveredNumber(number: number) {
    this.#floats[COVERED_NUMBER] = number
  }
  /** Staged writes up to this number are covered by records that are in the view or in the overlay of who appended them. */
  get committedNumber(): number {
    return this.#floats[COMMITTED_NUMBER] as number
  }
  set committedNumber(number: number) {
    this.#floats[COMMITTED_NUMBER] = number
  }
  /** Staged writes up to this number are on their way to a record in the engine's hands; only it moves this. */
  get takenNumber(): number {
    return this.#floats[TAKEN_NUMBER] as number
  }
  set takenNumber(number: number) {
    this.#floats[TAKEN_NUMBER] = number
  }
  get stagedBytes(): number {
    return this.#floats[STAGED_BYTES] as number
  }
  set stagedBytes(bytes: number) {
    this.#floats[STAGED_BYTES] = bytes
  }
  get committedBytes(): number {
    return this.#floats[COMMITTED_BYTES] as number
  }
  set committedBytes(bytes: number) {
    this.#floats[COMMITTED_BYTES] = bytes
  }
  /** Staged writes up to this number are to be committed without waiting for age or size. */
  get flushWanted(): number {
    return this.#floats[FLUSH_WANTED] as number
  }
  set flushWanted(number: number) {
    this.#floats[FLUSH_WANTED] = number
  }

  get usedBytes(): number {
    return this.#floats[USED_BYTES] as number
  }
  set usedBytes(bytes: number) {
    this.#floats[USED_BYTES] = bytes
  }
  /** The quota: a volume's exact size. */
  get sizeBytes(): number {
    return this.#floats[SIZE_BYTES] as number
  }
  set sizeBytes(bytes: number) {
    this.#floats[SIZE_BYTES] = bytes
  }
  get inlineBytes(): number {
    return this.#floats[INLINE_BYTES] as number
  }
  set inlineBytes(bytes: number) {
    this.#floats[INLINE_BYTES] = bytes
  }
  get inodes(): number {
    return this.#floats[INODES] as number
  }
  set inodes(count: number) {
    this.#floats[INODES] = count
  }
  get inoNext(): number {
    return this.#floats[INO_NEXT] as number
  }
  set inoNext(ino: number) {
    this.#floats[INO_NEXT] = ino
  }
  get inoReserved(): number {
    return this.#floats[INO_RESERVED] as number
  }
  set inoReserved(ino: number) {
    this.#floats[INO_RESERVED] = ino
  }
  /** Bytes the drives still take, headroom subtracted; measured by the engine every quarter second. */
  get freeBytes(): number {
    return this.#floats[FREE_BYTES] as number
  }
  set freeBytes(bytes: number) {
    this.#floats[FREE_BYTES] = bytes
  }
}
