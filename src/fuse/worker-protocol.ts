import type { MessagePort } from 'node:worker_threads'
import type { Ino, RecordSeq, VolumeNumber } from '../base/index.ts'
import type { VolumeOpening } from '../store/index.ts'
import type { Forgetting } from './grants.ts'
import type { NearOpening } from './near-copy.ts'
import type { OpName } from './opcodes.ts'
import { OPCODE_COUNT } from './opcodes.ts'
import type { Change } from './unsynced.ts'

/** What INIT agreed; kept by the keeper for the next life of the daemon, because the kernel sends INIT once. */
export interface Negotiated {
  minor: number
  flags: number
  flags2: number
}

/** A volume and this mount's part in it: one mount of a node writes it, others read what is committed. */
export interface ServedVolume {
  opening: VolumeOpening
  writes: boolean
}

/**
 * A volume that is shown at the root and that this mount does not serve. It answers nothing below its root when it is locked
 * (ENOKEY) or damaged (EIO); with a null code another thread, or another node, answers for it, or this one will soon.
 */
export interface AbsentVolume {
  number: VolumeNumber
  name: string
  code: 'ENOKEY' | 'EIO' | null
}

/** Descriptors that one kernel has open of a file. */
export interface OpenFile {
  ino: Ino
  readers: number
  writers: number
}

/** What a mount's worker thread is started with. */
export interface WorkerStart {
  fd: number
  /** The same connection, whose read does not wait; connected once its cell of the mailbox says so. Null without one. */
  polledFd: number | null
  /** Names the mount in stored answers; never given twice on a node. */
  mount: number
  /** Volume of an exclusive mount, null on the namespace mount. */
  exclusive: VolumeNumber | null
  /** Ask the kernel for its locks (several nodes), or let it keep them itself (this kernel sees every user). */
  ownLocks: boolean
  readOnly: boolean
  /** An earlier life of the daemon served this mount, or asked for it: requests it had read are asked for again. */
  resumed: boolean
  negotiated: Negotiated | null
  volumes: ServedVolume[]
  absent: AbsentVolume[]
  enginePort: MessagePort
  /** Int32 by mailCell. */
  mailbox: SharedArrayBuffer
  /** Float64 pairs by opcode: requests answered, and the seconds they took in this thread. */
  metrics: SharedArrayBuffer
}

export const mailCell = {
  /** Messages posted to the worker and not looked at; a blocked worker looks after its next request. */
  posted: 0,
  /** Whether the keeper has what INIT agreed. */
  initKept: 1,
  /** Whether polledFd is connected. */
  polled: 2,
  /** Stays 0: a worker waits on it for time to pass. */
  never: 3,
  /** 1 while the worker gives an answer from what it was granted: what is posted then, it may not have heeded. */
  answering: 4,
} as const
export const MAILBOX_BYTES = 5 * 4

export const METRICS_BYTES = OPCODE_COUNT * 2 * 8

/** Main thread to whatever thread serves volumes. Each is acknowledged by `done` with its id. */
export type VolumeMessage = {
  id: number
} /** @param opens files that the thread's callers have open already */ & (
  | {
      kind: 'add'
      served: ServedVolume
      opens?: readonly OpenFile[]
      /** Nameless inodes that a kernel may know, but for those counted as open; without it, all that there are. */
      inherited?: readonly Ino[]
    }
  | { kind: 'absent'; volume: AbsentVolume }
  | { kind: 'remove'; number: VolumeNumber }
  /** Take or give up the part of the writer; what is staged or not applied is committed first. */
  | {
      kind: 'role'
      number: VolumeNumber
      writes: boolean
      /** Give it up even though it is used. */
      force: boolean
      /** What is open stays so, through whoever has the part next. */
      goesOn?: boolean
      opening: VolumeOpening
      /** What the thread before had counted for this one's callers. */
      opens?: readonly OpenFile[]
    }
  | { kind: 'keys'; number: VolumeNumber; keys: VolumeOpening['keys'] }
)

/** Main thread to a mount's worker. */
export type ToWorker =
  | VolumeMessage
  /** A request that was forwarded comes back: this thread answers for its volume again. Acknowledged by `done`. */
  | { id: number; kind: 'again'; frame: Uint8Array; fd: number }
  /** This node's copy of a volume that is far, to read from; null: its keys are to be forgotten. Acknowledged by `done`. */
  | { id: number; kind: 'near'; number: VolumeNumber; near: NearOpening | null }
  /** Nothing is to stay open on drives that are none of this node any more. Acknowledged by `done`. */
  | { id: number; kind: 'drives' }
  /** Before the kernel gets its answer to a request whose answer this thread wants to know (`far.isLookedAt`). */
  | {
      kind: 'answered'
      number: VolumeNumber
      uniqueLo: number
      uniqueHi: number
      /** With what is behind it (post-attributes.ts); null when another node was not asked, or gave none. */
      reply: Uint8Array | null
      /** What it carries may be kept. */
      isFresh: boolean
      /** Its session holds no locks. */
      noLocks: boolean
    }
  /** What `list` asked for; null when nobody answered. */
  | {
      kind: 'listed'
      number: VolumeNumber
      page: Uint8Array
      asked: number
      askedMs: number
      reply: Uint8Array | null
      isFresh: boolean
    }
  | { kind: 'forget'; number: VolumeNumber; forgetting: Forgetting }
  /** The kernel has dropped the pages, as `locked` with this token asked for. */
  | { kind: 'dropped'; token: number }

/** Before it has its id. */
export type Told<M> = M extends { id: number } ? Omit<M, 'id'> : never

/** Why a request was answered with an error out of the ordinary. */
export interface Reason {
  /** Volume; 0 for the root of the namespace. */
  number: VolumeNumber
  ino: Ino
  /** Name of the kernel's request. */
  op: string
  /** Name of the errno. */
  code: string
  why: string
  /** What to do, where whoever refused knows; else ''. */
  next: string
}

/** Worker to main thread. */
export type FromWorker =
  | {
      kind: 'done'
      id: number
      error: { code: string; message: string } | null
      /** Files open in a volume that was given up. */
      opens: readonly OpenFile[]
      /** As of `add`, for the thread that answers for it now. */
      inherited?: readonly Ino[]
    }
  | { kind: 'negotiated'; negotiated: Negotiated }
  | {
      kind: 'mkdir'
      name: string
      mode: number
      uid: number
      gid: number
      /** Where the kernel gets its answer. */
      fd: number
      uniqueLo: number
      uniqueHi: number
    }
  | { kind: 'rmdir'; name: string; fd: number; uniqueLo: number; uniqueHi: number }
  /** fsync of a volume of several copies, where the engine has nothing to commit for it first. */
  | {
      kind: 'sync'
      number: VolumeNumber
      seq: RecordSeq
      fd: number
      uniqueLo: number
      uniqueHi: number
    }
  /** A whole LOOKUP in the root of a name that the mount does not know. */
  | {
      kind: 'look'
      name: string
      frame: Uint8Array
      fd: number
      uniqueLo: number
      uniqueHi: number
    }
  /** A whole request on a volume that is far (AbsentVolume); whoever answers it writes to `fd`. */
  | { kind: 'far'; number: VolumeNumber; frame: Uint8Array; fd: number; isLookedAt: boolean }
  /** What a kernel was told just now of a volume that is far is to be forgotten again: these attributes, and all names. */
  | { kind: 'late'; number: VolumeNumber; attributes: readonly Ino[] }
  /** A request for a page of a directory's listing, on a volume that is far. */
  | { kind: 'list'; number: VolumeNumber; page: Uint8Array; asked: number; askedMs: number }
  /** What was changed here and not synced, of a volume that is far from now on; `ownedMs` on the clock of leases. */
  | { kind: 'unsynced'; number: VolumeNumber; changes: readonly Change[]; ownedMs: number }
  | { kind: 'interrupt'; uniqueLo: number; uniqueHi: number }
  /** `waits`: the READ that met it, which is not answered, and comes back when the chunk is mended, or soon. */
  | {
      kind: 'damaged'
      volume: string
      chunk: string
      what: string
      waits?: { frame: Uint8Array; fd: number }
    }
  /** A lock was granted on a file whose pages in the kernel may be old: they are to be dropped, and then it is answered. */
  | {
      kind: 'locked'
      number: VolumeNumber
      ino: Ino
      token: number
      fd: number
      uniqueLo: number
      uniqueHi: number
    }
  | { kind: 'reason'; reason: Reason }
  /** Pages the kernel holds were refused: it would keep showing what is nowhere (design §5). */
  | { kind: 'refused'; number: VolumeNumber; ino: number; from: number; length: number }
  /** The connection is over: unmounted, or aborted. */
  | { kind: 'ended' }

/** Where an fsync is answered: to the kernel, or by message to the thread that asked. */
export type SyncCaller = { fd: number; uniqueLo: number; uniqueHi: number } | { token: number }

/** Worker to engine thread: a volume's number to wake its engine, inodes to give back, or an fsync. */
export type ToEngine =
  | VolumeNumber
  | { number: VolumeNumber; purge: Ino[] }
  | { number: VolumeNumber; stagedNumber: number; seq: number; caller: SyncCaller }

/** Answer to an fsync with a token. `errno` is negative, 0 for success. */
export interface FromEngine {
  token: number
  errno: number
}

export type RequestCounts = Partial<Record<OpName, { count: number; seconds: number }>>
