import {
  type ChunkId,
  type CopyId,
  CorruptError,
  type Epoch,
  FsError,
  type NodeId,
  newId,
  type VolumeId,
} from '../../src/base/index.ts'
import { type Disk, SimulatedDisk } from '../../src/disk/index.ts'
import { firstHead, readCheckpoint, scan } from '../../src/journal/index.ts'
import type { CopyChunks, DriveSet, OldChunks } from '../../src/replication/index.ts'
import { plainSealer } from '../journal/world.ts'
import type { Seeded } from '../support/seeded.ts'
import { NodeClock, type Timeline } from './timeline.ts'

export const VOLUME = '00'.repeat(16) as VolumeId
export const DIRECTORY = '/drive/volume'
const CHUNKS = '/drive/chunks'
/** Zeros behind records cost a simulated disk more than they show. */
export const AHEAD_BYTES = 512
/** A few records, so that a log has many files and is cut often. */
export const FILE_BYTES_MAX = 2048

interface MachineLife {
  readonly clock: NodeClock
  readonly disk: Disk
}

/** A machine's drive and clock. Its programs come and go; what an ended one still tries to do fails. */
export class Machine {
  readonly timeline: Timeline
  readonly dice: Seeded
  disk = new SimulatedDisk()
  /** Changes of the drives that chunks lie on. */
  #driveChanges = 0
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

  get drives(): DriveSet {
    return this.#driveChanges.toString(16).padStart(32, '0')
  }

  chunks(): ChunkId[] {
    return this.disk.exists(CHUNKS) ? (this.disk.list(CHUNKS) as ChunkId[]) : []
  }

  /** A drive that these chunks were on, and nothing else, is gone. */
  loseChunks(chunks: readonly ChunkId[]): void {
    this.#driveChanges++
    if (chunks.length === 0) return
    for (const chunk of chunks) this.disk.unlink(`${CHUNKS}/${chunk}`)
    this.disk.fsyncDirectory(CHUNKS)
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
  readonly drives: () => DriveSet

  constructor(disk: Disk, drives: () => DriveSet) {
    this.#disk = disk
    this.drives = drives
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

  async check(chunk: ChunkId): Promise<{ isWhole: boolean; bytes: number } | null> {
    const bytes = await this.read(chunk)
    return bytes && { isWhole: true, bytes: bytes.length }
  }

  async old(_part: number, { epoch }: OldChunks, countMax: number): Promise<ChunkId[]> {
    const old = this.#disk.list(CHUNKS).filter((name) => epochOf(name as ChunkId) < epoch)
    return (old as ChunkId[]).slice(0, countMax)
  }

  async delete(chunk: ChunkId): Promise<void> {
    if (!this.has(chunk)) return
    this.#disk.unlink(`${CHUNKS}/${chunk}`)
    this.#disk.fsyncDirectory(CHUNKS)
  }
}

/** Its epoch stands in the id, as that of a real one in its header. */
export function newChunk(dice: Seeded, epoch: Epoch): ChunkId {
  const number = epoch.toString(16).padStart(8, '0')
  return `${newId<ChunkId>(dice).slice(0, 24)}${number}` as ChunkId
}

function epochOf(chunk: ChunkId): number {
  return Number.parseInt(chunk.slice(24, 32), 16)
}

/** What a dump of the simulated view was taken at, and the chunks that its text lies in. */
export interface Dump {
  readonly at: { readonly epoch: number; readonly seq: number; readonly chain: string }
  readonly chunks: readonly ChunkId[]
}

/** A checkpoint as the record that names it says it. */
export interface Manifest {
  readonly newest: Dump
  readonly previous: Dump | null
}

/** The view: every record, the chunks in use after the last, and the newest checkpoint that a record named. */
export interface LogRead {
  readonly tags: Map<number, string>
  readonly chunks: Set<ChunkId>
  named: Manifest | null
  /** Sequence of the newest record. */
  seq: number
}

export function dumpText({ tags, chunks, named, seq }: LogRead): Buffer {
  return Buffer.from(JSON.stringify({ tags: [...tags], chunks: [...chunks], named, seq }))
}

/** What the checkpoint on a drive holds; null while its log begins at the start. @throws CorruptError */
export function readDump(disk: Disk): LogRead | null {
  const file = readCheckpoint(disk, DIRECTORY, VOLUME)
  if (!file) return null
  const manifest = JSON.parse(file.manifest.toString()) as Manifest
  const parts = manifest.newest.chunks.map((chunk) => {
    const path = `${CHUNKS}/${chunk}`
    if (!disk.exists(path)) throw new CorruptError('a chunk of the checkpoint is gone', { chunk })
    return disk.readFile(path)
  })
  const { tags, chunks, named, seq } = JSON.parse(Buffer.concat(parts).toString())
  return { tags: new Map(tags), chunks: new Set(chunks), named, seq }
}

/** A drive's checkpoint and log, as a node that takes the volume over reads them. @throws CorruptError */
export function readLog(disk: Disk): LogRead {
  const read = readDump(disk) ?? { tags: new Map(), chunks: new Set(), named: null, seq: 0 }
  const first = firstHead(disk, DIRECTORY, VOLUME)
  if (!first || first.seq > read.seq) {
    throw new CorruptError('the log begins behind what is known', { seq: read.seq })
  }
  for (const { header, head, body } of scan(disk, DIRECTORY, VOLUME, null, plainSealer)) {
    if (header.seq === read.seq && read.tags.get(header.seq) !== head.chain.toString('hex')) {
      throw new CorruptError('the log is not the one of the checkpoint', { seq: read.seq })
    }
    if (header.seq <= read.seq) continue
    read.seq = header.seq
    read.tags.set(header.seq, head.chain.toString('hex'))
    for (const chunk of header.begins) read.chunks.add(chunk)
    for (const chunk of header.ends) read.chunks.delete(chunk)
    if (body?.subarray(0, 1).toString() === '{') read.named = JSON.parse(body.toString())
  }
  return read
}

export const nodeId = (index: number) => `${index}`.repeat(32).slice(0, 32) as NodeId
export const copyId = (index: number, life: number) =>
  Buffer.of(index, life, ...Array(14).fill(0xcc)).toString('hex') as CopyId
