import {
  type ChunkId,
  type Epoch,
  FsError,
  type KeyEpoch,
  type RecordSeq,
  type VolumeId,
} from '../../src/base/index.ts'
import type { Disk } from '../../src/disk/index.ts'
import {
  Journal,
  type JournalHead,
  placeBehind,
  scan,
  startOfFile,
} from '../../src/journal/index.ts'
import { type LedLog, type OwnLog, readRun } from '../../src/replication/index.ts'
import { plainSealer } from '../journal/world.ts'

export interface JournalPlace {
  readonly disk: Disk
  readonly volume: VolumeId
  readonly directory: string
  readonly aheadBytes?: number
  readonly fileBytesMax?: number
  /** Chunks that what was cut off its beginning uses, and up to where. */
  readonly base?: { readonly seq: number; readonly chunks: ReadonlySet<ChunkId> }
}

/** The log of an owner: what a volume's engine does to its journal, and nothing else of it. */
export class JournalLog implements LedLog, OwnLog {
  readonly epoch: Epoch
  readonly #place: JournalPlace
  readonly #journal: Journal
  /** Places behind the records of this life: to look for one in the file reads all before it. */
  readonly #places = new Map<RecordSeq, JournalHead>()
  /** Chunks by the record that stopped using them; 0 while they are used. */
  readonly #chunks = new Map<ChunkId, number>()
  #head: JournalHead
  #durable: RecordSeq
  #from = 0
  #over = false

  constructor(place: JournalPlace, epoch: Epoch, head: JournalHead) {
    this.epoch = epoch
    this.#place = place
    this.#head = head
    this.#durable = head.seq
    const { disk, volume, directory, aheadBytes, fileBytesMax, base } = place
    const ahead = aheadBytes === undefined ? {} : { aheadBytes }
    const most = fileBytesMax === undefined ? {} : { fileBytesMax }
    for (const chunk of base?.chunks ?? []) this.#chunks.set(chunk, 0)
    for (const { header } of scan(disk, directory, volume, null, null, { upTo: head.seq })) {
      if (header.seq > (base?.seq ?? 0)) this.#note(header, header.seq)
    }
    this.#journal = new Journal({
      disk,
      directory,
      volumeId: volume,
      sealer: plainSealer,
      ...ahead,
      ...most,
    })
  }

  #note(
    { begins, ends }: { readonly begins: readonly ChunkId[]; readonly ends: readonly ChunkId[] },
    seq: number,
  ): void {
    for (const chunk of begins) this.#chunks.set(chunk, 0)
    for (const chunk of ends) this.#chunks.set(chunk, seq)
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
    this.#note(chunks, this.#head.seq)
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

  leased(): void {}

  fence(): JournalHead {
    this.#over = true
    this.#journal.close()
    return this.#head
  }

  cutBefore(seq: RecordSeq): void {
    const { disk, directory, volume } = this.#place
    this.#from = startOfFile(disk, directory, volume, seq)?.seq ?? this.#from
    for (const at of [...this.#places.keys()]) if (at <= this.#from) this.#places.delete(at)
  }

  placeBehind(seq: RecordSeq): JournalHead | null {
    if (seq < this.#from) return null
    if (seq >= this.#head.seq) return seq === this.#head.seq ? this.#head : null
    const { disk, directory, volume } = this.#place
    return this.#places.get(seq) ?? placeBehind(disk, directory, volume, seq)
  }

  placesBehind(seqs: readonly RecordSeq[]): (JournalHead | null)[] {
    return seqs.map((seq) => this.placeBehind(seq))
  }

  read(after: { readonly seq: RecordSeq }, bytesMax: number): Buffer | null {
    const from = this.placeBehind(after.seq)
    if (!from) return null
    const { disk, directory, volume } = this.#place
    return readRun(disk, directory, volume, from, this.#head.seq, bytesMax)
  }

  /** Chunks that its records begin and none up to `committed` ends. */
  chunksInUse(committed: RecordSeq): Set<ChunkId> {
    const used = new Set<ChunkId>()
    for (const [chunk, ended] of this.#chunks) {
      if (ended === 0 || ended > committed) used.add(chunk)
    }
    return used
  }
}
