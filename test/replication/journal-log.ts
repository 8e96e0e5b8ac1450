import {
  type ChunkId,
  type Epoch,
  FsError,
  type KeyEpoch,
  type RecordSeq,
  type VolumeId,
} from '../../src/base/index.ts'
import type { Disk } from '../../src/disk/index.ts'
import { Journal, type JournalHead, placeBehind, scan } from '../../src/journal/index.ts'
import { type LedLog, type OwnLog, readRun } from '../../src/replication/index.ts'
import { plainSealer } from '../journal/world.ts'

export interface JournalPlace {
  readonly disk: Disk
  readonly volume: VolumeId
  readonly directory: string
  readonly aheadBytes?: number
}

/** The log of an owner: what a volume's engine does to its journal, and nothing else of it. */
export class JournalLog implements LedLog, OwnLog {
  readonly epoch: Epoch
  readonly #place: JournalPlace
  readonly #journal: Journal
  /** Places behind the records of this life: to look for one in the file reads all before it. */
  readonly #places = new Map<RecordSeq, JournalHead>()
  #head: JournalHead
  #durable: RecordSeq
  #over = false

  constructor(place: JournalPlace, epoch: Epoch, head: JournalHead) {
    this.epoch = epoch
    this.#place = place
    this.#head = head
    this.#durable = head.seq
    const { disk, volume, directory, aheadBytes } = place
    const ahead = aheadBytes === undefined ? {} : { aheadBytes }
    this.#journal = new Journal({
      disk,
      directory,
      volumeId: volume,
      sealer: plainSealer,
      ...ahead,
    })
  }

  get head(): JournalHead {
    return this.#head
  }

  get durable(): RecordSeq {
    return this.#durable
  }

  /** @param confirmed what every member had when it was asked · @throws FsError EIO when fenced */
  append(
    body: Buffer,
    chunks: { begins: ChunkId[]; ends: ChunkId[] },
    confirmed: RecordSeq,
  ): JournalHead {
    if (this.#over) throw new FsError('EIO', 'append', { message: 'fenced' })
    const fields = {
      epoch: this.epoch,
      keyEpoch: 1 as KeyEpoch,
      confirmed: { epoch: this.epoch, seq: Math.min(confirmed, this.#head.seq) as RecordSeq },
      ...chunks,
    }
    this.#head = this.#journal.append(this.#head, fields, body)
    this.#places.set(this.#head.seq, this.#head)
    return this.#head
  }

  async sync(): Promise<void> {
    if (this.#over) throw new FsError('EIO', 'sync', { message: 'fenced' })
    const head = this.#head
    await this.#journal.syncAsync(head)
    // Of a fenced log nothing counts any more.
    if (!this.#over && head.seq > this.#durable) this.#durable = head.seq
  }

  /** Nothing to do: who appends here asks mayName in the thread of the owner. */
  grew(): void {}

  advanced(): void {}

  fence(): JournalHead {
    this.#over = true
    this.#journal.close()
    return this.#head
  }

  placeBehind(seq: RecordSeq): JournalHead | null {
    if (seq >= this.#head.seq) return seq === this.#head.seq ? this.#head : null
    const { disk, directory, volume } = this.#place
    return this.#places.get(seq) ?? placeBehind(disk, directory, volume, seq)
  }

  read(after: { readonly seq: RecordSeq }, bytesMax: number): Buffer {
    const from = this.placeBehind(after.seq)
    if (!from) throw new FsError('EIO', 'read', { message: 'no such record' })
    const { disk, directory, volume } = this.#place
    return readRun(disk, directory, volume, from, this.#head.seq, bytesMax)
  }

  /** Chunks that its records begin and none up to `committed` ends. */
  chunksInUse(committed: RecordSeq): Set<ChunkId> {
    const { disk, directory, volume } = this.#place
    const used = new Set<ChunkId>()
    for (const { header } of scan(disk, directory, volume, null, null, { upTo: this.#head.seq })) {
      for (const chunk of header.begins) used.add(chunk)
      if (header.seq > committed) continue
      for (const chunk of header.ends) used.delete(chunk)
    }
    return used
  }
}
