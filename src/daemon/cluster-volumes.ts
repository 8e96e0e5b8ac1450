import { join } from 'node:path'
import { z } from 'zod'
import {
  Alarm,
  background,
  type Clock,
  CorruptError,
  FsError,
  isBug,
  type Log,
  messageOf,
} from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import {
  decodeRecord,
  encodeRecord,
  type StoredVolume,
  type VolumeList,
  type VolumeRegistry,
} from '../volumes/index.ts'
import { orNull } from './cluster-coordinator.ts'

/** A start does not wait longer for the coordinator: the root is shown from what is known. */
const START_MS = 3000
/** A watch wakes at once; asking all the same finds what a watch that broke unnoticed has missed. */
const POLL_MS = 5000
/** A person who lists volumes waits so long at most for what another node did a moment ago. */
const LOOK_MS = 1000
const FILE = 'volumes.json'
const FORMAT = 1
const bytesMax = 256 * 1024 * 1024

const shape = z.strictObject({ version: z.literal(FORMAT), records: z.array(z.string()) })

export interface ClusterVolumesWorld {
  readonly home: string
  readonly disk: Disk
  readonly registry: VolumeRegistry
  readonly clock: Clock
  readonly log: Log
  /** What the coordinator has now. */
  adopt(list: VolumeList): Promise<void>
}

/**
 * Keeps a node's volumes as the coordinator has them: by watching, and by asking now and then. The last state is kept in
 * <home>/volumes.json, so that a node that starts alone shows its namespace; nothing is opened, owned or deleted for it.
 */
export class ClusterVolumes {
  readonly #world: ClusterVolumesWorld
  #cancel: (() => void) | null = null
  #turn: Promise<void> = Promise.resolve()
  readonly #alarm: Alarm
  #closed = false
  #kept = ''

  constructor(world: ClusterVolumesWorld) {
    this.#world = world
    this.#alarm = new Alarm(world.clock)
  }

  /** Before the start: the coordinator's list, or null when it does not answer in time. */
  first(): Promise<VolumeList | null> {
    const { clock, registry } = this.#world
    return orNull(clock, START_MS, registry.list())
  }

  /** As last known; none when nothing is, or when it cannot be read. */
  remembered(): StoredVolume[] {
    const { home, disk, log } = this.#world
    const path = join(home, FILE)
    if (!disk.exists(path)) return []
    try {
      const text = disk.readFile(path, bytesMax).toString()
      const { records } = shape.parse(JSON.parse(text))
      this.#kept = text
      // Version 0: no change may be made that rests on it.
      return records.map((each) => ({ record: decodeRecord(Buffer.from(each)), version: 0 }))
    } catch (error) {
      if (isBug(error)) throw error
      log.warn({ op: 'volumes.remembered', error: messageOf(error) }, 'volumes not known yet')
      return []
    }
  }

  follow(): void {
    this.#follow().catch(background(this.#world.log, 'volumes.follow'))
  }

  wake(): void {
    this.#alarm.ring()
  }

  /** As the coordinator has it now, if it answers soon. */
  async look(): Promise<void> {
    await orNull(this.#world.clock, LOOK_MS, this.#refresh())
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancel?.()
    this.#alarm.ring()
    await this.#turn.catch(() => {})
  }

  async #follow(): Promise<void> {
    while (!this.#closed) {
      try {
        this.#cancel ??= await this.#world.registry.watch(() => this.wake())
        await this.#refresh()
      } catch (error) {
        if (!(error instanceof FsError || error instanceof CorruptError)) throw error
        // Why the coordinator does not answer, the membership says.
      }
      await this.#alarm.sleep(POLL_MS)
    }
    this.#cancel?.()
  }

  #refresh(): Promise<void> {
    const refresh = async () => {
      if (this.#closed) return
      const list = await this.#world.registry.list()
      this.#keep(list.volumes)
      await this.#world.adopt(list)
    }
    this.#turn = this.#turn.then(refresh, refresh)
    return this.#turn
  }

  #keep(volumes: readonly StoredVolume[]): void {
    const { home, disk, log } = this.#world
    const ready = volumes.filter(({ record }) => record.state === 'ready')
    const records = ready.map(({ record }) => encodeRecord(record).toString())
    const text = `${JSON.stringify({ version: FORMAT, records })}\n`
    if (text === this.#kept) return
    try {
      disk.replaceFile(join(home, FILE), Buffer.from(text))
      this.#kept = text
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      log.error({ op: 'volumes.keep', error: messageOf(error) }, 'volumes not written down')
    }
  }
}
