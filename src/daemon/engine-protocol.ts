import type { MessagePort } from 'node:worker_threads'
import type {
  ChunkId,
  DriveId,
  Epoch,
  KeyEpoch,
  RecordSeq,
  VolumeId,
  VolumeNumber,
} from '../base/index.ts'
import type { Reason } from '../fuse/index.ts'
import type {
  ClosedCheck,
  EngineFigures,
  Mending,
  Resealed,
  RootAttributes,
  VolumeCheck,
  VolumeOpening,
  VolumeTraces,
} from '../store/index.ts'

/** What opening a volume found; all zero and false for a new one. */
export interface OpenedVolume {
  rebuilt: boolean
  records: number
  stagedWrites: number
}

/** Requests of the main thread to the engine thread and what each is answered with. */
export interface EngineCalls {
  /** Make a new volume (`root` given), or open one that is there, under a new epoch. */
  open: {
    args: {
      opening: VolumeOpening
      epoch: Epoch
      root: RootAttributes | null
      /** Look at the pages of the view before LMDB maps them: the daemon before died of a signal. */
      checkView: boolean
      /** Where its other copies are asked, of a volume that has some. */
      replicas: MessagePort | null
    }
    result: OpenedVolume
  }
  /** Settle and let go. `clean` syncs the view too, so that the next boot may use it. */
  close: { args: { number: VolumeNumber; clean: boolean }; result: null }
  /** A mount's worker will wake engines and ask for syncs on this port. */
  port: { args: { port: MessagePort }; result: null }
  keys: { args: { number: VolumeNumber; keys: VolumeOpening['keys'] }; result: null }
  /** Have the drives as they were told last (ToldDrives). Answered when no put is under way to one that takes none any more. */
  drives: { args: Record<never, never>; result: null }
  settle: { args: { number: VolumeNumber }; result: null }
  /** As Engine.probe, of room store. @property chunk its id, never used before */
  probe: { args: { number: VolumeNumber; chunk: ChunkId }; result: null }
  /** Chunks that its records use, and those whose end is not committed. */
  chunksInUse: { args: { number: VolumeNumber }; result: ChunkId[] }
  /** As in its file; null when the log names none. */
  checkpoint: { args: { number: VolumeNumber }; result: Uint8Array | null }
  /** Of these chunks those that nothing uses, and up to which record that is so. */
  unnamed: {
    args: { number: VolumeNumber; chunks: readonly ChunkId[] }
    result: { chunks: ChunkId[]; seq: RecordSeq }
  }
  /** The newest stays the newest until it is unpinned, by the number that is answered. */
  pinCheckpoint: { args: { number: VolumeNumber }; result: number }
  unpinCheckpoint: { args: { pin: number }; result: null }
  /** Delete what a volume has on this node's drives; it must not be open. Returns chunks deleted. */
  destroy: { args: { volume: VolumeId; traces: VolumeTraces }; result: number }
  /** Whether its root directory has no entry, with everything accepted so far applied. */
  isEmpty: { args: { number: VolumeNumber }; result: boolean }
  figures: { args: { number: VolumeNumber }; result: EngineFigures }
  /** Long work: tells its progress, ends with ECANCELED when it is called off or the volume is closed. */
  fsck: { args: { number: VolumeNumber; mending: Mending }; result: VolumeCheck }
  fsckClosed: { args: { opening: VolumeOpening; mending: Mending }; result: ClosedCheck }
  reseal: { args: { number: VolumeNumber; keepFrom: KeyEpoch }; result: Resealed }
  /** Chunks that nothing names, of all open volumes. Returns how many were deleted, and their bytes. */
  sweep: { args: Record<never, never>; result: { chunks: number; bytes: number } }
  /** Call off the long work that was asked for with this id. */
  cancel: { args: { id: number }; result: null }
}

export type EngineVerb = keyof EngineCalls

export type EngineRequest = {
  [V in EngineVerb]: { id: number; verb: V; args: EngineCalls[V]['args'] }
}[EngineVerb]

/** Sent while long work runs. */
export interface EngineProgress {
  id: number
  progress: { done: number; total: number | null; message: string }
}

/** An fsync was answered with an error. */
export interface EngineReason {
  reason: Reason
}

/** A drive began to fail under a volume, or could not be opened for one. */
export interface EngineDrive {
  /** @property drive its id, or its directory when that could not be read */
  failing: { drive: DriveId | string; code: string; message: string }
}

export interface EngineAnswer {
  id: number
  result: unknown
  error: { code: string; message: string; next: string } | null
}
