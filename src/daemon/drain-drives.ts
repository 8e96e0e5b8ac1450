import {
  Alarm,
  background,
  type ChunkId,
  type Clock,
  codeOf,
  FsError,
  isBug,
  type Log,
  messageOf,
  type NodeId,
} from '../base/index.ts'
import type { RawChunks } from '../chunks/index.ts'
import { systemDisk } from '../disk/index.ts'
import { type Drive, takesData } from '../drives/index.ts'
import { TokenBucket } from '../replication/index.ts'
import { copyOn, type VolumeRegistry } from '../volumes/index.ts'
import { journalDrive, journalsOn, type KeptJournal } from './move-journals.ts'
import { moveQuarantine, quarantinedOn } from './move-quarantine.ts'

export interface DrainWorld {
  readonly node: NodeId
  readonly drives: readonly Drive[]
  readonly chunks: RawChunks
  readonly registry: Pick<VolumeRegistry, 'list' | 'copyMoved'>
  /** As LiveDrives.heard. */
  heard(): Promise<void>
  /** A journal goes at the start of the next life of the daemon. */
  restart(): Promise<void>
  /** Grows with whatever is written to volumes of this node: while that is much, callers come first. */
  readonly written: () => number
  readonly clock: Clock
  readonly log: Log
}

/** How far a drive that is being emptied is. */
export interface DrainState {
  readonly chunksMoved: number
  readonly bytesMoved: number
  /** Null until they are counted. */
  readonly chunksLeft: number | null
  /** Nothing that weft needs is on it any more. */
  readonly isEmpty: boolean
  /** Why it does not go on, or did not with some of it, in words; '' when nothing is in the way. */
  readonly why: string
}

/** Bytes a second, read from one drive and written to another: as fast as they go, and beside callers. */
const RATES = { bytesPerSecond: 2 ** 40, awaitedBytesPerSecond: 24 * 1024 * 1024 }
/** Chunks under way at a time. */
const CHUNKS_MAX = 4
const AGAIN_MS = 5000
/** Records a second by which callers are told from probes and the like, which nobody waits for. */
const BUSY_PER_S_MIN = 5
const BUSY_LOOK_MS = 500

/**
 * Empties drives that carry the mark: chunks go to the others while they are in use, journals at the start of a life of the
 * daemon (move-journals.ts), for which this one ends. A drive that gets full, or an error of one chunk, stops nothing else; what
 * is left is tried again.
 */
export class DriveDrains {
  readonly #world: DrainWorld
  readonly #bucket: TokenBucket
  readonly #states = new Map<Drive, DrainState>()
  /** Journals that did not go at the start. */
  readonly #kept: readonly KeptJournal[]
  /** Of drives that fail, and do not let go of what is elsewhere now. */
  readonly #gone = new Map<Drive, Set<ChunkId>>()
  /** Of what was set aside there, the same. */
  readonly #copied = new Map<Drive, Set<string>>()
  /** Drives that took data when that was looked at last: their ids. */
  #sound: string
  /** Whose emptying began in this life: their journals have not been tried. */
  readonly #begun = new Set<Drive>()
  /** Drives that are being gone over. */
  readonly #passing = new Set<Drive>()
  readonly #alarm: Alarm
  #isClosed = false
  /** What was written when that was looked at last, and whether it was much. */
  #written = 0
  #lookedMs = 0
  #wasBusy = false

  constructor(world: DrainWorld, kept: readonly KeptJournal[]) {
    this.#world = world
    this.#kept = kept
    this.#sound = soundOf(world.drives)
    this.#alarm = new Alarm(world.clock)
    this.#bucket = new TokenBucket(world.clock, () => RATES)
  }

  /** Until `close`. One that begins to fail is emptied as well, as far as it answers. */
  async run(): Promise<void> {
    const { drives, chunks, clock, written, log } = this.#world
    this.#written = written()
    this.#lookedMs = clock.monotonicMs()
    while (!this.#isClosed) {
      for (const drive of drives) {
        this.#lookAtOthers()
        const isDone = this.state(drive)?.isEmpty ?? true
        if (isDone || this.#passing.has(drive)) continue
        await chunks.settle()
        this.#passing.add(drive)
        this.#empty(drive)
          .finally(() => this.#passing.delete(drive))
          .catch(background(log, 'drive.drain'))
      }
      await this.#alarm.sleep(AGAIN_MS)
    }
  }

  /** A drive has the mark since just now, or has lost it: whatever is remembered of it is of before. */
  begin(drive: Drive): void {
    this.#states.delete(drive)
    if (drive.draining) this.#begun.add(drive)
    this.#alarm.ring()
  }

  /** Null for a drive that is not being emptied. */
  state(drive: Drive): DrainState | null {
    if (!isToBeEmptied(drive)) return null
    return (
      this.#states.get(drive) ?? {
        chunksMoved: 0,
        bytesMoved: 0,
        chunksLeft: null,
        isEmpty: false,
        why: '',
      }
    )
  }

  /** Why journals did not go from a drive at the start of this life, in words. */
  kept(drive: Drive): string[] {
    return this.#kept.filter((one) => one.drive === drive).map(({ why }) => why)
  }

  /** How many chunks on a drive are not known to be elsewhere. */
  chunksOn(drive: Drive): number {
    let count = 0
    for (const id of this.#world.chunks.on(drive)) if (!this.#goneFrom(drive).has(id)) count++
    return count
  }

  /**
   * Looked at anew, whatever is remembered. @throws FsError EBUSY with what is on the drive that weft needs; EIO when it does
   * not answer
   */
  mustBeEmpty(drive: Drive): void {
    const left = this.#leftOn(drive)
    if (left === '') return
    throw new FsError('EBUSY', 'drive.remove', {
      drive: drive.id,
      message: `drive ${drive.dir} still has ${left}`,
      next: `weft drive drain ${drive.id} empties it; weft drive status ${drive.id} shows how far it is`,
    })
  }

  /** As `pace` of what is moved for other reasons: all of it together has one rate. */
  async pace(bytes: number): Promise<void> {
    await this.#bucket.take(bytes, () => this.#isBusy())
  }

  close(): void {
    this.#isClosed = true
    this.#alarm.ring()
  }

  /** Once over what is on it: what stayed has another turn later. */
  async #empty(drive: Drive): Promise<void> {
    const { log, heard } = this.#world
    await heard()
    if (await this.#restarts(drive)) return
    const stayed = await this.#pass(drive)
    // Nothing comes behind the last look: it may have begun to take data, and ended, since the first.
    await heard()
    if (await this.#restarts(drive)) return
    const left = this.#tryLeftOn(drive)
    const isEmpty = stayed === '' && left === ''
    const why = stayed || (left && `${left} on it: weft drive drain ${drive.id} tries it once more`)
    this.#set(drive, { why, isEmpty })
    if (isEmpty) log.info({ op: 'drive.drain', drive: drive.id }, 'the drive is empty')
    else if (why !== '') log.warn({ op: 'drive.drain', drive: drive.id, why }, 'not empty yet')
  }

  /** A volume that was being made when the mark came has its journal there by now. */
  async #restarts(drive: Drive): Promise<boolean> {
    const { drives, restart } = this.#world
    if (!this.#begun.has(drive) || !drive.draining || drive.state !== 'ok') return false
    if (journalsOn(drive, drives, systemDisk).length === 0) return false
    await restart()
    return true
  }

  /** @returns why something stayed; '' when nothing did */
  async #pass(drive: Drive): Promise<string> {
    const { chunks, drives } = this.#world
    const stayed = new Map<string, number>()
    const stays = (error: unknown) => {
      if (isBug(error)) throw error
      const why = messageOf(error)
      stayed.set(why, (stayed.get(why) ?? 0) + 1)
      return codeOf(error) === 'ENOSPC'
    }
    try {
      let left = this.chunksOn(drive)
      this.#set(drive, { chunksLeft: left })
      const ids = chunks.on(drive)
      let isFull = false
      const mover = async () => {
        for (const id of ids) {
          if (this.#isClosed || isFull || !isToBeEmptied(drive)) return
          if (this.#goneFrom(drive).has(id)) continue
          try {
            const bytes = await chunks.moveOff(id, drive)
            const { chunksMoved, bytesMoved } = this.state(drive) ?? {
              chunksMoved: 0,
              bytesMoved: 0,
            }
            left--
            if (drive.state !== 'ok') this.#goneFrom(drive).add(id)
            this.#set(drive, {
              chunksMoved: chunksMoved + 1,
              bytesMoved: bytesMoved + bytes,
              chunksLeft: left,
            })
            await this.pace(bytes)
          } catch (error) {
            if (stays(error)) isFull = true
          }
        }
      }
      await Promise.all(Array.from({ length: CHUNKS_MAX }, mover))
      for (const why of await this.#tell()) stayed.set(why, 1)
      const others = drives.filter((one) => one !== drive && takesData(one))
      moveQuarantine(drive, others, systemDisk, this.#copiedFrom(drive))
    } catch (error) {
      stays(error)
    }
    const words = [...stayed].map(([why, count]) => (count === 1 ? why : `${why} (${count} times)`))
    return [...this.kept(drive), ...words].join('; ')
  }

  /** The records of volumes name the drive on which this node's copy is now. @returns why one does not, in words */
  async #tell(): Promise<string[]> {
    const { registry, node, drives, log } = this.#world
    try {
      const { volumes } = await registry.list()
      for (const { record } of volumes) {
        const copy = copyOn(record, node)
        const drive = copy && journalDrive(record.id, drives, systemDisk)
        if (!drive || drive.id === copy.drive) continue
        await registry.copyMoved(record.id, { id: copy.id, drive: drive.id })
        log.info({ op: 'drive.drain', volume: record.id, drive: drive.id }, 'its copy moved')
      }
      return []
    } catch (error) {
      if (isBug(error) || !(error instanceof FsError)) throw error
      return [`the coordinator was not told where copies are now: ${error.message}`]
    }
  }

  /** As `#leftOn`; of one that does not answer, that. */
  #tryLeftOn(drive: Drive): string {
    try {
      return this.#leftOn(drive)
    } catch (error) {
      if (isBug(error)) throw error
      return `nobody knows what (${messageOf(error)})`
    }
  }

  #leftOn(drive: Drive): string {
    const count = this.chunksOn(drive)
    const journals = journalsOn(drive, this.#world.drives, systemDisk).length
    const copied = this.#copiedFrom(drive)
    const aside = quarantinedOn(drive, systemDisk).filter((name) => !copied.has(name)).length
    const parts = [
      ...(count > 0 ? [`${count} chunks`] : []),
      ...(journals > 0 ? [`${journals} journals`] : []),
      ...(aside > 0 ? [`${aside} files in quarantine`] : []),
    ]
    return parts.join(', ')
  }

  /** What was elsewhere may have been on a drive that fails since: all of it is looked at anew then. */
  #lookAtOthers(): void {
    const sound = soundOf(this.#world.drives)
    if (sound === this.#sound) return
    this.#sound = sound
    this.#gone.clear()
    this.#copied.clear()
    for (const [one, state] of this.#states) this.#states.set(one, { ...state, isEmpty: false })
  }

  #goneFrom(drive: Drive): Set<ChunkId> {
    this.#lookAtOthers()
    const gone = this.#gone.get(drive) ?? new Set()
    this.#gone.set(drive, gone)
    return gone
  }

  #copiedFrom(drive: Drive): Set<string> {
    this.#lookAtOthers()
    const copied = this.#copied.get(drive) ?? new Set()
    this.#copied.set(drive, copied)
    return copied
  }

  #isBusy(): boolean {
    const now = this.#world.clock.monotonicMs()
    const ms = now - this.#lookedMs
    if (ms < BUSY_LOOK_MS) return this.#wasBusy
    const written = this.#world.written()
    this.#wasBusy = ((written - this.#written) * 1000) / ms >= BUSY_PER_S_MIN
    this.#written = written
    this.#lookedMs = now
    return this.#wasBusy
  }

  #set(drive: Drive, change: Partial<DrainState>): void {
    const state = this.state(drive)
    if (state) this.#states.set(drive, { ...state, ...change })
  }
}

function soundOf(drives: readonly Drive[]): string {
  return drives
    .filter(takesData)
    .map(({ id }) => id)
    .join()
}

function isToBeEmptied({ draining, state }: Drive): boolean {
  return state === 'failing' || (draining && state === 'ok')
}
