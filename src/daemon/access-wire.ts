import { z } from 'zod'
import { type Ino, messageOf, ProtocolError, type VolumeNumber } from '../base/index.ts'
import type { OpenFile } from '../fuse/index.ts'
import { lifeShape, nowShape, type OwnerLife, type OwnerNow } from './owner-life.ts'

/** What a node says when its session begins, or when the owner has begun a new life: JSON behind the header of `state`. */
export interface Stated {
  /** That the session was with; null for a session that begins. */
  readonly life: OwnerLife | null
  /** Null when a daemon that has just begun does not know: the owner goes on with what it has. */
  readonly opens: readonly OpenFile[] | null
}

const count = z.number().int().min(0)
const stated: z.ZodType<Stated> = z.strictObject({
  life: lifeShape.nullable(),
  opens: z
    .array(
      z.strictObject({ ino: count.transform((ino) => ino as Ino), readers: count, writers: count }),
    )
    .max(1_000_000)
    .nullable(),
})

/** What an owner asks of a node that uses its volume, before it changes what that node's kernel may keep: JSON. */
export const forgetShape = z.strictObject({
  number: count.transform((number) => number as VolumeNumber),
  attributes: z.array(count.transform((ino) => ino as Ino)).max(65_536),
  names: z.boolean(),
})

/** @throws ProtocolError */
export function decodeStated(bytes: Uint8Array): Stated {
  return parsed(stated, bytes)
}

/** @throws ProtocolError */
export function decodeNow(bytes: Uint8Array): OwnerNow {
  return parsed(nowShape, bytes)
}

function parsed<T extends z.ZodType>(shape: T, bytes: Uint8Array): z.infer<T> {
  try {
    return shape.parse(JSON.parse(Buffer.from(bytes).toString()))
  } catch (error) {
    throw new ProtocolError(`not what was agreed: ${messageOf(error).slice(0, 200)}`)
  }
}

/**
 * What a node asks of the owner of a volume, for its kernel. Little endian, 40 bytes and then the kernel's request as it
 * came; an answer is the kernel's answer with its header, empty when none is due, and what it wants behind it.
 *
 *     0  u8   version 1            8  u32  volume number          24  u64  lowest unique under way
 *     1  u8   1 request, 2 sign of life, 3 end, 4 state           32  u64  0
 *     2  u16  bit 0: its kernel can be made to forget names; bit 1: it wants post-operation attributes; bit 2: and file maps
 *     4  u32  INIT flags          16  f64  session
 */
export interface AccessCall {
  readonly op: 'request' | 'alive' | 'end' | 'state'
  readonly number: VolumeNumber
  /** Random, below 2^48 and not 0: one kernel's use of one volume, until it is lost. */
  readonly session: number
  readonly flags: number
  readonly keepsNames: boolean
  /** Of what a change of names has touched, behind the answer. */
  readonly postAttributes: boolean
  /** Of the file that is read, behind the bytes. */
  readonly fileMap: boolean
  /** Answers to requests below this `unique` have arrived. */
  readonly oldest: bigint
  readonly frame: Uint8Array
}

const VERSION = 1
const KEEPS_NAMES = 1
const POST_ATTRIBUTES = 2
const FILE_MAP = 4
export const accessHeaderBytes = 40
const OPS = ['', 'request', 'alive', 'end', 'state'] as const

export function encodeAccessCall(call: AccessCall): Buffer {
  const buf = Buffer.alloc(accessHeaderBytes + call.frame.length)
  buf.writeUInt8(VERSION, 0)
  buf.writeUInt8(OPS.indexOf(call.op), 1)
  const wants =
    (call.keepsNames ? KEEPS_NAMES : 0) |
    (call.postAttributes ? POST_ATTRIBUTES : 0) |
    (call.fileMap ? FILE_MAP : 0)
  buf.writeUInt16LE(wants, 2)
  buf.writeUInt32LE(call.flags, 4)
  buf.writeUInt32LE(call.number, 8)
  buf.writeDoubleLE(call.session, 16)
  buf.writeBigUInt64LE(call.oldest, 24)
  buf.set(call.frame, accessHeaderBytes)
  return buf
}

/** @throws ProtocolError */
export function decodeAccessCall(buf: Buffer): AccessCall & { frame: Uint8Array<ArrayBuffer> } {
  if (buf.length < accessHeaderBytes) throw new ProtocolError(`access call of ${buf.length} bytes`)
  const version = buf.readUInt8(0)
  if (version !== VERSION) throw new ProtocolError(`access call of version ${version}`)
  const op = OPS[buf.readUInt8(1)]
  if (!op) throw new ProtocolError('access call that asks for nothing known')
  const wants = buf.readUInt16LE(2)
  const session = buf.readDoubleLE(16)
  if (!(Number.isSafeInteger(session) && session > 0 && session < 2 ** 48)) {
    throw new ProtocolError('access call without a session')
  }
  return {
    op,
    flags: buf.readUInt32LE(4),
    keepsNames: (wants & KEEPS_NAMES) !== 0,
    postAttributes: (wants & POST_ATTRIBUTES) !== 0,
    fileMap: (wants & FILE_MAP) !== 0,
    number: buf.readUInt32LE(8) as VolumeNumber,
    session,
    oldest: buf.readBigUInt64LE(24),
    // Its own bytes: they go to another thread.
    frame: new Uint8Array(buf.subarray(accessHeaderBytes)),
  }
}
