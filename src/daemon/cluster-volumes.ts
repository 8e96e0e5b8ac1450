import { Alarm, background, type Clock, CorruptError, FsError, type Log } from '../base/index.ts'
import type { StoredVolume, VolumeList, VolumeRegistry } from '../volumes/index.ts'
import { orNull } from './cluster-coordinator.ts'
import type { KeptEntries } from './cluster-kept.ts'

/** A start does not wait longer for the coordinator: the root is shown from what is known. */
const START_MS = 3000
/** A watch wakes at once; asking all the same finds what a watch that broke unnoticed has missed. */
const POLL_MS = 5000
/** A person who lists volumes waits so long at most for what another node did a moment ago. */
const LOOK_MS = 1000
export interface ClusterVolumesWorld {
  readonly registry: VolumeRegistry
  readonly kept: KeptEntries
  readonly clock: Clock
  readonly log: Log
  /** What the coordinator has now. */
  adopt(list: VolumeList): Promise<void>
}

/**
 * Keeps a node's volumes as the coordinator has them: by watching, and by asking now and then. The last state is written
 * down (KeptEntries), so that a node that starts alone shows its namespace; nothing is opened, owned or deleted for it.
 */
export class ClusterVolumes {
  readonly #world: ClusterVolumesWorld
  #cancel: (() => void) | null = null
  #turn: Promise<void> = Promise.resolve()
  readonly #alarm: Alarm
  #closed = false

  constructor(world: ClusterVolumesWorld) {
    this.#world = world
    this.#alarm = new Alarm(world.clock)
  }

  /** Before the start: the coordinator's list, or null when it does not answer in time. */
  first(): Promise<VolumeList | null> {
    const { clock, registry } = this.#world
    return orNull(clock, START_MS, registry.list())
  }

  /** As last known. Version 0: no change may be made that rests on it. */
  remembered(): StoredVolume[] {
    return this.#world.kept.volumes().map((record) => ({ record, version: 0 }))
  }

  follow(): void {
    this.#follow().catch(background(this.#world.log, 'volumes.follow'))
  }

  wake(): void {
    this.#alarm.ring()
  }

  /** As the coordinator has it now, if it answers so soon. */
  async look(ms = LOOK_MS): Promise<void> {
    await orNull(this.#world.clock, ms, this.#refresh())
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
      const { registry, kept, adopt } = this.#world
      const list = await registry.list()
      // Before anything rests on it.
      await kept.update()
      await adopt(list)
    }
    this.#turn = this.#turn.then(refresh, refresh)
    return this.#turn
  }
}
