import type {
  ChunkId,
  CopyId,
  DriveId,
  Epoch,
  KeyEpoch,
  NodeId,
  Position,
  RecordSeq,
  VolumeId,
} from '../base/index.ts'
import type { Checkpoint, LogPlace } from '../journal/index.ts'

/** Names the drives that chunks of a node can be read from, 32 hex digits: other drives, another name. */
export type DriveSet = string

/** Place behind a record: its position, and its seal tag (16 bytes), which names the whole log up to it. */
export type Place = LogPlace

/**
 * What is asked of one copy. Those with an epoch are an owner's, or of one that wants to be: a copy that promised a
 * higher epoch refuses them (design §6.1). All others change nothing.
 */
export type Request =
  /** How it stands; a candidate asks before it takes an epoch. */
  | { readonly op: 'state'; readonly candidate: NodeId }
  /** Promise to refuse every lower epoch, and say where the log ends, for good. */
  | { readonly op: 'promise'; readonly epoch: Epoch; readonly owner: NodeId }
  /** Grant the lease for a term. */
  | { readonly op: 'grant'; readonly epoch: Epoch; readonly owner: NodeId }
  /** The owner serves no more: its grant ends. */
  | { readonly op: 'yield'; readonly epoch: Epoch; readonly owner: NodeId }
  /** Have `records` behind `before`, whatever stands there; on stable storage when `sync`. */
  | {
      readonly op: 'append'
      readonly epoch: Epoch
      readonly owner: NodeId
      readonly before: Place
      /** Sealed records one behind the other; none to cut nothing and only sync. */
      readonly records: Buffer
      readonly sync: boolean
    }
  /** Seal tags of the records at these sequences. */
  | { readonly op: 'tags'; readonly seqs: readonly RecordSeq[] }
  /** Records behind `after`, whole ones, at least one, then up to about `bytesMax`. */
  | { readonly op: 'read'; readonly after: Place; readonly bytesMax: number }
  /** Have a sealed chunk on stable storage. */
  | {
      readonly op: 'putChunk'
      readonly epoch: Epoch
      readonly owner: NodeId
      readonly chunk: ChunkId
      readonly bytes: Buffer
    }
  | { readonly op: 'lacksChunks'; readonly chunks: readonly ChunkId[] }
  /** It was looked through while its node's drives were these, and had every chunk in use. */
  | {
      readonly op: 'whole'
      readonly epoch: Epoch
      readonly owner: NodeId
      readonly drives: DriveSet
    }
  | { readonly op: 'readChunk'; readonly chunk: ChunkId }
  /** Read these chunks whole and look at their checksums; a damaged one is moved aside, so that it can be given anew. */
  | { readonly op: 'checkChunks'; readonly chunks: readonly ChunkId[] }
  /** The same of the log behind record `after`, up to about `bytesMax`. */
  | { readonly op: 'checkLog'; readonly after: RecordSeq; readonly bytesMax: number }
  /** Of the 256 parts that its chunks lie in, by the first byte of their ids: those of this part that may be swept. */
  | { readonly op: 'listOld'; readonly part: number; readonly old: OldChunks }
  /** Delete chunks whose last use a record dropped that is committed at `committed` (design §6.6). */
  | {
      readonly op: 'deleteChunks'
      readonly epoch: Epoch
      readonly owner: NodeId
      readonly committed: Position
      readonly chunks: readonly ChunkId[]
    }
  /** Have this checkpoint, which a committed record names, and drop what is older; its chunks were put before. */
  | {
      readonly op: 'checkpoint'
      readonly epoch: Epoch
      readonly owner: NodeId
      readonly checkpoint: Checkpoint
    }
  /** The log, which ends at `end`, has nothing in common with the owner's: discard it whole and begin at a checkpoint. */
  | {
      readonly op: 'begin'
      readonly epoch: Epoch
      readonly owner: NodeId
      readonly end: Place
      readonly checkpoint: Checkpoint
    }
  | { readonly op: 'readCheckpoint' }

/**
 * Chunks that may be swept if nothing names them (design §6.6): put by an owner before `epoch` and at rest for so long, or
 * sealed with a key before `keyEpoch`.
 */
export interface OldChunks {
  readonly epoch: Epoch
  readonly keyEpoch: KeyEpoch
  readonly restMs: number
}

/**
 * Why a copy refuses: a higher promise, a lease that lasts, its own damage, being another copy than the one meant, or lying on a
 * drive that is not there now, and may come back with it.
 */
export type Refusal = 'promised' | 'leased' | 'damaged' | 'otherCopy' | 'away'

export type Answer =
  | {
      readonly kind: 'state'
      readonly promised: Epoch
      /** Until an epoch may be promised to the candidate, milliseconds. */
      readonly waitMs: number
      readonly end: Place
      /** What is broken at or below a position that the copy once confirmed; such a copy does not count. */
      readonly damaged: string | null
    }
  | { readonly kind: 'promised'; readonly end: Place }
  /** `doubt`: the drives of its node, where they are others than those with which it was last found whole; else null. */
  | { readonly kind: 'granted'; readonly doubt: DriveSet | null }
  /** The log is the owner's up to `end`, and on stable storage up to `durable`. */
  | { readonly kind: 'appended'; readonly end: RecordSeq; readonly durable: RecordSeq }
  /** The log does not hold `before`; it ends at `end`. */
  | { readonly kind: 'apart'; readonly end: Place }
  /** One for each sequence asked; null where the log has none. */
  | { readonly kind: 'tags'; readonly tags: readonly (Buffer | null)[] }
  | { readonly kind: 'records'; readonly records: Buffer }
  | { readonly kind: 'lacks'; readonly chunks: readonly ChunkId[] }
  | { readonly kind: 'old'; readonly chunks: readonly ChunkId[] }
  /** Null when it is not there, or damaged. */
  | { readonly kind: 'chunk'; readonly bytes: Buffer | null }
  /** @property bytes that were read */
  | {
      readonly kind: 'checked'
      readonly bytes: number
      readonly bad: readonly ChunkId[]
      readonly missing: readonly ChunkId[]
    }
  /** Whole up to record `end`; `damaged` says what is behind it, in words. */
  | {
      readonly kind: 'checkedLog'
      readonly end: RecordSeq
      readonly bytes: number
      readonly damaged: string | null
    }
  /** Null while the log begins at the start. */
  | {
      readonly kind: 'checkpoint'
      readonly volume: VolumeId
      readonly checkpoint: Checkpoint | null
    }
  | { readonly kind: 'done' }
  | {
      readonly kind: 'refused'
      readonly why: Refusal
      readonly promised: Epoch
      readonly waitMs: number
      readonly words: string
    }

/** Which copy is meant: of this volume, with this id. The same node may hold another one by now. */
export interface Addressed<T> {
  readonly volume: VolumeId
  readonly copy: CopyId
  readonly message: T
}

/** A copy and the node that holds it. */
export interface CopyPlace {
  readonly id: CopyId
  readonly node: NodeId
}

/** The same, with the drive that its journal is on. */
export interface PlacedCopy extends CopyPlace {
  readonly drive: DriveId
}
