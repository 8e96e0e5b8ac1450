import { type Clock, FsError, type RecordSeq, ROOT_INO, type VolumeNumber } from '../base/index.ts'
import { answerBare, type FromWorker, Reasons } from '../fuse/index.ts'
import type { Owner } from '../replication/index.ts'
import type { KeptReasons } from './reasons.ts'

type Sync = Extract<FromWorker, { kind: 'sync' }>

export interface CopySyncsWorld {
  /** Of a volume of several copies that this node owns; null of any other. */
  owned(number: VolumeNumber): { readonly owner: Owner; readonly name: string } | null
  /** Told the ms until what was asked for was on stable storage on every copy in sync. */
  synced(name: string, ms: number): void
  readonly kept: KeptReasons
  readonly clock: Clock
}

/**
 * fsync of what a mount's thread, or the one that answers other nodes, has appended to the journal itself, on a volume of several
 * copies: the owner is asked at once, who has the other copies and this node's own made durable. Past the engine's thread, two of
 * six wakings of a thread are saved.
 */
export class CopySyncs {
  readonly #world: CopySyncsWorld
  readonly #reasons: Reasons

  constructor(world: CopySyncsWorld) {
    this.#world = world
    this.#reasons = new Reasons(world.clock, (reason) => world.kept.note(reason))
  }

  /** The kernel gets its answer, whatever it is. */
  async answer({ number, seq, fd, uniqueLo, uniqueHi }: Sync): Promise<void> {
    answerBare(fd, await this.sync(number, seq), uniqueLo, uniqueHi)
  }

  /** @returns what the fsync is answered with: 0, or a negative errno whose reason was noted */
  async sync(number: VolumeNumber, seq: RecordSeq): Promise<number> {
    const { owned, synced, clock } = this.#world
    try {
      const found = owned(number)
      if (!found) {
        throw new FsError('EIO', 'fsync', { message: 'the volume is closed, or has stopped' })
      }
      const begunMs = clock.monotonicMs()
      await found.owner.sync(seq)
      synced(found.name, clock.monotonicMs() - begunMs)
      return 0
    } catch (error) {
      this.#reasons.note(error, { number, ino: ROOT_INO, op: 'FSYNC' })
      return error instanceof FsError ? error.errno : -5
    }
  }
}
