import {
  type Clock,
  type CopyId,
  codeOf,
  type Log,
  messageOf,
  type VolumeId,
} from '../base/index.ts'
import type { CopyPlace, DriveSet } from './messages.ts'
import type { Fill } from './repair-fill.ts'

export interface DoubtsWorld {
  readonly volume: VolumeId
  readonly clock: Clock
  readonly report: Log
  /** Between two looks through one copy: what can be given it now is. */
  readonly againMs: number
  /** As OwnerWorld.awayMs. */
  awayMs(): number
  /** Gives a copy the chunks in use that it lacks. */
  fillOf(copy: CopyPlace, isOver: () => boolean): Fill
  /** Tell a copy that it was found whole while its node's drives were these. */
  foundWhole(copy: CopyPlace, drives: DriveSet): Promise<void>
}

/** A copy whose node has other drives than when it was last found to have every chunk. */
interface Doubt {
  readonly drives: DriveSet
  readonly sinceMs: number
  /** Null until it was looked through once. */
  lacksChunks: number | null
  lookedMs: number
  /** Why it cannot be given them, in words. */
  stuck: string | null
}

/**
 * Which copies may lack chunks that they have confirmed, because drives of their nodes came or went (§6.7). A member keeps its
 * place meanwhile: it is looked through, and given what it lacks when the drive has had its time to come back.
 */
export class Doubts {
  readonly #world: DoubtsWorld
  readonly #doubts = new Map<CopyId, Doubt>()
  /** How often each copy's node was found to have other drives. */
  readonly #changes = new Map<CopyId, number>()
  /** Copies that are being brought up, here or by the owner. */
  readonly #fills: Map<CopyId, Fill>

  constructor(world: DoubtsWorld, fills: Map<CopyId, Fill>) {
    this.#world = world
    this.#fills = fills
  }

  /**
   * What a copy says with its grant. @param drives those of its node, when they are others than those it was found whole on
   * @returns whether they are others than it said before
   */
  heard(id: CopyId, drives: DriveSet | null): boolean {
    if (drives === null) {
      this.#doubts.delete(id)
      return false
    }
    if (this.#doubts.get(id)?.drives === drives) return false
    const sinceMs = this.#world.clock.monotonicMs()
    const lookedMs = Number.NEGATIVE_INFINITY
    this.#doubts.set(id, { drives, sinceMs, lacksChunks: null, lookedMs, stuck: null })
    this.#changes.set(id, this.changes(id) + 1)
    return true
  }

  /** It is no copy of the volume any more. */
  forget(id: CopyId): void {
    this.#doubts.delete(id)
    this.#changes.delete(id)
  }

  /** Rises whenever a copy's node has other drives: what it confirmed before counts no more. */
  changes(id: CopyId): number {
    return this.#changes.get(id) ?? 0
  }

  has(id: CopyId): boolean {
    return this.#doubts.has(id)
  }

  /** Those of the node of a copy that is in doubt. */
  drives(id: CopyId): DriveSet | null {
    return this.#doubts.get(id)?.drives ?? null
  }

  /** As CopyStanding. */
  lacksChunks(id: CopyId): number {
    return this.#doubts.get(id)?.lacksChunks ?? 0
  }

  /** Why it cannot be given what it lacks, in words. */
  stuck(id: CopyId): string | null {
    return this.#doubts.get(id)?.stuck ?? null
  }

  /** Begin to look through those of these copies, which answer, whose turn it is. */
  look(copies: Iterable<CopyPlace>): void {
    const { report, clock, againMs } = this.#world
    const now = clock.monotonicMs()
    for (const copy of copies) {
      const doubt = this.#doubts.get(copy.id)
      if (!doubt || this.#fills.has(copy.id) || now - doubt.lookedMs < againMs) continue
      doubt.lookedMs = now
      this.#lookThrough(copy, doubt).catch((error: unknown) => {
        // For want of room there; whatever else went wrong may go right the next time.
        if (codeOf(error) === 'ENOSPC') doubt.stuck = messageOf(error)
        report.warn({ copy: copy.id, error: messageOf(error) }, 'not looked through')
      })
    }
  }

  async #lookThrough(copy: CopyPlace, doubt: Doubt): Promise<void> {
    const { volume, report, awayMs, fillOf, foundWhole } = this.#world
    const { id, node } = copy
    const isOver = () => this.#doubts.get(id) !== doubt
    const fill = fillOf(copy, isOver)
    const lacking = await fill.lacking()
    if (lacking === null || isOver()) return
    doubt.lacksChunks = lacking.length
    if (lacking.length > 0) {
      report.warn({ volume, copy: id, node, chunks: lacking.length }, 'it lacks chunks')
      if (doubt.lookedMs - doubt.sinceMs < awayMs()) return
      this.#fills.set(id, fill)
      try {
        if (!(await fill.run()) || isOver()) return
      } finally {
        this.#fills.delete(id)
      }
      doubt.stuck = null
      doubt.lacksChunks = 0
    }
    // Its next grant says whether it is in doubt still.
    await foundWhole(copy, doubt.drives)
  }
}
