import {
  ByteReader,
  ByteWriter,
  type ErrnoCode,
  errnoOf,
  FsError,
  limits,
  messageOf,
  ProtocolError,
} from '../base/index.ts'
import type { Change, Entry, Step, TransactionResult } from './coordinator.ts'
import { checkKey, checkPrefix, checkSteps } from './steps.ts'

/**
 * What a node and the coordinator that another node serves say to each other: one request, one answer. Little endian;
 * `text` and `bytes` have a u32 length before them.
 *
 *     request   u8 version 1 · u8 op · the rest by op
 *       1 get          text key
 *       2 list         text prefix
 *       3 page         cursor of the list · u32 entries had so far
 *       4 transaction  u8 steps; each: text key · u53 expected · u8 what: 0 delete, 1 set and bytes value, 2 unchanged
 *       5 poll         text prefix · u32 wait ms · u8 0, or u8 1 and cursor
 *     answer    u8 version 1 · u8 kind · the rest by kind
 *       1 refused      text errno name · u8 1 when later may help · text message
 *       2 entry        u8 0, or u8 1 and entry
 *       3 entries      u8 0 at the end of the list, or u8 1 and its cursor · u32 count · entries
 *       4 done         u8 1 when made · u8 count · u53 versions
 *       5 changes      cursor · u32 count; each: text key · u53 version · u8 0 when deleted, else u8 1 and bytes value
 *       6 again        what was asked to go on from is not there any more: begin anew
 *     entry     text key · u53 version · bytes value
 *     cursor    8 bytes, one life of the service · u53 number of the last change seen, or of the list
 *
 * Operations, kinds and errno names are only ever added.
 */
const VERSION = 1
const OP = { get: 1, list: 2, page: 3, transaction: 4, poll: 5 } as const
const KIND = { refused: 1, entry: 2, entries: 3, done: 4, changes: 5, again: 6 } as const
const WHAT = { delete: 0, set: 1, unchanged: 2 } as const
const LIFE_BYTES = 8
const TEXT_BYTES_MAX = 4096

/** @property life 16 hex digits. @property seq from 0 */
export interface Cursor {
  readonly life: string
  readonly seq: number
}

export type Request =
  | { readonly op: 'get'; readonly key: string }
  | { readonly op: 'list'; readonly prefix: string }
  | { readonly op: 'page'; readonly list: Cursor; readonly from: number }
  | { readonly op: 'transaction'; readonly steps: readonly Step[] }
  /** Without a cursor: where the changes stand, at once. */
  | {
      readonly op: 'poll'
      readonly prefix: string
      readonly waitMs: number
      readonly cursor: Cursor | null
    }

export type Answer =
  | {
      readonly kind: 'refused'
      readonly code: ErrnoCode
      readonly retry: 'never' | 'later'
      readonly message: string
    }
  | { readonly kind: 'entry'; readonly entry: Entry | null }
  | { readonly kind: 'entries'; readonly list: Cursor | null; readonly entries: readonly Entry[] }
  | { readonly kind: 'done'; readonly result: TransactionResult }
  | { readonly kind: 'changes'; readonly cursor: Cursor; readonly changes: readonly Change[] }
  | { readonly kind: 'again' }

export function encodeRequest(request: Request): Buffer {
  const to = new ByteWriter().u8(VERSION).u8(OP[request.op])
  switch (request.op) {
    case 'get':
      return text(to, request.key).finish()
    case 'list':
      return text(to, request.prefix).finish()
    case 'page':
      return putCursor(to, request.list).u32(request.from).finish()
    case 'transaction':
      to.u8(request.steps.length)
      for (const { key, expected, value } of request.steps) {
        text(to, key).u53(expected)
        if (value === null) to.u8(WHAT.delete)
        else if (value === 'unchanged') to.u8(WHAT.unchanged)
        else to.u8(WHAT.set).sized(value)
      }
      return to.finish()
    case 'poll':
      return putCursorOrNone(text(to, request.prefix).u32(request.waitMs), request.cursor).finish()
  }
}

/**
 * @param body ours from here on: values are views of it
 * @throws ProtocolError for anything that encodeRequest does not make
 */
export function decodeRequest(body: Buffer): Request {
  return whole(body, (from, op): Request => {
    switch (op) {
      case OP.get:
        return { op: 'get', key: key(from) }
      case OP.list:
        return { op: 'list', prefix: prefix(from) }
      case OP.page:
        return { op: 'page', list: cursor(from), from: from.u32() }
      case OP.transaction:
        return { op: 'transaction', steps: steps(from) }
      case OP.poll: {
        const below = prefix(from)
        const waitMs = from.u32()
        return { op: 'poll', prefix: below, waitMs, cursor: cursorOrNone(from) }
      }
      default:
        throw new ProtocolError(`coordinator: operation ${op} is not known`)
    }
  })
}

export function encodeAnswer(answer: Answer): Buffer {
  const to = new ByteWriter().u8(VERSION).u8(KIND[answer.kind])
  switch (answer.kind) {
    case 'refused':
      text(to, answer.code).u8(answer.retry === 'later' ? 1 : 0)
      return to.sized(Buffer.from(answer.message).subarray(0, TEXT_BYTES_MAX)).finish()
    case 'entry':
      return (answer.entry === null ? to.u8(0) : putEntry(to.u8(1), answer.entry)).finish()
    case 'entries':
      putCursorOrNone(to, answer.list).u32(answer.entries.length)
      for (const entry of answer.entries) putEntry(to, entry)
      return to.finish()
    case 'done':
      to.u8(answer.result.ok ? 1 : 0).u8(answer.result.versions.length)
      for (const version of answer.result.versions) to.u53(version)
      return to.finish()
    case 'changes':
      putCursor(to, answer.cursor).u32(answer.changes.length)
      for (const change of answer.changes) {
        text(to, change.key).u53(change.version)
        if (change.value === null) to.u8(0)
        else to.u8(1).sized(change.value)
      }
      return to.finish()
    case 'again':
      return to.finish()
  }
}

/**
 * @param body ours from here on: values are views of it
 * @throws ProtocolError for anything that encodeAnswer does not make
 */
export function decodeAnswer(body: Buffer): Answer {
  return whole(body, (from, kind): Answer => {
    switch (kind) {
      case KIND.refused: {
        const code = from.sized(TEXT_BYTES_MAX).toString()
        const retry = flag(from) ? 'later' : 'never'
        const message = from.sized(TEXT_BYTES_MAX).toString()
        // errnoOf gives EIO for what it does not know: a name that a newer build added is still a failure.
        const known = errnoOf(code) === errnoOf('EIO') ? 'EIO' : (code as ErrnoCode)
        return { kind: 'refused', code: known, retry, message }
      }
      case KIND.entry:
        return { kind: 'entry', entry: flag(from) ? entry(from) : null }
      case KIND.entries: {
        const list = cursorOrNone(from)
        return { kind: 'entries', list, entries: many(from, from.u32(), entry) }
      }
      case KIND.done: {
        const ok = flag(from)
        return {
          kind: 'done',
          result: { ok, versions: many(from, from.u8(), (each) => each.u53()) },
        }
      }
      case KIND.changes: {
        const at = cursor(from)
        return { kind: 'changes', cursor: at, changes: many(from, from.u32(), change) }
      }
      case KIND.again:
        return { kind: 'again' }
      default:
        throw new ProtocolError(`coordinator: answer ${kind} is not known`)
    }
  })
}

function whole<T>(body: Buffer, read: (from: ByteReader, kind: number) => T): T {
  const from = new ByteReader(body)
  const version = from.u8()
  if (version !== VERSION) {
    throw new ProtocolError(`coordinator: version ${version}, this build speaks ${VERSION}`)
  }
  const value = read(from, from.u8())
  if (from.left > 0) throw new ProtocolError(`coordinator: ${from.left} bytes too many`)
  return value
}

function text(to: ByteWriter, value: string): ByteWriter {
  return to.sized(Buffer.from(value, 'latin1'))
}

function key(from: ByteReader): string {
  const value = from.sized(limits.coordinatorKeyBytesMax).toString('latin1')
  checked(() => checkKey(value))
  return value
}

function prefix(from: ByteReader): string {
  const value = from.sized(limits.coordinatorKeyBytesMax).toString('latin1')
  checked(() => checkPrefix(value))
  return value
}

function steps(from: ByteReader): Step[] {
  const read = many(from, from.u8(), (each): Step => {
    const name = key(each)
    return { key: name, expected: each.u53(), value: stepValue(each) }
  })
  checked(() => checkSteps(read))
  return read
}

function stepValue(from: ByteReader): Step['value'] {
  const what = from.u8()
  if (what === WHAT.delete) return null
  if (what === WHAT.unchanged) return 'unchanged'
  if (what !== WHAT.set) throw new ProtocolError(`coordinator: step ${what} is not known`)
  return from.sized(limits.coordinatorValueBytesMax)
}

function putEntry(to: ByteWriter, { key: name, version, value }: Entry): ByteWriter {
  return text(to, name).u53(version).sized(value)
}

function entry(from: ByteReader): Entry {
  const name = key(from)
  const version = from.u53()
  return { key: name, version, value: from.sized(limits.coordinatorValueBytesMax) }
}

function change(from: ByteReader): Change {
  const name = key(from)
  const version = from.u53()
  const value = flag(from) ? from.sized(limits.coordinatorValueBytesMax) : null
  return { key: name, version, value }
}

function putCursor(to: ByteWriter, { life, seq }: Cursor): ByteWriter {
  return to.bytes(Buffer.from(life, 'hex')).u53(seq)
}

function cursor(from: ByteReader): Cursor {
  const life = from.bytes(LIFE_BYTES).toString('hex')
  return { life, seq: from.u53() }
}

function putCursorOrNone(to: ByteWriter, at: Cursor | null): ByteWriter {
  return at === null ? to.u8(0) : putCursor(to.u8(1), at)
}

function cursorOrNone(from: ByteReader): Cursor | null {
  return flag(from) ? cursor(from) : null
}

function flag(from: ByteReader): boolean {
  const value = from.u8()
  if (value > 1) throw new ProtocolError(`coordinator: flag ${value}`)
  return value === 1
}

/** Nothing is reserved for a count before its bytes are there: each item has at least one. */
function many<T>(from: ByteReader, count: number, read: (from: ByteReader) => T): T[] {
  if (count > from.left)
    throw new ProtocolError(`coordinator: ${count} items in ${from.left} bytes`)
  return Array.from({ length: count }, () => read(from))
}

function checked(check: () => void): void {
  try {
    check()
  } catch (error) {
    if (error instanceof FsError) throw new ProtocolError(messageOf(error), error)
    throw error
  }
}
