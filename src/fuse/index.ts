/**
 * fuse: the Linux FUSE kernel protocol. wire/ codes and decodes, session.ts turns requests into operations of the vfs,
 * worker.ts is the blocking loop of one mount in its own thread, device.ts mounts, keeper.ts holds the descriptors so
 * that mounts outlive the daemon. Called by daemon and main.
 *
 * Invariants: every answered request is answered once; a request that comes again after a restart is answered from its
 * record if it was executed; a mount is served by another thread than any that could touch it.
 */
export {
  type AccessWorkerStart,
  type FromAccessWorker,
  OWN_SESSION,
  type ToAccessWorker,
} from './access-protocol.ts'
export { answer, answerAlone, answerBare } from './answer.ts'
export { abortConnection, haveConnectionControl, notOfOnePlace, setReadAhead } from './device.ts'
export { fusermount, isNativeMount, NATIVE_LIMITS, NativeMount } from './driver-fuse-native.ts'
export type { FarNews } from './far-requests.ts'
export { mapAlone, mayHaveMap } from './file-map.ts'
export { grantedUntil } from './granted-until.ts'
export { type Forgetting, GRANT_LATE_MS } from './grants.ts'
export {
  Handles,
  handleOf,
  isOfEpochs,
  isOfSession,
  nextGeneration,
  secondHandleOf,
} from './handles.ts'
export { forgetAttributes, forgetNames, Invalidations } from './invalidations.ts'
export { runKeeper } from './keeper.ts'
export { KeeperClient } from './keeper-client.ts'
export type { KeeperState, SlotState } from './keeper-protocol.ts'
export { keepJson, keptJson } from './kept-json.ts'
export { isKilled } from './lease-waits.ts'
export { endLives, inodesIn } from './lives.ts'
export { forgetLocks, lostLocks } from './locks.ts'
export { isWeftMount, type MountEntry, mountTable, parseMountInfo } from './mount-table.ts'
export type { NearOpening } from './near-copy.ts'
export { isOnce, OPCODE_NAMES, OPCODES, opcodeName } from './opcodes.ts'
export { Opens } from './opens.ts'
export { PageDrops } from './page-drops.ts'
export { Reasons } from './reasons.ts'
export { runDirOf } from './run-dir.ts'
export { ensureStagingDir, removeStagingDir } from './staging-dir.ts'
export { type Change, changedBy, syncedBy, Unsynced } from './unsynced.ts'
export * as wire from './wire/index.ts'
export {
  type AbsentVolume,
  type FromEngine,
  type FromWorker,
  MAILBOX_BYTES,
  METRICS_BYTES,
  mailCell,
  type Negotiated,
  type OpenFile,
  type Reason,
  type ServedVolume,
  type ToEngine,
  type Told,
  type ToWorker,
  type VolumeMessage,
  type WorkerStart,
} from './worker-protocol.ts'
