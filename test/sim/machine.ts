import {
  type ChunkId,
  type CopyId,
  type Epoch,
  FsError,
  type KeyEpoch,
  type NodeId,
  type RecordSeq,
  type VolumeId,
} from '../../src/base/index.ts'
import { type Disk, SimulatedDisk } from '../../src/disk/index.ts'
import { Journal, type JournalHead, placeBehind, scan } from '../../src/journal/index.ts'
import {
  type CopyChunks,
  type LedLog,
  type OwnLog,
  type Place,
  readRun,
} from '../../src/replication/index.ts'
import { plainSealer } from '../journal/world.ts'
import type { Seeded } from '../support/seeded.ts'
import { NodeClock, type Timeline } from './timeline.ts'

export const VOLUME = '00'.repeat(16) as VolumeId
export const DIRECTORY = '/drive/volume'
const CHUNKS = '/drive/chunks'
/** Zeros behind records cost a simulated disk more than they show. */
export const AHEAD_BYTES = 512

interface MachineLife {
  readonly clock: NodeClock
  readonly disk: Disk
}

/** A machine's drive and clock. Its programs come and go; what an ended one still tries to do fails. */
export class Machine {
  readonly timeline: Timeline
  readonly dice: Seeded
  disk = new SimulatedDisk()
  #life: MachineLife | null = null

  constructor(timeline: Timeline, dice: Seeded) {
    this.timeline = timeline
    this.dice = dice
  }

  /** @returns what a program of this life sees */
  boot(): MachineLife {
    const rate = 0.98 + this.dice.below(40) / 1000
    const clock = new NodeClock(this.timeline, rate, this.dice.below(1_000_000))
    const life: MachineLife = { clock, disk: this.#diskOf(this.disk, () => this.#life === life) }
    this.#life = life
    return life
  }

  /** kill -9: what was written stays in the page cache. */
  kill(): void {
    this.#life?.clock.end()
    this.#life = null
  }

  powerCut(): void {
    this.kill()
    this.disk.powerCut(this.dice)
  }

  /** Another drive in its place. */
  wipe(): void {
    this.kill()
    this.disk = new SimulatedDisk()
  }

  /** The drive as one life sees it; a sync takes a while. */
  #diskOf(disk: SimulatedDisk, alive: () => boolean): Disk {
    return new Proxy<Disk>(disk, {
      get: (target, name: keyof Disk) => {
        const call = target[name] as (...args: unknown[]) => unknown
        return (...args: unknown[]) => {
          if (!alive()) {
            if (name === 'close') return
            throw new FsError('EIO', name, { message: 'this life has ended' })
          }
          if (name !== 'fdatasyncAsync') return call.apply(target, args)
          return this.#syncSlowly(() => call.apply(target, args) as Promise<void>, alive)
        }
      },
    })
  }

  async #syncSlowly(sync: () => Promise<void>, alive: () => boolean): Promise<void> {
    await sync()
    await this.timeline.sleep(0.3 + this.dice.below(30) / 10)
    if (!alive()) throw new FsError('EIO', 'fdatasync', { message: 'this life has ended' })
  }
}

/** Chunks as files with nothing but their bytes. */
export class MachineChunks implements CopyChunks {
  readonly #disk: Disk

  constructor(disk: Disk) {
    this.#disk = disk
    disk.mkdir(CHUNKS)
  }

  async put(chunk: ChunkId, bytes: Buffer): Promise<void> {
    if (this.has(chunk)) return
    this.#disk.replaceFile(`${CHUNKS}/${chunk}`, bytes)
  }

  has(chunk: ChunkId): boolean {
    return this.#disk.exists(`${CHUNKS}/${chunk}`)
  }

  async read(chunk: ChunkId): Promise<Buffer | null> {
    return this.has(chunk) ? this.#disk.readFile(`${CHUNKS}/${chunk}`) : null
  }

  async delete(chunk: ChunkId): Promise<void> {
    if (!this.has(chunk)) return
    this.#disk.unlink(`${CHUNKS}/${chunk}`)
    this.#disk.fsyncDirectory(CHUNKS)
  }
}

/** The log of an owner: what a volume's engine does to its journal, and nothing else of it. */
export class SimLog implements LedLog, OwnLog {
  readonly epoch: Epoch
  readonly #disk: Disk
  readonly #journal: Journal
  readonly #fenced: () => void
  #head: JournalHead
  #durable: RecordSeq
  #over = false

  /** @param fenced another owner was promised the copy */
  constructor(disk: Disk, epoch: Epoch, head: JournalHead, fenced: () => void) {
    this.epoch = epoch
    this.#disk = disk
    this.#head = head
    this.#durable = head.seq
    this.#fenced = fenced
    this.#journal = new Journal({
      disk,
      directory: DIRECTORY,
      volumeId: VOLUME,
      sealer: plainSealer,
      aheadBytes: AHEAD_BYTES,
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
    body: string,
    chunks: { begins: ChunkId[]; ends: ChunkId[] },
    confirmed: RecordSeq,
  ): Place {
    if (this.#over) throw new FsError('EIO', 'append', { message: 'fenced' })
    const fields = {
      epoch: this.epoch,
      keyEpoch: 1 as KeyEpoch,
      confirmed: { epoch: this.epoch, seq: Math.min(confirmed, this.#head.seq) as RecordSeq },
      ...chunks,
    }
    this.#head = this.#journal.append(this.#head, fields, Buffer.from(body))
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
    return placeBehind(this.#disk, DIRECTORY, VOLUME, seq)
  }

  read(after: Place, bytesMax: number): Buffer {
    const from = placeBehind(this.#disk, DIRECTORY, VOLUME, after.seq)
    if (!from) throw new FsError('EIO', 'read', { message: 'no such record' })
    return readRun(this.#disk, DIRECTORY, VOLUME, from, this.#head.seq, bytesMax)
  }

  /** Chunks that its records begin and none up to `committed` ends. */
  chunksInUse(committed: RecordSeq): Set<ChunkId> {
    const used = new Set<ChunkId>()
    const upTo = { upTo: this.#head.seq }
    for (const { header } of scan(this.#disk, DIRECTORY, VOLUME, null, null, upTo)) {
      for (const chunk of header.begins) used.add(chunk)
      if (header.seq > committed) continue
      for (const chunk of header.ends) used.delete(chunk)
    }
    return used
  }
}

/** Every record of a drive's log: seal tags by sequence, and the chunks in use after the last. */
export function readLog(disk: Disk): { tags: Map<number, string>; chunks: Set<ChunkId> } {
  const tags = new Map<number, string>()
  const chunks = new Set<ChunkId>()
  for (const { header, head } of scan(disk, DIRECTORY, VOLUME, null, null)) {
    tags.set(head.seq, head.chain.toString('hex'))
    for (const chunk of header.begins) chunks.add(chunk)
    for (const chunk of header.ends) chunks.delete(chunk)
  }
  return { tags, chunks }
}

export const nodeId = (index: number) => `${index}`.repeat(32).slice(0, 32) as NodeId
export const copyId = (index: number, life: number) =>
  Buffer.of(index, life, ...Array(14).fill(0xcc)).toString('hex') as CopyId
