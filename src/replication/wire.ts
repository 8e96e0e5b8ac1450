import {
  ByteReader,
  ByteWriter,
  type ChunkId,
  type CopyId,
  CorruptError,
  codeOf,
  type Epoch,
  type KeyEpoch,
  limits,
  messageOf,
  type NodeId,
  type Position,
  ProtocolError,
  type RecordSeq,
  type VolumeId,
} from '../base/index.ts'
import { chunkFileBytesMax } from '../chunks/index.ts'
import {
  type Checkpoint,
  chainBytes,
  checkpointFileBytesMax,
  decodeCheckpoint,
  encodeCheckpoint,
} from '../journal/index.ts'
import type { Addressed, Answer, Place, Refusal, Request } from './messages.ts'

/**
 * What a volume's owner, or a node that wants to be it, and a copy on another node say to each other: one request, one
 * answer. Little endian; `id` is 16 bytes, `text` is UTF-8 with a u32 length before it, `ids` are a u32 count and so many
 * ids, `rest` is all that is left of the message.
 *
 *     request   u8 version 1 · u8 op · id volume · id copy · the rest by op
 *       1 state         id candidate
 *       2 promise       reign
 *       3 grant         reign
 *       4 append        reign · place before · u8 1 to sync, else 0 · rest: records
 *       5 tags          u32 count · u53 sequences
 *       6 read          place after · u32 most bytes
 *       7 putChunk      reign · id chunk · rest: chunk file
 *       8 lacksChunks   ids
 *       9 readChunk     id chunk
 *      10 deleteChunks  reign · u53 epoch and u53 sequence committed · ids
 *      11 yield         reign
 *      20 checkChunks   ids
 *      21 checkLog      u53 sequence after · u32 most bytes
 *      12 checkpoint    reign · rest: checkpoint file
 *      13 begin         reign · place end · rest: checkpoint file
 *      14 readCheckpoint
 *      15 listOld       u8 part · u53 epoch · u32 key epoch · u53 rest ms
 *      16 whole         reign · id drives
 *     answer    u8 version 1 · u8 kind · the rest by kind
 *       1 state         u53 promised · u32 wait ms · place end · u8 0, or u8 1 and text damaged
 *       2 promised      place end
 *       3 granted       u8 0, or u8 1 and id drives in doubt
 *       4 appended      u53 end · u53 durable
 *       5 apart         place end
 *       6 tags          u32 count; each: u8 0, or u8 1 and 16 bytes
 *       7 records       rest: records
 *       8 lacks         ids
 *       9 chunk         u8 0, or u8 1 and rest: chunk file
 *      10 done
 *      13 old           ids
 *      12 checkpoint    id volume · u8 0, or u8 1 and rest: checkpoint file
 *      11 refused       u8 why: 1 promised, 2 leased, 3 damaged, 4 other copy, 5 away · u53 promised · u32 wait ms · text words
 *      20 checked       u53 bytes · ids bad · ids missing
 *      21 checkedLog    u53 end · u53 bytes · u8 0, or u8 1 and text damaged
 *     reign     u53 epoch · id owner
 *     place     u53 epoch · u53 sequence · 16 bytes chain
 *
 * Operations, kinds and reasons are only ever added. docs/format.md §8.
 */
const VERSION = 1
const OP = {
  state: 1,
  promise: 2,
  grant: 3,
  append: 4,
  tags: 5,
  read: 6,
  putChunk: 7,
  lacksChunks: 8,
  readChunk: 9,
  deleteChunks: 10,
  yield: 11,
  checkChunks: 20,
  checkLog: 21,
  checkpoint: 12,
  begin: 13,
  readCheckpoint: 14,
  listOld: 15,
  whole: 16,
} as const satisfies Record<Request['op'], number>
const KIND = {
  state: 1,
  promised: 2,
  granted: 3,
  appended: 4,
  apart: 5,
  tags: 6,
  records: 7,
  lacks: 8,
  chunk: 9,
  done: 10,
  refused: 11,
  checked: 20,
  checkedLog: 21,
  checkpoint: 12,
  old: 13,
} as const satisfies Record<Answer['kind'], number>
const WHY = { promised: 1, leased: 2, damaged: 3, otherCopy: 4, away: 5 } as const satisfies Record<
  Refusal,
  number
>
const ID_BYTES = 16
const U53_BYTES = 8
const TEXT_BYTES_MAX = 4096
/** Sequences asked about at once. */
const SEQS_MAX = 1024
/** The largest record there may be, alone in its run: a run of several is smaller. */
const RECORDS_BYTES_MAX = limits.recordBytesMax + ID_BYTES * limits.recordChunkIdsMax + 64 * 1024
const WAIT_MS_MAX = 0xffff_ffff

/** @returns the bytes; of a chunk that is put only what stands before its file, which is `sealed` by the volume's key */
export function encodeRequestParts(request: Addressed<Request>): {
  readonly body: Buffer
  readonly sealed: Buffer | null
} {
  const { message } = request
  if (message.op !== 'putChunk') return { body: encodeRequest(request), sealed: null }
  const nothing = { ...message, bytes: Buffer.alloc(0) }
  return { body: encodeRequest({ ...request, message: nothing }), sealed: message.bytes }
}

/** @returns one buffer with a single copy of the records or of the chunk */
export function encodeRequest({ volume, copy, message }: Addressed<Request>): Buffer {
  const to = new ByteWriter().u8(VERSION).u8(OP[message.op])
  putId(putId(to, volume), copy)
  switch (message.op) {
    case 'state':
      return putId(to, message.candidate).finish()
    case 'promise':
    case 'grant':
    case 'yield':
      return putReign(to, message).finish()
    case 'append': {
      putPlace(putReign(to, message), message.before).u8(message.sync ? 1 : 0)
      return withRest(to, message.records)
    }
    case 'tags':
      to.u32(message.seqs.length)
      for (const seq of message.seqs) to.u53(seq)
      return to.finish()
    case 'read':
      return putPlace(to, message.after).u32(message.bytesMax).finish()
    case 'putChunk':
      return withRest(putId(putReign(to, message), message.chunk), message.bytes)
    case 'lacksChunks':
    case 'checkChunks':
      return putIds(to, message.chunks).finish()
    case 'checkLog':
      return to.u53(message.after).u32(message.bytesMax).finish()
    case 'readChunk':
      return putId(to, message.chunk).finish()
    case 'deleteChunks':
      return putIds(putPosition(putReign(to, message), message.committed), message.chunks).finish()
    case 'checkpoint':
      return withRest(putReign(to, message), encodeCheckpoint(volume, message.checkpoint))
    case 'begin':
      return withRest(
        putPlace(putReign(to, message), message.end),
        encodeCheckpoint(volume, message.checkpoint),
      )
    case 'readCheckpoint':
      return to.finish()
    case 'whole':
      return putId(putReign(to, message), message.drives).finish()
    case 'listOld': {
      const { epoch, keyEpoch, restMs } = message.old
      return to.u8(message.part).u53(epoch).u32(keyEpoch).u53(restMs).finish()
    }
  }
}

/**
 * @param body ours from here on: records and chunks are views of it
 * @param sealed the chunk file, when it came beside the body
 * @throws ProtocolError for anything that encodeRequest does not make
 */
export function decodeRequest(body: Buffer, sealed: Buffer | null = null): Addressed<Request> {
  const request = whole(body, (from, op) => {
    const volume = id<VolumeId>(from)
    const copy = id<CopyId>(from)
    return { volume, copy, message: requestOf(from, op, volume) }
  })
  if (sealed === null) return request
  const { message } = request
  if (message.op !== 'putChunk' || message.bytes.length > 0) {
    throw new ProtocolError(`copy: ${sealed.length} bytes beside ${message.op}`)
  }
  if (sealed.length > chunkFileBytesMax) {
    throw new ProtocolError(`copy: a chunk file of ${sealed.length} bytes`)
  }
  return { ...request, message: { ...message, bytes: sealed } }
}

function requestOf(from: ByteReader, op: number, volume: VolumeId): Request {
  switch (op) {
    case OP.state:
      return { op: 'state', candidate: id(from) }
    case OP.promise:
      return { op: 'promise', ...reign(from) }
    case OP.grant:
      return { op: 'grant', ...reign(from) }
    case OP.yield:
      return { op: 'yield', ...reign(from) }
    case OP.append: {
      const { epoch, owner } = reign(from)
      const before = place(from)
      const sync = flag(from)
      return { op: 'append', epoch, owner, before, sync, records: rest(from, RECORDS_BYTES_MAX) }
    }
    case OP.tags: {
      const count = counted(from, SEQS_MAX, U53_BYTES)
      return { op: 'tags', seqs: Array.from({ length: count }, () => from.u53() as RecordSeq) }
    }
    case OP.read: {
      const after = place(from)
      return { op: 'read', after, bytesMax: from.u32() }
    }
    case OP.putChunk: {
      const { epoch, owner } = reign(from)
      const chunk = id<ChunkId>(from)
      return { op: 'putChunk', epoch, owner, chunk, bytes: rest(from, chunkFileBytesMax) }
    }
    case OP.lacksChunks:
      return { op: 'lacksChunks', chunks: ids(from) }
    case OP.checkChunks:
      return { op: 'checkChunks', chunks: ids(from) }
    case OP.checkLog: {
      const after = from.u53() as RecordSeq
      return { op: 'checkLog', after, bytesMax: from.u32() }
    }
    case OP.readChunk:
      return { op: 'readChunk', chunk: id(from) }
    case OP.deleteChunks: {
      const { epoch, owner } = reign(from)
      const committed = position(from)
      return { op: 'deleteChunks', epoch, owner, committed, chunks: ids(from) }
    }
    case OP.checkpoint: {
      const { epoch, owner } = reign(from)
      return { op: 'checkpoint', epoch, owner, checkpoint: checkpoint(from, volume) }
    }
    case OP.begin: {
      const { epoch, owner } = reign(from)
      const end = place(from)
      return { op: 'begin', epoch, owner, end, checkpoint: checkpoint(from, volume) }
    }
    case OP.whole: {
      const { epoch, owner } = reign(from)
      return { op: 'whole', epoch, owner, drives: id(from) }
    }
    case OP.readCheckpoint:
      return { op: 'readCheckpoint' }
    case OP.listOld: {
      const part = from.u8()
      const epoch = from.u53() as Epoch
      const keyEpoch = from.u32() as KeyEpoch
      return { op: 'listOld', part, old: { epoch, keyEpoch, restMs: from.u53() } }
    }
    default:
      throw new ProtocolError(`copy: operation ${op} is not known`)
  }
}

/** @returns as encodeRequest; a wait is rounded up, so that nobody comes too early */
export function encodeAnswer(answer: Answer): Buffer {
  const to = new ByteWriter().u8(VERSION).u8(KIND[answer.kind])
  switch (answer.kind) {
    case 'state': {
      putPlace(putWait(to.u53(answer.promised), answer.waitMs), answer.end)
      return (answer.damaged === null ? to.u8(0) : putText(to.u8(1), answer.damaged)).finish()
    }
    case 'promised':
    case 'apart':
      return putPlace(to, answer.end).finish()
    case 'granted':
      return (answer.doubt === null ? to.u8(0) : putId(to.u8(1), answer.doubt)).finish()
    case 'done':
      return to.finish()
    case 'appended':
      return to.u53(answer.end).u53(answer.durable).finish()
    case 'tags':
      to.u32(answer.tags.length)
      for (const tag of answer.tags) tag === null ? to.u8(0) : to.u8(1).bytes(tag)
      return to.finish()
    case 'records':
      return withRest(to, answer.records)
    case 'lacks':
    case 'old':
      return putIds(to, answer.chunks).finish()
    case 'chunk':
      return answer.bytes === null ? to.u8(0).finish() : withRest(to.u8(1), answer.bytes)
    case 'checked':
      return putIds(putIds(to.u53(answer.bytes), answer.bad), answer.missing).finish()
    case 'checkedLog': {
      to.u53(answer.end).u53(answer.bytes)
      return (answer.damaged === null ? to.u8(0) : putText(to.u8(1), answer.damaged)).finish()
    }
    case 'checkpoint': {
      const { volume, checkpoint: one } = answer
      putId(to, volume)
      return one === null ? to.u8(0).finish() : withRest(to.u8(1), encodeCheckpoint(volume, one))
    }
    case 'refused': {
      to.u8(WHY[answer.why]).u53(answer.promised)
      return putText(putWait(to, answer.waitMs), answer.words).finish()
    }
  }
}

/**
 * @param body ours from here on: records and chunks are views of it
 * @throws ProtocolError for anything that encodeAnswer does not make
 */
export function decodeAnswer(body: Buffer): Answer {
  return whole(body, (from, kind): Answer => {
    switch (kind) {
      case KIND.state: {
        const promised = from.u53() as Epoch
        const waitMs = from.u32()
        const end = place(from)
        return { kind: 'state', promised, waitMs, end, damaged: flag(from) ? text(from) : null }
      }
      case KIND.promised:
        return { kind: 'promised', end: place(from) }
      case KIND.granted:
        return { kind: 'granted', doubt: flag(from) ? id(from) : null }
      case KIND.appended: {
        const end = from.u53() as RecordSeq
        const durable = from.u53() as RecordSeq
        if (durable > end) throw new ProtocolError(`copy: durable up to ${durable} of ${end}`)
        return { kind: 'appended', end, durable }
      }
      case KIND.apart:
        return { kind: 'apart', end: place(from) }
      case KIND.tags: {
        const count = counted(from, SEQS_MAX, 1)
        const tags = Array.from({ length: count }, () =>
          flag(from) ? from.bytes(chainBytes) : null,
        )
        return { kind: 'tags', tags }
      }
      case KIND.records:
        return { kind: 'records', records: rest(from, RECORDS_BYTES_MAX) }
      case KIND.lacks:
        return { kind: 'lacks', chunks: ids(from) }
      case KIND.old:
        return { kind: 'old', chunks: ids(from) }
      case KIND.chunk:
        return { kind: 'chunk', bytes: flag(from) ? rest(from, chunkFileBytesMax) : null }
      case KIND.checked: {
        const bytes = from.u53()
        const bad = ids<ChunkId>(from)
        return { kind: 'checked', bytes, bad, missing: ids(from) }
      }
      case KIND.checkedLog: {
        const end = from.u53() as RecordSeq
        const bytes = from.u53()
        return { kind: 'checkedLog', end, bytes, damaged: flag(from) ? text(from) : null }
      }
      case KIND.done:
        return { kind: 'done' }
      case KIND.checkpoint: {
        const volume = id<VolumeId>(from)
        return {
          kind: 'checkpoint',
          volume,
          checkpoint: flag(from) ? checkpoint(from, volume) : null,
        }
      }
      case KIND.refused: {
        const why = whyOf(from.u8())
        const promised = from.u53() as Epoch
        const waitMs = from.u32()
        return { kind: 'refused', why, promised, waitMs, words: text(from) }
      }
      default:
        throw new ProtocolError(`copy: answer ${kind} is not known`)
    }
  })
}

function whole<T>(body: Buffer, read: (from: ByteReader, what: number) => T): T {
  const from = new ByteReader(body)
  const version = from.u8()
  if (version !== VERSION) {
    throw new ProtocolError(`copy: version ${version}, this build speaks ${VERSION}`)
  }
  const value = read(from, from.u8())
  if (from.left > 0) throw new ProtocolError(`copy: ${from.left} bytes too many`)
  return value
}

function putId(to: ByteWriter, value: string): ByteWriter {
  return to.bytes(Buffer.from(value, 'hex'))
}

function id<T extends string>(from: ByteReader): T {
  return from.bytes(ID_BYTES).toString('hex') as T
}

function putIds(to: ByteWriter, values: readonly string[]): ByteWriter {
  to.u32(values.length)
  for (const value of values) putId(to, value)
  return to
}

function ids<T extends string>(from: ByteReader): T[] {
  const count = counted(from, limits.recordChunkIdsMax, ID_BYTES)
  return Array.from({ length: count }, () => id<T>(from))
}

/** Nothing is reserved for a count before the bytes of its items are there. */
function counted(from: ByteReader, countMax: number, itemBytesMin: number): number {
  const count = from.u32()
  if (count > countMax || count * itemBytesMin > from.left) {
    throw new ProtocolError(`copy: ${count} items in ${from.left} bytes, at most ${countMax}`)
  }
  return count
}

function putReign(to: ByteWriter, { epoch, owner }: { epoch: Epoch; owner: NodeId }): ByteWriter {
  return putId(to.u53(epoch), owner)
}

function reign(from: ByteReader): { epoch: Epoch; owner: NodeId } {
  const epoch = from.u53() as Epoch
  return { epoch, owner: id(from) }
}

function putPosition(to: ByteWriter, { epoch, seq }: Position): ByteWriter {
  return to.u53(epoch).u53(seq)
}

function position(from: ByteReader): Position {
  const epoch = from.u53() as Epoch
  return { epoch, seq: from.u53() as RecordSeq }
}

function putPlace(to: ByteWriter, at: Place): ByteWriter {
  return putPosition(to, at).bytes(at.chain)
}

function place(from: ByteReader): Place {
  return { ...position(from), chain: from.bytes(chainBytes) }
}

/** @throws ProtocolError */
function checkpoint(from: ByteReader, volume: VolumeId): Checkpoint {
  try {
    return decodeCheckpoint(volume, rest(from, checkpointFileBytesMax))
  } catch (error) {
    if (!(error instanceof CorruptError) && codeOf(error) !== 'ENOTSUP') throw error
    throw new ProtocolError(`copy: ${messageOf(error)}`, error)
  }
}

function putWait(to: ByteWriter, waitMs: number): ByteWriter {
  return to.u32(Math.min(Math.ceil(waitMs), WAIT_MS_MAX))
}

function putText(to: ByteWriter, value: string): ByteWriter {
  return to.sized(Buffer.from(value).subarray(0, TEXT_BYTES_MAX))
}

function text(from: ByteReader): string {
  return from.sized(TEXT_BYTES_MAX).toString()
}

function flag(from: ByteReader): boolean {
  const value = from.u8()
  if (value > 1) throw new ProtocolError(`copy: flag ${value}`)
  return value === 1
}

function whyOf(value: number): Refusal {
  for (const [why, number] of Object.entries(WHY)) if (number === value) return why as Refusal
  throw new ProtocolError(`copy: refusal ${value} is not known`)
}

function withRest(to: ByteWriter, bytes: Buffer): Buffer {
  return Buffer.concat([to.finish(), bytes])
}

function rest(from: ByteReader, bytesMax: number): Buffer {
  if (from.left > bytesMax) {
    throw new ProtocolError(`copy: ${from.left} bytes where at most ${bytesMax} may be`)
  }
  return from.bytes(from.left)
}
