/**
 * base: what every room stands on. Errors, ids, limits, bytes, log, and the Clock and Random interfaces.
 * Imports no other room; knows nothing of files, keys, peers or the kernel.
 */
export { Alarm } from './alarm.ts'
export { ByteReader, ByteWriter } from './bytes.ts'
export {
  type Clock,
  isoTime,
  sleep,
  suspendProof,
  systemClock,
  type Timespec,
  wallMs,
} from './clock.ts'
export {
  AssertionError,
  assert,
  CorruptError,
  codeOf,
  type ErrnoCode,
  errnoNameOf,
  errnoOf,
  FsError,
  isBug,
  messageOf,
  ProtocolError,
  type Subject,
} from './errors.ts'
export {
  DOMAIN_LEVELS,
  type DomainLevel,
  type FailureDomain,
  SPREAD_LEVELS,
  type SpreadLevel,
} from './failure-domain.ts'
export {
  type ChunkId,
  type CopyId,
  type DriveId,
  type Epoch,
  hexId,
  type Ino,
  type KeyEpoch,
  type NodeId,
  type PeerKey,
  type Position,
  type RecordSeq,
  ROOT_INO,
  type VolumeId,
  type VolumeNumber,
} from './ids.ts'
export * as limits from './limits.ts'
export { background, type Log, openLog, silentLog } from './log.ts'
export { type NativeFunction, type NativePointer, nativeFunctions } from './native.ts'
export { newId, type Random, systemRandom } from './random.ts'
