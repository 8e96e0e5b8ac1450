/**
 * replication: a volume on several copies, of which every one in the in-sync set has what was acknowledged (design §6). It
 * ships sealed records and chunks as bytes and needs no key. Called by daemon, which gives it a way to ask other nodes,
 * the volume's record in the coordinator, and the log of a volume that this node owns.
 *
 *   Copy        one copy's journal, chunks and promise; judges every request of an owner by its epoch
 *   claim, adopt, establish   a take-over, step by step
 *   Owner       ships to all copies, tells what is durable on the whole set, keeps the set and the lease
 *
 * Invariants are design §6 rules 1 to 7; test/sim runs this code against them under faults, by seed.
 */
export {
  Copy,
  type CopyChunks,
  type CopyIdentity,
  type CopyWorld,
  type LedLog,
  readRun,
} from './copy.ts'
export type { AskCopy, OwnLog } from './follower.ts'
export { InSyncSet } from './in-sync-set.ts'
export { type LeadWorld, lead, type OpenedLog } from './lead.ts'
export type {
  Addressed,
  Answer,
  CopyPlace,
  DriveSet,
  OldChunks,
  Place,
  PlacedCopy,
  Refusal,
  Request,
} from './messages.ts'
export { type CopyStanding, Owner, type OwnerWorld } from './owner.ts'
export { OwnerReplicas } from './owner-replicas.ts'
export {
  type Candidate,
  choosePlaces,
  chooseSpare,
  type DrivePlace,
  type PlacementWish,
  type Standing,
} from './placement.ts'
export { TokenBucket } from './repair-bucket.ts'
export type { FillProgress } from './repair-fill.ts'
export { type CopyView, nextStep, type RepairStep, type RepairView } from './repair-plan.ts'
export type { ScrubFinding, ScrubProgress } from './scrub.ts'
export type { Owning, RecordedSet, SetStore } from './sets.ts'
export {
  adopt,
  type CandidateWorld,
  type Claim,
  claim,
  establish,
  type Refused,
} from './take-over.ts'
export { designTimes, type Times } from './times.ts'
export { VolumeLog, type VolumeLogWorld } from './volume-log.ts'
export {
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
  encodeRequestParts,
} from './wire.ts'
