import { ProtocolError } from '../base/errors.ts'
import type { MountHolder } from './mount-holders.ts'

/**
 * What keeper and daemon say to each other: one JSON object a line, over the socket that the daemon has as
 * descriptor 3. Not Node's own IPC channel: that one throws inside the keeper on bytes that are not JSON, and
 * has no bound. Every request of the daemon has an id and gets one answer; the keeper asks nothing, it tells.
 *
 * The daemon's descriptors: 0 the home's lock (keep it, never read it), 1 and 2 the log, 3 this socket, 4 + i
 * the /dev/fuse of slot i, and behind those of all slots, in the same order, the clone of each.
 */

/** Descriptor of this socket in the daemon; named to it in the environment so that nobody takes it by chance. */
export const keeperFd = 3
export const keeperFdVariable = 'WEFT_KEEPER_FD'
export const firstFuseFd = 4
/** A line longer than this ends the daemon: there is no way to find the next line's start that one could trust. */
export const lineCharsMax = 1024 * 1024

export interface WireError {
  readonly code: string
  readonly op: string
  readonly message: string
}

/**
 * A slot is one /dev/fuse for one mount, once, and a clone of it whose read does not wait. `used` with `target` null: no longer in any tree, but open files
 * keep it alive and it must be served; with `dev` null too: the life before asked for the mount, and it is still being
 * made. `info` is what the daemon last saved for it, null when it saved nothing.
 */
export interface SlotState {
  readonly slot: number
  readonly fd: number
  /** Absent under a keeper of an older build. */
  readonly polledFd?: number
  /** polledFd is connected to the same mount. */
  readonly polled?: boolean
  readonly used: boolean
  readonly target: string | null
  readonly mountId: number | null
  readonly dev: string | null
  readonly info: unknown
}

export interface BindState {
  readonly slot: number | null
  readonly target: string
  /** Absent under a keeper of an older build. */
  readonly readOnly?: boolean
}

/** The first thing a daemon hears. */
export interface KeeperState {
  readonly kind: 'state'
  /** Count of daemon lives under this keeper, from 1. */
  readonly generation: number
  /** The one before ended without being asked to. */
  readonly afterCrash: boolean
  /** Signal the one before died of, null when it exited. Absent under a keeper of an older build. */
  readonly endedBy?: string | null
  readonly slots: readonly SlotState[]
  readonly binds: readonly BindState[]
  /** Why there are no slots, null when there are. */
  readonly fuseError: WireError | null
}

export type KeeperMessage =
  | KeeperState
  | { readonly kind: 'please-stop' }
  /** What became of a mount that an earlier life of the daemon had asked for: `used` when it was made. */
  | { readonly kind: 'slot'; readonly slot: SlotState }
  | { readonly kind: 'answer'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'answer'; readonly id: number; readonly error: WireError }

export type KeeperCall =
  | {
      readonly verb: 'mount'
      readonly slot: number
      readonly target: string
      readonly source: string
      readonly options: readonly string[]
    }
  | { readonly verb: 'unmount'; readonly slot: number; readonly lazy: boolean }
  /** A second place of a slot's mount. */
  | {
      readonly verb: 'bind'
      readonly slot: number
      readonly target: string
      readonly options: readonly string[]
    }
  | { readonly verb: 'unbind'; readonly target: string; readonly lazy: boolean }
  | { readonly verb: 'mounted-state'; readonly slot: number; readonly info: unknown }
  | { readonly verb: 'ended'; readonly slot: number }
  | { readonly verb: 'restart'; readonly program: string | null }
  | { readonly verb: 'shutdown' }
  | { readonly verb: 'ready' }

export type KeeperRequest = KeeperCall & { readonly id: number }

/** Answer to `bind`. */
export interface BindAnswer {
  /** Canonical mount point. */
  readonly target: string
  readonly mountId: number
  readonly dev: string
}

/** Answer to `mount`. */
export interface MountAnswer extends BindAnswer {
  /** The slot's polledFd is connected. Absent under a keeper of an older build. */
  readonly polled?: boolean
}

/** Answer to `unmount` and `unbind`. */
export interface UnmountAnswer {
  /** The connection is gone. False: a bind mount or open files keep it, go on serving. */
  readonly ended: boolean
  /** Where its mount stands now: a bind mount takes the place of one that is gone. Null: in no tree. */
  readonly target: string | null
  /** Who keeps a mount that stands in no tree here. */
  readonly heldBy: readonly MountHolder[]
}

/** @throws ProtocolError, with the id when there is one to answer to */
export function decodeRequest(line: string): KeeperRequest {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (cause) {
    throw new RequestError(null, 'not JSON', cause)
  }
  if (typeof value !== 'object' || value === null) throw new RequestError(null, 'not an object')
  const fields = value as Record<string, unknown>
  const { id, verb } = fields
  if (typeof id !== 'number' || !Number.isSafeInteger(id)) throw new RequestError(null, 'no id')
  const bad = (what: string) => new RequestError(id, `${String(verb).slice(0, 32)}: ${what}`)
  const slot = () => {
    const { slot } = fields
    if (typeof slot !== 'number' || !Number.isSafeInteger(slot) || slot < 0) throw bad('bad slot')
    return slot
  }
  const text = (name: string) => {
    const value = fields[name]
    if (typeof value !== 'string' || value === '' || value.includes('\0')) throw bad(`bad ${name}`)
    return value
  }
  const path = (name: string) => {
    const value = text(name)
    if (!value.startsWith('/')) throw bad(`${name} is not absolute`)
    return value
  }
  const lazy = fields.lazy === true
  const words = (name: string): string[] => {
    const value = fields[name]
    if (Array.isArray(value) && value.every((word) => typeof word === 'string')) return value
    throw bad(`bad ${name}`)
  }
  switch (verb) {
    case 'mount': {
      const options = words('options')
      return { id, verb, slot: slot(), target: path('target'), source: text('source'), options }
    }
    case 'unmount':
      return { id, verb, slot: slot(), lazy }
    case 'bind':
      return { id, verb, slot: slot(), target: path('target'), options: words('options') }
    case 'unbind':
      return { id, verb, target: path('target'), lazy }
    case 'mounted-state':
      return { id, verb, slot: slot(), info: fields.info ?? null }
    case 'ended':
      return { id, verb, slot: slot() }
    case 'restart':
      return { id, verb, program: fields.program == null ? null : path('program') }
    case 'shutdown':
    case 'ready':
      return { id, verb }
    default:
      throw bad('no such verb')
  }
}

/** A request that cannot be carried out; `id` is null when it cannot even be answered. */
export class RequestError extends ProtocolError {
  readonly id: number | null
  constructor(id: number | null, what: string, cause?: unknown) {
    super(what, cause)
    this.id = id
  }
}

/** Bytes of a stream to lines. @throws ProtocolError on a line above lineCharsMax; it must not be fed again */
export class LineSplitter {
  #rest = ''
  readonly #take: (line: string) => void

  constructor(take: (line: string) => void) {
    this.#take = take
  }

  feed(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) if (line !== '') this.#take(line)
    if (this.#rest.length > lineCharsMax) throw new ProtocolError('line too long')
  }
}
