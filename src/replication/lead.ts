import { type ChunkId, FsError, type Log, type RecordSeq, type VolumeId } from '../base/index.ts'
import type { Checkpoint, JournalHead } from '../journal/index.ts'
import type { Copy, LedLog } from './copy.ts'
import type { OwnLog } from './follower.ts'
import { InSyncSet } from './in-sync-set.ts'
import type { Place } from './messages.ts'
import { Owner, type OwnerWorld } from './owner.ts'
import type { Unnamed } from './sweep-copy.ts'
import {
  adopt,
  type CandidateWorld,
  type Claim,
  claim,
  establish,
  type Refused,
} from './take-over.ts'

/** A volume that is open on this node, at the epoch that was claimed. */
export interface OpenedLog {
  readonly log: LedLog & OwnLog
  /** Behind the first record of the epoch. */
  readonly first: Place
  chunksInUse(committed: RecordSeq): Promise<Iterable<ChunkId>>
  readChunk(chunk: ChunkId): Promise<Buffer | null>
  /** As OwnerWorld. */
  readonly checkpoint: Checkpoint | null
  pinCheckpoint(): Promise<() => void>
  unnamed(chunks: readonly ChunkId[]): Promise<Unnamed>
}

export interface LeadWorld extends CandidateWorld {
  readonly volume: VolumeId
  readonly report: Log
  /** Open the volume behind `head` and append the first record of the epoch; nothing is served yet. */
  open(claim: Claim, head: JournalHead): Promise<OpenedLog>
  /** As OwnerWorld.pace. */
  readonly pace?: OwnerWorld['pace']
  readonly isWhole?: OwnerWorld['isWhole']
  readonly awayMs?: OwnerWorld['awayMs']
  /** The volume is this node's no more: told once, also while it is being taken over. */
  lost(words: string): void
}

/**
 * Become the owner of a volume of which this node has a copy (design §6.4), or go on as one after a start.
 * @returns the owner, serving; or why not, nothing being open then
 * @throws FsError of the coordinator, EAGAIN when another candidate was quicker, and what `open` throws
 */
export async function lead(world: LeadWorld, own: Copy): Promise<Owner | Refused> {
  const { volume, node, ask, store, clock, times, report } = world
  const claimed = await claim(world)
  if ('why' in claimed) return claimed
  const { epoch, recorded } = claimed
  const head = await adopt(world, claimed, own)
  const opened = await world.open(claimed, head)
  if (own.promised.epoch !== epoch) {
    throw new FsError('EAGAIN', 'takeOver', {
      retry: 'later',
      message: `take-over: epoch ${own.promised.epoch} was promised while epoch ${epoch} was opened`,
    })
  }
  const set = new InSyncSet(store, { node, epoch }, recorded)
  const owner = new Owner(
    {
      volume,
      node,
      epoch,
      own: own.identity.id,
      ask,
      clock,
      times,
      report,
      ...(world.pace ? { pace: world.pace } : {}),
      ...(world.isWhole ? { isWhole: world.isWhole } : {}),
      ...(world.awayMs ? { awayMs: world.awayMs } : {}),
      ...opened,
      lost: (words) => {
        if (own.promised.epoch === epoch) own.unlead()
        world.lost(words)
      },
    },
    set,
  )
  own.lead(opened.log, () => owner.stop('another node was promised the volume'))
  try {
    const refused = await establish(owner, opened.first, claimed.promised, world)
    if (!refused) return owner
    owner.stop(refused.words)
    return refused
  } catch (error) {
    owner.stop('the coordinator did not record the set')
    throw error
  }
}
