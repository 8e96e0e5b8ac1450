/**
 * fuse: the Linux FUSE kernel protocol. wire/ codes and decodes, session.ts turns requests into operations of the vfs,
 * worker.ts is the blocking loop of one mount in its own thread, device.ts mounts, keeper.ts holds the descriptors so
 * that mounts outlive the daemon. Called by daemon and main.
 *
 * Invariants: every answered request is answered once; a request that comes again after a restart is answered from its
 * record if it was executed; a mount is served by another thread than any that could touch it.
 */
export { answer, answerBare } from './answer.ts'
export { abortConnection, haveConnectionControl, notOfOnePlace, setReadAhead } from './device.ts'
export { fusermount, isNativeMount, NATIVE_LIMITS, NativeMount } from './driver-fuse-native.ts'
export { Invalidations } from './invalidations.ts'
export { runKeeper } from './keeper.ts'
export { KeeperClient } from './keeper-client.ts'
export type { KeeperState, SlotState } from './keeper-protocol.ts'
export { isWeftMount, type MountEntry, mountTable, parseMountInfo } from './mount-table.ts'
export { OPCODE_NAMES } from './opcodes.ts'
export { runDirOf } from './run-dir.ts'
export { ensureStagingDir, removeStagingDir } from './staging-dir.ts'
export * as wire from './wire/index.ts'
export {
  type AbsentVolume,
  type FromWorker,
  MAILBOX_BYTES,
  METRICS_BYTES,
  mailCell,
  type Negotiated,
  type ServedVolume,
  type ToEngine,
  type ToWorker,
  type WorkerStart,
} from './worker-protocol.ts'
