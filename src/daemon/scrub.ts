import { z } from 'zod'
import {
  background,
  type Clock,
  type CopyId,
  CorruptError,
  FsError,
  type Log,
  messageOf,
  type Random,
  type VolumeId,
  wallMs,
} from '../base/index.ts'
import type { Coordinator } from '../coordinator/index.ts'
import type { ScrubFinding } from '../replication/index.ts'
import type { OwnedVolume } from './repair.ts'

/** What scrubbing has found of one copy. */
export interface ScrubFound extends ScrubFinding {
  readonly copy: CopyId
  /** ISO time. */
  readonly at: string
}

/** How far it is, and what it has found since this node owns the volume. */
export interface ScrubState {
  readonly running: boolean
  readonly doneChunks: number
  readonly totalChunks: number
  readonly bytes: number
  /** Copies that did not answer to the end of it. */
  readonly unfinished: readonly CopyId[]
  readonly found: readonly ScrubFound[]
}

interface Scrubbing {
  state: ScrubState
}

export interface ScrubsWorld {
  readonly coordinator: Coordinator
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  owned(): Iterable<OwnedVolume>
}

const DAY_MS = 24 * 3600 * 1000
/** Each copy is read through every so many days, at a time drawn anew each time, so that they do not come together. */
export const scrubDays = { min: 25, max: 35 } as const
const LOOK_MS = 10 * 60 * 1000
const FOUND_MAX = 100
/** scrub/<volume>/<copy>: when the copy is to be read through next, milliseconds since 1970. */
const keyOf = (volume: VolumeId, copy: CopyId) => `scrub/${volume}/${copy}`
const due = z.strictObject({ version: z.literal(1), dueMs: z.number().min(0) })

/** Has the copies of the volumes that this node owns read through, each in its time or when a person asks. */
export class Scrubs {
  readonly #world: ScrubsWorld
  readonly #volumes = new Map<VolumeId, Scrubbing>()
  #cancel: (() => void) | null = null
  #closed = false

  constructor(world: ScrubsWorld) {
    this.#world = world
  }

  start(): void {
    const { clock, log } = this.#world
    this.#cancel = clock.after(LOOK_MS, () => {
      this.#lookAtAll()
        .catch(background(log, 'scrub'))
        .finally(() => this.#closed || this.start())
    })
  }

  close(): void {
    this.#closed = true
    this.#cancel?.()
  }

  state(volume: VolumeId): ScrubState {
    return this.#of(volume).state
  }

  /** Read all copies of a volume through now, unless that is under way. */
  begin(volume: OwnedVolume): void {
    const { id, copies } = volume.record
    if (this.#of(id).state.running) return
    const ids = copies.map((copy) => copy.id)
    this.#scrub(volume, ids).catch(background(this.#world.log, 'scrub.now'))
  }

  async #lookAtAll(): Promise<void> {
    for (const volume of this.#world.owned()) {
      if (this.#closed || this.#of(volume.record.id).state.running) continue
      try {
        const ids = await this.#due(volume)
        if (ids.length > 0) await this.#scrub(volume, ids)
      } catch (error) {
        // Without the coordinator nobody knows whose turn it is.
        if (!(error instanceof FsError || error instanceof CorruptError)) throw error
        this.#world.log.warn({ op: 'scrub.due', error: messageOf(error) }, 'looked at again later')
      }
    }
  }

  /** Copies whose time has come; one that is seen for the first time is given one, and times of copies that are gone go. */
  async #due({ record }: OwnedVolume): Promise<CopyId[]> {
    const { coordinator, clock, random } = this.#world
    const now = wallMs(clock)
    const entries = await coordinator.list(`scrub/${record.id}/`)
    const times = new Map(entries.map((entry) => [entry.key, entry]))
    const ids: CopyId[] = []
    for (const { id } of record.copies) {
      const key = keyOf(record.id, id)
      const entry = times.get(key)
      times.delete(key)
      if (!entry) await this.#setDue(record.id, id, now + share(random) * scrubDays.max * DAY_MS)
      else if (dueIn(entry.value) <= now) ids.push(id)
    }
    for (const { key, version } of times.values()) {
      await coordinator.compareAndSet(key, version, null)
    }
    return ids
  }

  async #setDue(volume: VolumeId, copy: CopyId, dueMs: number): Promise<void> {
    const { coordinator } = this.#world
    const key = keyOf(volume, copy)
    const value = Buffer.from(JSON.stringify({ version: 1, dueMs: Math.round(dueMs) }))
    // Lost to another owner's, which is as good.
    await coordinator.compareAndSet(key, (await coordinator.get(key))?.version ?? 0, value)
  }

  async #scrub({ owner, record }: OwnedVolume, ids: readonly CopyId[]): Promise<void> {
    const { clock, random, log } = this.#world
    const scrubbing = this.#of(record.id)
    const set = (change: Partial<ScrubState>) => {
      scrubbing.state = { ...scrubbing.state, ...change }
    }
    set({ running: true, doneChunks: 0, totalChunks: 0, bytes: 0, unfinished: [] })
    try {
      let [before, bytesBefore] = [0, 0]
      for (const [index, id] of ids.entries()) {
        let [chunks, bytes] = [0, 0]
        const found = await owner.scrub(
          id,
          () => this.#closed,
          (progress) => {
            chunks = progress.ofChunks
            bytes = progress.bytes
            set({
              doneChunks: before + progress.chunks,
              // All copies have the same chunks.
              totalChunks: before + chunks * (ids.length - index),
              bytes: bytesBefore + bytes,
            })
          },
        )
        before += chunks
        bytesBefore += bytes
        if (found === null) {
          set({ unfinished: [...scrubbing.state.unfinished, id] })
          continue
        }
        this.#note(record.id, id, found)
        log.info(
          { op: 'scrub', volume: record.id, copy: id, bytes, found: found.length },
          'scrubbed',
        )
        const days = scrubDays.min + share(random) * (scrubDays.max - scrubDays.min)
        await this.#setDue(record.id, id, wallMs(clock) + days * DAY_MS).catch((error: unknown) => {
          if (!(error instanceof FsError)) throw error
          log.warn({ op: 'scrub.due', error: messageOf(error) }, 'its next time is not noted')
        })
      }
    } finally {
      set({ running: false })
    }
  }

  #note(volume: VolumeId, copy: CopyId, found: readonly ScrubFinding[]): void {
    const scrubbing = this.#of(volume)
    const at = new Date(wallMs(this.#world.clock)).toISOString()
    for (const finding of found) {
      this.#world.log.error({ op: 'scrub', volume, copy, ...finding }, 'a copy is damaged')
    }
    const all = [...scrubbing.state.found, ...found.map((finding) => ({ ...finding, copy, at }))]
    scrubbing.state = { ...scrubbing.state, found: all.slice(-FOUND_MAX) }
  }

  #of(volume: VolumeId): Scrubbing {
    const known = this.#volumes.get(volume)
    if (known) return known
    const nothing = { doneChunks: 0, totalChunks: 0, bytes: 0, unfinished: [], found: [] }
    const scrubbing: Scrubbing = { state: { ...nothing, running: false } }
    this.#volumes.set(volume, scrubbing)
    return scrubbing
  }
}

/** From 0 up to 1. */
function share(random: Random): number {
  return random.bytes(6).readUIntBE(0, 6) / 2 ** 48
}

/** What cannot be read is due. */
function dueIn(value: Buffer): number {
  try {
    return due.parse(JSON.parse(value.toString())).dueMs
  } catch {
    return 0
  }
}
