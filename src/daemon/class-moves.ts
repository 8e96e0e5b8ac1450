import { join } from 'node:path'
import { z } from 'zod'
import {
  Alarm,
  type ChunkId,
  type Clock,
  codeOf,
  FsError,
  isBug,
  type Log,
  messageOf,
  type NodeId,
  type VolumeId,
} from '../base/index.ts'
import type { RawChunks } from '../chunks/index.ts'
import { systemDisk } from '../disk/index.ts'
import { type Drive, type ServiceClass, takesData } from '../drives/index.ts'
import type { VolumeRecord } from '../volumes/index.ts'
import { journalDrive, markClass } from './move-journals.ts'

export interface ClassMovesWorld {
  readonly home: string
  readonly node: NodeId
  readonly drives: readonly Drive[]
  readonly chunks: RawChunks
  /** Volumes as last known here. */
  volumes(): Iterable<VolumeRecord>
  /** Fulfilled when so many bytes may be moved: callers come first. */
  pace(bytes: number): Promise<void>
  /** A journal goes at the start of the next life of the daemon. */
  restart(): Promise<void>
  readonly clock: Clock
  readonly log: Log
}

/** How far this node's copy of a volume is on its way to its class. */
export interface ClassMove {
  readonly chunksMoved: number
  readonly bytesMoved: number
  /** Still on drives of another class. */
  readonly chunksLeft: number
  /** Why some stay there, in words; '' when nothing is in the way. */
  readonly why: string
}

const LOOK_MS = 2000
/** What found no room in its class was put on another: it is looked for again so often. */
const AGAIN_MS = 3_600_000

/** For each volume the class that all of its chunks here were once found on, or moved to. */
const shape = z.strictObject({
  version: z.literal(1),
  settled: z.record(z.string().regex(/^[0-9a-f]{32}$/), z.number()),
})

/**
 * Moves this node's copies of volumes to drives of their class while they are in use: after `weft volume cos`, and where a class had
 * no room when something was written. Chunks first, then the journal, at the start of the next life of the daemon.
 */
export class ClassMoves {
  readonly #world: ClassMovesWorld
  readonly #moves = new Map<VolumeId, ClassMove>()
  readonly #settled: Map<string, number>
  /** What found no room in this life of the daemon, by the class it was to go to. */
  readonly #tried = new Map<VolumeId, ServiceClass>()
  #lookedMs: number
  readonly #alarm: Alarm
  #isClosed = false

  constructor(world: ClassMovesWorld) {
    this.#world = world
    this.#alarm = new Alarm(world.clock)
    this.#settled = readSettled(world.home)
    this.#lookedMs = world.clock.monotonicMs()
  }

  /** A drive has come: what found no room may find some. */
  again(): void {
    this.#tried.clear()
    this.#alarm.ring()
  }

  /** Null when all of it is where it shall be, as far as is known. */
  state({ id, spec, copies }: VolumeRecord): ClassMove | null {
    if (spec.cos === null || !copies.some(({ node }) => node === this.#world.node)) return null
    const isSettled = this.#settled.get(id) === spec.cos
    return this.#moves.get(id) ?? (isSettled ? null : nothingYet)
  }

  /** It has begun on drives of its class alone: nothing is looked for. */
  made({ id, spec }: VolumeRecord): void {
    if (spec.cos === null || spec.cosFallback) return
    this.#settled.set(id, spec.cos)
    writeSettled(this.#world.home, this.#settled)
  }

  /** Until `close`. */
  async run(): Promise<void> {
    const { log } = this.#world
    while (!this.#isClosed) {
      await this.#alarm.sleep(LOOK_MS)
      if (this.#isClosed) return
      try {
        await this.#look()
      } catch (error) {
        if (isBug(error) || !(error instanceof FsError)) throw error
        log.warn({ op: 'class.move', error: messageOf(error) }, 'tried again later')
      }
    }
  }

  close(): void {
    this.#isClosed = true
    this.#alarm.ring()
  }

  async #look(): Promise<void> {
    const { clock, node } = this.#world
    const now = clock.monotonicMs()
    const isTime = now - this.#lookedMs > AGAIN_MS
    if (isTime) this.#lookedMs = now
    const wanted = new Map<VolumeId, ServiceClass>()
    for (const { id, spec, copies, state } of this.#world.volumes()) {
      if (spec.cos === null || state !== 'ready') continue
      if (!copies.some((copy) => copy.node === node)) continue
      const isSettled = this.#settled.get(id) === spec.cos
      const isTried = this.#tried.get(id) === spec.cos
      if (isTime || !(isSettled || isTried)) wanted.set(id, spec.cos)
    }
    if (wanted.size === 0) return
    for (const id of wanted.keys()) this.#moves.set(id, nothingYet)
    await this.#moveAll(wanted)
    for (const [id, cos] of wanted) this.#settle(id, cos)
    await this.#moveJournals(wanted)
  }

  /** One pass over the drives for all volumes: whose a chunk is, its header says. */
  async #moveAll(wanted: ReadonlyMap<VolumeId, ServiceClass>): Promise<void> {
    const { drives, chunks } = this.#world
    await chunks.settle()
    for (const drive of [...drives]) {
      if (!takesData(drive)) continue
      if ([...wanted.values()].every((cos) => cos === drive.cos)) continue
      for (const chunk of chunks.on(drive)) {
        if (this.#isClosed) return
        const volume = await chunks.volumeOf(chunk, drive)
        const cos = volume && wanted.get(volume)
        if (volume && cos && cos !== drive.cos) await this.#move(volume, cos, chunk, drive)
      }
    }
  }

  async #move(volume: VolumeId, cos: ServiceClass, chunk: ChunkId, from: Drive): Promise<void> {
    const { drives, chunks, pace } = this.#world
    const before = this.#moves.get(volume) ?? nothingYet
    try {
      const others = drives.filter((one) => one.cos !== cos)
      const bytes = await chunks.moveOff(chunk, from, others)
      const { chunksMoved, bytesMoved } = before
      const moved = { chunksMoved: chunksMoved + 1, bytesMoved: bytesMoved + bytes }
      this.#moves.set(volume, { ...before, ...moved })
      await pace(bytes)
    } catch (error) {
      if (isBug(error)) throw error
      const why =
        codeOf(error) === 'ENOSPC' ? `no drive of class ${cos} here has room` : messageOf(error)
      this.#moves.set(volume, { ...before, chunksLeft: before.chunksLeft + 1, why })
    }
  }

  /** What found no room stays on the list, and is looked for again now and then. */
  #settle(id: VolumeId, cos: ServiceClass): void {
    const { home, log } = this.#world
    const move = this.#moves.get(id)
    log.info({ op: 'class.move', volume: id, cos, ...move }, 'moved to its class')
    if (move && move.chunksLeft > 0) {
      this.#tried.set(id, cos)
      return
    }
    this.#moves.delete(id)
    this.#settled.set(id, cos)
    writeSettled(home, this.#settled)
  }

  async #moveJournals(wanted: ReadonlyMap<VolumeId, ServiceClass>): Promise<void> {
    const { drives, restart } = this.#world
    let isWanted = false
    for (const [id, cos] of wanted) {
      const drive = journalDrive(id, drives, systemDisk)
      const isRoom = drives.some((one) => one.cos === cos && takesData(one))
      if (!drive || drive.cos === cos || !isRoom) continue
      markClass(id, drive, cos, systemDisk)
      isWanted = true
    }
    if (isWanted) await restart()
  }
}

const nothingYet: ClassMove = { chunksMoved: 0, bytesMoved: 0, chunksLeft: 0, why: '' }

function pathIn(home: string): string {
  return join(home, 'classes.json')
}

/** What cannot be read costs one more look at the headers of all chunks. */
function readSettled(home: string): Map<string, number> {
  const path = pathIn(home)
  if (!systemDisk.exists(path)) return new Map()
  try {
    const parsed = shape.safeParse(JSON.parse(systemDisk.readFile(path).toString()))
    return new Map(Object.entries(parsed.data?.settled ?? {}))
  } catch (error) {
    if (error instanceof SyntaxError) return new Map()
    throw error
  }
}

function writeSettled(home: string, settled: ReadonlyMap<string, number>): void {
  const text = JSON.stringify({ version: 1, settled: Object.fromEntries(settled) }, null, 2)
  systemDisk.replaceFile(pathIn(home), Buffer.from(`${text}\n`))
}
