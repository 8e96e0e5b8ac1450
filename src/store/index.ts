/**
 * store: one volume on this node's own drives. The engine applies the journal to the view, commits staged writes,
 * answers fsync and gives back space; the shared state and the staging log are where it meets the thread that answers
 * the kernel. Called by vfs (drafts, appends, staging), by daemon (engine, recovery, fsck).
 *
 * Invariants: a record is appended only under the volume's lock and over a view that holds every earlier record; a
 * chunk is durable before a record names it; a chunk is deleted only after the record that dropped its last use is on
 * stable storage; a staged write is given back only after the record that covers it was appended.
 */
export { destroyVolume, type VolumeTraces } from './destroy.ts'
export { Draft, type Entries, ExtentEditor } from './draft.ts'
export { Engine, type EngineFigures, type SyncRequest } from './engine.ts'
export { type FsckWorld, fsckVolume, type VolumeCheck } from './fsck.ts'
export { type ClosedCheck, fsckClosed } from './fsck-closed.ts'
export { type Interval, Intervals } from './intervals.ts'
export {
  type AppendedChange,
  KeyHolder,
  LocalVolume,
  type VolumeOpening,
} from './local-volume.ts'
export { firstFrom, overlappingPart, type PlacedExtent } from './placed-extents.ts'
export {
  formatVolume,
  markViewClean,
  type Recovered,
  type RootAttributes,
  recoverVolume,
} from './recovery.ts'
export type { Mending } from './repair.ts'
export type { Replicas } from './replicas.ts'
export { type Resealed, resealVolume } from './reseal.ts'
export { SharedVolume, VOLUME_STATE, type VolumeState } from './shared.ts'
export { coverStaged, putInline, takeTimes } from './staged-commit.ts'
export { type Staged, StagingReader, StagingWriter, stagedHeaderBytes } from './staging.ts'
export { SWEEP_REST_MS, type Swept, sweep } from './sweep.ts'
export type { Finding, Work } from './work.ts'
