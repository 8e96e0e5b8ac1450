import { type Clock, FsError, ROOT_INO, type VolumeNumber } from '../base/index.ts'
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
 * fsync of what a mount's thread has appended to the journal itself, on a volume of several copies: it asks the owner at once,
 * who has the other copies and this node's own made durable, and answers the kernel. Past the engine's thread, two of six wakings
 * of a thread are saved.
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
    const { owned, synced, clock } = this.#world
    let errno = 0
    try {
      const found = owned(number)
      if (!found) {
        throw new FsError('EIO', 'fsync', { message: 'the volume is closed, or has stopped' })
      }
      const begunMs = clock.monotonicMs()
      await found.owner.sync(seq)
      synced(found.name, clock.monotonicMs() - begunMs)
    } catch (error) {
      errno = error instanceof FsError ? error.errno : -5
      this.#reasons.note(error, { number, ino: ROOT_INO, op: 'FSYNC' })
    }
    answerBare(fd, errno, uniqueLo, uniqueHi)
  }
}
