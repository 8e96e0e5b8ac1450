import type { CopyId, Epoch, NodeId } from '../base/index.ts'
import type { CopyPlace } from './messages.ts'

/** Of a volume's record in the coordinator, what replication rests on. */
export interface RecordedSet {
  readonly epoch: Epoch
  readonly owner: NodeId | null
  /** Every copy of the volume, members or not. */
  readonly copies: readonly CopyPlace[]
  /** Copies that have every acknowledged record. */
  readonly inSync: readonly CopyId[]
  readonly minimum: number
}

/**
 * The record, read linearizably and changed by compare-and-set (design §6.3). A promise that rejects with anything but
 * ESTALE leaves open whether the change was made, now or later.
 */
export interface SetStore {
  read(): Promise<RecordedSet>
  /** Begin a life of an owner, above the recorded epoch and above `abovePromise`. */
  takeEpoch(node: NodeId, abovePromise: Epoch): Promise<RecordedSet>
  /** @throws FsError ESTALE when `by` is not the recorded owner at its epoch any more */
  setInSync(
    by: { readonly node: NodeId; readonly epoch: Epoch },
    inSync: readonly CopyId[],
  ): Promise<RecordedSet>
}
