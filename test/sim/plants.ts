import type { CopyId, RecordSeq } from '../../src/base/index.ts'
import type { Disk } from '../../src/disk/index.ts'
import { splitRecords } from '../../src/journal/index.ts'
import {
  InSyncSet,
  Owner,
  type RecordedSet,
  type Request,
  type SetStore,
} from '../../src/replication/index.ts'
import type { Plants } from './cluster.ts'

/** Each breaks one rule of design §6; a simulation that does not notice is of no use. */

/** Rule 2: a member says durable before it is. */
export const skipsSync: Plants = {
  disk: (disk) =>
    new Proxy(disk, {
      get: (target, name: keyof Disk) =>
        name === 'fdatasyncAsync'
          ? async () => {}
          : (target[name] as (...args: unknown[]) => unknown).bind(target),
    }),
}

/** Rule 1: a member obeys an owner whose epoch is past. */
export const acceptsOldEpoch: Plants = {
  copy: async (copy, request) => {
    const { epoch, owner } = copy.promised
    const old = (request.op === 'append' || request.op === 'grant') && request.epoch < epoch
    return await copy.handle(old && owner !== null ? { ...request, epoch, owner } : request)
  },
}

/** Rule 3: a copy that is being added counts only once the coordinator has answered. */
class CountsLate extends InSyncSet {
  override get members(): ReadonlySet<CopyId> {
    return new Set(this.recorded.inSync)
  }
}
export const countsNewMemberLate: Plants = { set: CountsLate }

/** Rule 3: a change whose answer was lost counts as refused. */
class TakesSilenceForNo extends InSyncSet {
  #unanswered = false
  override get members(): ReadonlySet<CopyId> {
    return this.#unanswered ? new Set(this.recorded.inSync) : super.members
  }
  override async change(inSync: readonly CopyId[]): Promise<boolean> {
    this.#unanswered = false
    try {
      return await super.change(inSync)
    } catch (error) {
      this.#unanswered = true
      throw error
    }
  }
}
export const takesLostAnswerForRefusal: Plants = { set: TakesSilenceForNo }

/** Rule 1: the owner goes on at its epoch after its daemon was started again. */
export const keepsEpochOverRestart: Plants = { keepsEpoch: true }

/** Rule 4: an owner serves, and acknowledges, before its set is recorded. */
class RecordsLater extends InSyncSet {
  #first: readonly CopyId[] | null = null
  override get recorded(): RecordedSet {
    return this.#first ? { ...super.recorded, inSync: this.#first } : super.recorded
  }
  override get members(): ReadonlySet<CopyId> {
    return this.#first ? new Set(this.#first) : super.members
  }
  override async change(inSync: readonly CopyId[]): Promise<boolean> {
    this.#first ??= inSync
    return true
  }
}
export const servesBeforeSetIsRecorded: Plants = { set: RecordsLater }

/** Rule 3: a copy that lost its drive is still the same copy. */
export const wipedCopyVotes: Plants = { keepsCopyId: true }

/** Rule 3: the set is recorded though it is below the minimum. */
const withoutMinimum = (store: SetStore): SetStore => {
  const low = (set: Awaited<ReturnType<SetStore['read']>>) => ({ ...set, minimum: 1 })
  return {
    read: async () => low(await store.read()),
    takeEpoch: async (node, above) => low(await store.takeEpoch(node, above)),
    setInSync: async (by, inSync) => low(await store.setInSync(by, inSync)),
    addCopy: async (by, copy) => low(await store.addCopy(by, copy)),
    release: async (by, copies) => low(await store.release(by, copies)),
  }
}
export const recordsSetBelowMinimum: Plants = { store: withoutMinimum }

/** Rule 5: a record names a chunk on the confirmations of an older set. */
class NamesOnOldConfirmations extends Owner {
  override mayName(): boolean {
    return true
  }
}
export const namesChunkOfOldSet: Plants = { owner: NamesOnOldConfirmations }

/** Rule 4: a tail is cut by length alone, not where the chains part. */
export const cutsByLength: Plants = {
  copy: async (copy, request) => {
    if (request.op !== 'append') return await copy.handle(request)
    const count = [...splitRecords(request.records)].length
    const mine = copy.placeBehind((request.before.seq + count) as RecordSeq)
    const longEnough = mine ? { ...request, before: mine, records: Buffer.alloc(0) } : request
    return await copy.handle(longEnough)
  },
}

/** Rule 4 of a checkpoint: its chunks are on the owner alone when the copies are told to drop what is older. */
export const cutsBeforeCheckpointIsOnSet: Plants = {
  checkpoint: 'unconfirmed',
  ask: (request) => (request.op === 'checkpoint' ? withoutChunks(request) : request),
}

/** Rule 6: what a checkpoint made needless is deleted before the record that names it is committed. */
export const deletesBeforeNamingIsCommitted: Plants = { checkpoint: 'uncommitted' }

/** Rule 7: a copy is brought up without the chunks that the checkpoint names. */
export const forgetsChunksOfCheckpoint: Plants = {
  ask: (request, ofCheckpoints) => {
    if (request.op === 'lacksChunks') {
      return { ...request, chunks: request.chunks.filter((chunk) => !ofCheckpoints.has(chunk)) }
    }
    return withoutChunks(request)
  },
}

function withoutChunks(request: Request): Request {
  if (request.op !== 'checkpoint' && request.op !== 'begin') return request
  return { ...request, checkpoint: { ...request.checkpoint, chunks: [] } }
}

/** Rule 1, lease: an owner answers reads without looking whether its lease holds. */
class ReadsWithoutLease extends Owner {
  override get leaseUntilMs(): number {
    return this.end === null ? Number.POSITIVE_INFINITY : super.leaseUntilMs
  }
}
export const skipsLeaseCheck: Plants = { owner: ReadsWithoutLease }

/** Rule 1: an append is judged when it arrives, and carried out later, behind a promise given in between. */
export const appendsAfterPromise: Plants = {
  copy: async (copy, request, sleep) => {
    if (request.op !== 'append' || request.epoch < copy.promised.epoch) {
      return await copy.handle(request)
    }
    await sleep(60)
    const { epoch, owner } = copy.promised
    const late = request.epoch < epoch && owner !== null
    return await copy.handle(late ? { ...request, epoch, owner } : request)
  },
}

/** Rule 7: a member does not say that a drive with chunks it has confirmed is gone. */
export const hidesLostDrive: Plants = {
  copy: async (copy, request) => {
    const answer = await copy.handle(request)
    return answer.kind === 'granted' ? { ...answer, doubt: null } : answer
  },
}
