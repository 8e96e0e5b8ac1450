import { z } from 'zod'
import {
  type Clock,
  CorruptError,
  FsError,
  isoTime,
  type Log,
  limits,
  messageOf,
  type NodeId,
} from '../base/index.ts'
import type { Coordinator, Entry } from '../coordinator/index.ts'

/** How the cluster mends itself. */
export interface RepairSettings {
  /** A node that does not answer may come back so long before its copies are made elsewhere, milliseconds. */
  readonly graceMs: number
  /** Of one node, for copies that nobody waits for, while nobody waits for the volume. */
  readonly bytesPerSecond: number
}

const MIB = 1024 * 1024
export const defaultSettings: RepairSettings = { graceMs: 120_000, bytesPerSecond: 256 * MIB }
/** While callers wait for the volume, repair has this part of its rate. */
export const AWAITED_SHARE = 0.25

const PREFIX = 'repair/'
const SETTINGS = `${PREFIX}settings`
const DRAIN = `${PREFIX}drain/`
const REFRESH_MS = 2000
const ATTEMPTS_MAX = 100
export const graceMsMax = 7 * 24 * 3600 * 1000
export const rateMin = MIB

const settingsShape = z.strictObject({
  version: z.literal(1),
  graceMs: z.int().min(0).max(graceMsMax),
  bytesPerSecond: z.int().min(rateMin).max(limits.volumeBytesMax),
})
const drainShape = z.strictObject({ version: z.literal(1), since: z.string().max(40) })
const hex = /^[0-9a-f]{32}$/

/** What people asked of repair, kept in the coordinator for all nodes: settings, and nodes that are being emptied. */
export class RepairWishes {
  readonly #coordinator: Coordinator
  readonly #clock: Clock
  readonly #log: Log
  #settings = defaultSettings
  #draining: ReadonlyMap<NodeId, string> = new Map()
  #atMs = Number.NEGATIVE_INFINITY

  constructor(coordinator: Coordinator, clock: Clock, log: Log) {
    this.#coordinator = coordinator
    this.#clock = clock
    this.#log = log
  }

  /** As last known. */
  get settings(): RepairSettings {
    return this.#settings
  }

  /** Nodes that are being emptied, and since when, as last known. */
  get draining(): ReadonlyMap<NodeId, string> {
    return this.#draining
  }

  /** Know what is asked for now, unless that was looked at a moment ago. Without the coordinator all stays as it was. */
  async refresh(): Promise<void> {
    const now = this.#clock.monotonicMs()
    if (now - this.#atMs < REFRESH_MS) return
    this.#atMs = now
    try {
      await this.#read()
    } catch (error) {
      if (!(error instanceof FsError || error instanceof CorruptError)) throw error
      this.#log.warn({ op: 'repair.wishes', error: messageOf(error) }, 'as last known')
    }
  }

  /** @throws FsError of the coordinator */
  async change(change: Partial<RepairSettings>): Promise<RepairSettings> {
    await this.#set(SETTINGS, (entry) => {
      const before = entry ? settingsOf(entry) : defaultSettings
      return { version: 1, ...before, ...change }
    })
    await this.#read()
    return this.#settings
  }

  /** Empty a node from now on, or no more. @throws FsError of the coordinator */
  async drain(node: NodeId, isWanted: boolean): Promise<void> {
    await this.#set(`${DRAIN}${node}`, (entry) => {
      if (!isWanted) return null
      return entry ? undefined : { version: 1, since: isoTime(this.#clock) }
    })
    await this.#read()
  }

  async #set(key: string, make: (entry: Entry | null) => object | null | undefined): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const entry = await this.#coordinator.get(key)
      const wanted = make(entry)
      if (wanted === undefined || (wanted === null && entry === null)) return
      const value = wanted === null ? null : Buffer.from(JSON.stringify(wanted))
      const done = await this.#coordinator.compareAndSet(key, entry?.version ?? 0, value)
      if (done.ok) return
    }
    throw new FsError('EBUSY', 'repair.change', {
      retry: 'later',
      message: 'lost to other changes of the same setting; try again',
    })
  }

  async #read(): Promise<void> {
    const entries = await this.#coordinator.list(PREFIX)
    const draining = new Map<NodeId, string>()
    let settings = defaultSettings
    for (const entry of entries) {
      if (entry.key === SETTINGS) settings = settingsOf(entry)
      const node = entry.key.slice(DRAIN.length)
      if (!entry.key.startsWith(DRAIN) || !hex.test(node)) continue
      draining.set(node as NodeId, read(drainShape, entry).since)
    }
    this.#settings = settings
    this.#draining = draining
  }
}

function settingsOf(entry: Entry): RepairSettings {
  const { graceMs, bytesPerSecond } = read(settingsShape, entry)
  return { graceMs, bytesPerSecond }
}

function read<T extends z.ZodType>(shape: T, { key, value }: Entry): z.infer<T> {
  try {
    return shape.parse(JSON.parse(value.toString()))
  } catch (error) {
    throw new CorruptError(`not what this build reads: ${key}`, { key }, error)
  }
}
