import type { CopyId, Epoch, NodeId } from '../base/index.ts'
import type { CopyPlace, PlacedCopy } from './messages.ts'

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

/** A life of an owner. */
export interface Owning {
  readonly node: NodeId
  readonly epoch: Epoch
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
  setInSync(by: Owning, inSync: readonly CopyId[]): Promise<RecordedSet>
  /** A further copy, empty, durable on its node. @throws FsError ESTALE; EEXIST, EBUSY when that node has one or had one */
  addCopy(by: Owning, copy: PlacedCopy): Promise<RecordedSet>
  /** Copies that are no members are the volume's no more, and their nodes delete them. @throws FsError ESTALE; EBUSY for a member */
  release(by: Owning, copies: readonly CopyId[]): Promise<RecordedSet>
}
