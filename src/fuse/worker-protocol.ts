import type { MessagePort } from 'node:worker_threads'
import type { Ino, VolumeNumber } from '../base/index.ts'
import type { VolumeOpening } from '../store/index.ts'
import type { OpName } from './opcodes.ts'
import { OPCODE_COUNT } from './opcodes.ts'

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
 * A volume that is shown at the root and answers nothing below it: locked (ENOKEY), damaged (EIO), of another node (ENODEV),
 * or not open yet (EAGAIN).
 */
export interface AbsentVolume {
  number: VolumeNumber
  name: string
  code: 'ENOKEY' | 'EIO' | 'ENODEV' | 'EAGAIN'
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
} as const
export const MAILBOX_BYTES = 3 * 4

export const METRICS_BYTES = OPCODE_COUNT * 2 * 8

/** Main thread to worker. Each is acknowledged by `done` with its id. */
export type ToWorker = { id: number } & (
  | { kind: 'add'; served: ServedVolume }
  | { kind: 'absent'; volume: AbsentVolume }
  | { kind: 'remove'; number: VolumeNumber }
  /** Take or give up the part of the writer; what is staged or not applied is committed first. */
  | { kind: 'role'; number: VolumeNumber; writes: boolean; force: boolean; opening: VolumeOpening }
  | { kind: 'keys'; number: VolumeNumber; keys: VolumeOpening['keys'] }
)

/** Worker to main thread. */
export type FromWorker =
  | { kind: 'done'; id: number; error: { code: string; message: string } | null }
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
  | { kind: 'damaged'; volume: string; chunk: string; what: string }
  /** Pages the kernel holds were refused: it would keep showing what is nowhere (design §5). */
  | { kind: 'refused'; number: VolumeNumber; ino: number; from: number; length: number }
  /** The connection is over: unmounted, or aborted. */
  | { kind: 'ended' }

/** Worker to engine thread: a volume's number to wake its engine, inodes to give back, or an fsync. */
export type ToEngine =
  | VolumeNumber
  | { number: VolumeNumber; purge: Ino[] }
  | {
      number: VolumeNumber
      stagedNumber: number
      seq: number
      fd: number
      uniqueLo: number
      uniqueHi: number
    }

export type RequestCounts = Partial<Record<OpName, { count: number; seconds: number }>>
