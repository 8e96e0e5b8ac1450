import {
  background,
  type Clock,
  isBug,
  type Log,
  messageOf,
  type NodeId,
  type VolumeId,
} from '../base/index.ts'
import { copyOn } from '../volumes/index.ts'
import type { NodeVolume } from './volumes.ts'

export interface OrphansWorld {
  readonly node: NodeId
  readonly clock: Clock
  readonly log: Log
  /** As the cluster has it now, if that can be known. */
  graceMs(): Promise<number>
  volumes(): readonly NodeVolume[]
  isDown(node: NodeId): boolean
  refresh(volume: NodeVolume): Promise<void>
  /** As Volumes.bringHere. */
  bringHere(volume: NodeVolume): Promise<void>
  /** Have another node own it. @throws why that one cannot */
  give(volume: NodeVolume, to: NodeId): Promise<void>
}

const LOOK_MS = 2000
/** Between one member's try and the next one's. */
const TURN_MS = 3000
const AGAIN_MS = 15_000

/**
 * A volume whose owner is gone and that nobody uses has nobody to mend it: after the grace period a member of its in-sync set
 * takes it over, in the order of the set. Where the owner is this node, which has lost its copy with a drive, it asks the others.
 */
export class Orphans {
  readonly #world: OrphansWorld
  readonly #downSince = new Map<VolumeId, number>()
  #cancel: (() => void) | null = null
  #closed = false

  constructor(world: OrphansWorld) {
    this.#world = world
  }

  start(): void {
    this.#cancel = this.#world.clock.after(LOOK_MS, () => {
      this.look()
        .catch(background(this.#world.log, 'repair.orphans'))
        .finally(() => this.#closed || this.start())
    })
  }

  close(): void {
    this.#closed = true
    this.#cancel?.()
  }

  async look(): Promise<void> {
    const { clock, volumes } = this.#world
    let graceMs: number | null = null
    const now = clock.monotonicMs()
    for (const volume of volumes()) {
      const { id } = volume.stored.record
      const turn = this.#turnAt(volume)
      if (turn === null) {
        this.#downSince.delete(id)
        continue
      }
      const since = this.#downSince.get(id) ?? now
      this.#downSince.set(id, since)
      graceMs ??= await this.#world.graceMs()
      if (now - since < graceMs + turn * TURN_MS) continue
      this.#downSince.set(id, now + AGAIN_MS - graceMs)
      await this.#takeOver(volume)
    }
  }

  /** Its place among the members that could take it over; null when that is not for this node, or its owner is there. */
  #turnAt({ stored: { record }, closed }: NodeVolume): number | null {
    const { node, isDown } = this.#world
    const { owner, copies, inSync } = record
    if (closed?.state === 'elsewhere' && owner === node && copies.length > 1) return 0
    const isOrphan = closed?.state === 'elsewhere' && owner !== null && isDown(owner)
    const own = copyOn(record, node)
    if (!isOrphan || copies.length === 1 || !own || !inSync.includes(own.id)) return null
    const others = inSync.filter((id) =>
      copies.some((copy) => copy.id === id && copy.node !== owner),
    )
    return others.indexOf(own.id)
  }

  async #takeOver(volume: NodeVolume): Promise<void> {
    const { node, log, refresh, bringHere } = this.#world
    const { id, name, owner } = volume.stored.record
    try {
      await refresh(volume)
      if (volume.stored.record.owner !== owner) return
      log.info({ op: 'repair.orphan', volume: id }, `volume ${name}: its owner is gone`)
      if (owner === node) await this.#giveAway(volume)
      else await bringHere(volume)
    } catch (error) {
      if (isBug(error)) throw error
      log.warn({ op: 'repair.orphan', volume: id, error: messageOf(error) }, 'not taken over')
    }
  }

  /** @throws the last one's refusal */
  async #giveAway(volume: NodeVolume): Promise<void> {
    const { node, bringHere, give } = this.#world
    const { copies, inSync } = volume.stored.record
    const others = copies.filter((copy) => inSync.includes(copy.id) && copy.node !== node)
    const tries = [() => bringHere(volume), ...others.map((copy) => () => give(volume, copy.node))]
    let refusal: unknown
    for (const attempt of tries) {
      try {
        return await attempt()
      } catch (error) {
        if (isBug(error)) throw error
        refusal = error
      }
    }
    throw refusal
  }
}
