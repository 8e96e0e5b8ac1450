import {
  type ChunkId,
  type Epoch,
  FsError,
  type KeyEpoch,
  type RecordSeq,
  type VolumeId,
} from '../../src/base/index.ts'
import { systemDisk } from '../../src/disk/index.ts'
import { Journal, type JournalHead, placeBehind, scan } from '../../src/journal/index.ts'
import { type LedLog, type OwnLog, type Place, readRun } from '../../src/replication/index.ts'
import { plainSealer } from '../journal/world.ts'

/** The log of an owner on a real drive: what a volume's engine does to its journal, and nothing else of it. */
export class OwnerLog implements LedLog, OwnLog {
  readonly epoch: Epoch
  readonly #volume: VolumeId
  readonly #directory: string
  readonly #journal: Journal
  readonly #fenced: () => void
  #head: JournalHead
  #durable: RecordSeq
  #over = false

  /** @param fenced another owner was promised the copy */
  constructor(
    place: { readonly volume: VolumeId; readonly directory: string },
    epoch: Epoch,
    head: JournalHead,
    fenced: () => void,
  ) {
    this.epoch = epoch
    this.#volume = place.volume
    this.#directory = place.directory
    this.#head = head
    this.#durable = head.seq
    this.#fenced = fenced
    this.#journal = new Journal({
      disk: systemDisk,
      directory: place.directory,
      volumeId: place.volume,
      sealer: plainSealer,
    })
  }

  get head(): JournalHead {
    return this.#head
  }

  get durable(): RecordSeq {
    return this.#durable
  }

  /** @param confirmed what every member had when it was asked · @throws FsError EIO when fenced */
  append(body: Buffer, begins: ChunkId[], confirmed: RecordSeq): Place {
    if (this.#over) throw new FsError('EIO', 'append', { message: 'fenced' })
    const fields = {
      epoch: this.epoch,
      keyEpoch: 1 as KeyEpoch,
      confirmed: { epoch: this.epoch, seq: Math.min(confirmed, this.#head.seq) as RecordSeq },
      begins,
      ends: [],
    }
    this.#head = this.#journal.append(this.#head, fields, body)
    return this.#head
  }

  async sync(): Promise<void> {
    if (this.#over) throw new FsError('EIO', 'sync', { message: 'fenced' })
    const head = this.#head
    await this.#journal.syncAsync(head)
    // Of a fenced log nothing counts any more.
    if (!this.#over && head.seq > this.#durable) this.#durable = head.seq
  }

  fence(): JournalHead {
    this.#over = true
    this.#journal.close()
    this.#fenced()
    return this.#head
  }

  placeBehind(seq: RecordSeq): Place | null {
    if (seq >= this.#head.seq) return seq === this.#head.seq ? this.#head : null
    return placeBehind(systemDisk, this.#directory, this.#volume, seq)
  }

  read(after: Place, bytesMax: number): Buffer {
    const from = placeBehind(systemDisk, this.#directory, this.#volume, after.seq)
    if (!from) throw new FsError('EIO', 'read', { message: 'no such record' })
    return readRun(systemDisk, this.#directory, this.#volume, from, this.#head.seq, bytesMax)
  }

  /** Chunks that its records begin; none of them ends one. */
  chunksInUse(): Set<ChunkId> {
    const used = new Set<ChunkId>()
    const upTo = { upTo: this.#head.seq }
    for (const { header } of scan(systemDisk, this.#directory, this.#volume, null, null, upTo)) {
      for (const chunk of header.begins) used.add(chunk)
    }
    return used
  }
}

/** Seal tags of every record of a log, by sequence. */
export function tagsIn(directory: string, volume: VolumeId): Record<number, string> {
  const tags: Record<number, string> = {}
  for (const { head } of scan(systemDisk, directory, volume, null, null)) {
    tags[head.seq] = head.chain.toString('hex')
  }
  return tags
}
