import type { MessagePort } from 'node:worker_threads'
import type { RecordSeq, VolumeNumber } from '../base/index.ts'
import type { Forgetting } from './grants.ts'
import type { OpenFile, Reason, VolumeMessage } from './worker-protocol.ts'

/**
 * Between the main thread and the one that answers for volumes which several kernels use (access-worker.ts). A session is
 * one kernel's use of one volume; 0 is this node's own kernel, whose namespace mount forwards its requests, too.
 */

export const OWN_SESSION = 0

export interface AccessWorkerStart {
  /** Names the thread in stored answers. */
  mount: number
  enginePort: MessagePort
}

export type ToAccessWorker =
  | VolumeMessage
  /** Files that are open in a session which begins here, or goes on here; null when they are not known, or known already. */
  | { kind: 'opens'; number: VolumeNumber; session: number; opens: readonly OpenFile[] | null }
  | {
      kind: 'request'
      token: number
      session: number
      /** What INIT agreed with the kernel that asks. */
      flags: number
      /** Names the asker in stored answers; null for another node's. */
      mount: number | null
      /** That kernel can be made to forget names. */
      keepsNames: boolean
      /** Behind the answer to a change of names, the attributes of what it has touched are wanted (post-attributes.ts). */
      postAttributes: boolean
      /** Behind the answer to a READ, where the file's bytes are is wanted (file-map.ts). */
      fileMap: boolean
      frame: Uint8Array
    }
  /** The kernel of a session has forgotten what `forget` asked of it. */
  | { kind: 'forgot'; number: VolumeNumber; asking: number }
  | { kind: 'endSession'; session: number; number: VolumeNumber }
  /** As of ToWorker. */
  | { id: number; kind: 'drives' }

export type FromAccessWorker =
  | {
      kind: 'done'
      id: number
      error: { code: string; message: string } | null
      /** Files open in this node's own kernel, of a volume that was given up. */
      opens: readonly OpenFile[]
    }
  /** A whole answer with its header; empty when none is due; null when the volume is not here (any more). */
  | { kind: 'answer'; token: number; bytes: Uint8Array | null }
  /** fsync of a volume of several copies, where the engine has nothing to commit for it first: the request's answer. */
  | {
      kind: 'sync'
      number: VolumeNumber
      seq: RecordSeq
      token: number
      uniqueLo: number
      uniqueHi: number
    }
  | { kind: 'damaged'; volume: string; chunk: string; what: string }
  | { kind: 'reason'; reason: Reason }
  | {
      kind: 'forget'
      number: VolumeNumber
      session: number
      asking: number
      forgetting: Forgetting
    }
