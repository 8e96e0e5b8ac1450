import {
  type ChunkId,
  type CopyId,
  FsError,
  type NodeId,
  type VolumeId,
} from '../../src/base/index.ts'
import { type Disk, SimulatedDisk } from '../../src/disk/index.ts'
import { scan } from '../../src/journal/index.ts'
import type { CopyChunks } from '../../src/replication/index.ts'
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
