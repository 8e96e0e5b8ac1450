import type { Epoch, RecordSeq } from '../base/index.ts'
import { holdsHead, Journal, type JournalHead, startOfFile } from '../journal/index.ts'
import { type SharedVolume, VOLUME_STATE } from '../store/index.ts'
import { type LedLog, readRun } from './copy.ts'
import type { OwnLog } from './follower.ts'
import type { Place } from './messages.ts'
import { type LogFiles, RecentPlaces } from './recent-places.ts'

/** A run of this size is kept for the next who asks: small ones are read most, each time through the page cache. */
const RUN_KEPT_BYTES_MAX = 64 * 1024

export interface VolumeLogWorld extends LogFiles {
  /** Of the volume that is open at `epoch`. */
  readonly shared: SharedVolume
  readonly epoch: Epoch
  /** Where the log ended before: the other copies mostly end there too. */
  readonly from: JournalHead
  /** Called once, before the threads of the volume begin to answer with errors. */
  fencing(): void
}

/** The log of a volume that is open on this node: the threads append, this looks, ships, syncs and ends it. */
export class VolumeLog implements LedLog, OwnLog {
  readonly #world: VolumeLogWorld
  readonly #recent: RecentPlaces
  readonly #journal: Journal
  #ended: JournalHead | null = null
  #syncing: Promise<void> | null = null
  /** What stood before this record was cut. */
  #from = 0
  /** The last run that was read: followers ask for the same one, one after the other. */
  #run: { from: Place; to: RecordSeq; bytesMax: number; records: Buffer } | null = null

  constructor(world: VolumeLogWorld) {
    this.#world = world
    this.#recent = new RecentPlaces(world)
    const { disk, directory, volume, from, shared } = world
    this.#journal = new Journal({
      disk,
      directory,
      volumeId: volume,
      sealer: null,
      poison: shared.poison,
      written: shared.journalWritten,
    })
    const start = startOfFile(disk, directory, volume, from.seq)
    // What follows stands in the file that begins there, if one does: the engine may have begun it, or taken it away.
    if (start?.seq === from.seq) this.#recent.note(start)
    else if (holdsHead(disk, directory, volume, from)) this.#recent.note(from)
  }

  get epoch(): Epoch {
    return this.#world.epoch
  }

  get head(): JournalHead {
    const { shared } = this.#world
    if (this.#ended) return this.#ended
    // Under the lock: a head half moved would name a record with the seal of another.
    shared.lock()
    const { head } = shared
    shared.unlock()
    return head
  }

  get durable(): RecordSeq {
    return this.#world.shared.synced as RecordSeq
  }

  /** By a hand of its own on the journal; who asks while one sync is under way shares the next (group commit). */
  async sync(): Promise<void> {
    const { seq } = this.head
    while (this.#ended === null && this.durable < seq) {
      this.#syncing ??= this.#syncOnce().finally(() => {
        this.#syncing = null
      })
      await this.#syncing
    }
  }

  async #syncOnce(): Promise<void> {
    const { head } = this
    await this.#journal.syncAsync(head)
    this.#world.shared.syncedThrough(head.seq)
  }

  fence(): JournalHead {
    const { shared, fencing } = this.#world
    if (!this.#ended) fencing()
    shared.lock()
    shared.state = VOLUME_STATE.fenced
    shared.leaseUntilMs = 0
    const { head } = shared
    shared.unlock()
    this.#ended = head
    this.#journal.close()
    return head
  }

  grew(): void {
    this.#world.shared.growSet()
  }

  advanced(committed: RecordSeq): void {
    this.#world.shared.committed = committed
  }

  cutBefore(seq: RecordSeq): void {
    const { disk, directory, volume } = this.#world
    this.#from = startOfFile(disk, directory, volume, seq)?.seq ?? this.#from
    this.#recent.dropThrough(this.#from)
  }

  leased(untilMs: number): void {
    if (!this.#ended) this.#world.shared.leaseUntilMs = untilMs
  }

  placeBehind(seq: RecordSeq): JournalHead | null {
    return this.placesBehind([seq])[0] ?? null
  }

  placesBehind(seqs: readonly RecordSeq[]): (JournalHead | null)[] {
    return this.#recent.behind(seqs, this.head, this.#from)
  }

  read(after: Place, bytesMax: number): Buffer | null {
    const { disk, directory, volume } = this.#world
    const from = this.placeBehind(after.seq)
    if (!from) return null
    const to = this.head.seq
    const run = this.#run
    const isSame = run?.from.seq === from.seq && run.to === to && run.bytesMax === bytesMax
    if (run && isSame && run.from.chain.equals(from.chain)) return run.records
    const note = (place: JournalHead) => this.#recent.note(place)
    const records = readRun(disk, directory, volume, from, to, bytesMax, note)
    this.#run = records.length <= RUN_KEPT_BYTES_MAX ? { from, to, bytesMax, records } : null
    return records
  }
}
