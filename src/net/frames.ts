import { ByteReader, ByteWriter, limits, ProtocolError } from '../base/index.ts'
import { type Address, formatAddress, parseAddress } from './addresses.ts'
import { sealedKeyBytes } from './sealed-bytes.ts'

/**
 * Bytes between peers, version 1. Little-endian; each travels as one Noise message inside a protomux channel, so length
 * and authenticity are settled before a byte of it is read.
 *
 *     hello, the channel's handshake, sent by both
 *       u8 version = 1 · u8 lane (0 control, 1 bulk) · 16 bytes instance · u32 dial · 32 bytes key of what goes past Noise ·
 *       u8 count · count × (u8 length · ASCII host:port)
 *     frames, the channel's messages
 *       1 request  u64 id · u8 length · service · body to the end
 *       2 answer   u64 id · body to the end
 *       3 failure  u64 id · u8 retry (0 never, 1 later) · u8 length · errno name · u16 length · UTF-8 message
 *       4 cancel   u64 id
 *       5 ping     u32 token
 *       6 pong     u32 token
 *       7 bye      (nothing)
 *
 * Over TCP a request may have bytes behind its body that travel beside its frame (tcp-pipe.ts); elsewhere they are the end
 * of its body. Ids count up on each connection, apart for each side. Lane and dial are the dialler's; the answerer repeats no lane and
 * sends 0 for both. Kinds and errno names are append-only.
 */
const protocolVersion = 1

export type Lane = 'control' | 'bulk'

/** @property instance 32 hex digits, drawn at each start: tells a restarted peer from one that dials again
 *  @property dial counts the dials of one instance, so that both sides agree which of two is the newer */
export interface Hello {
  readonly lane: Lane
  readonly instance: string
  readonly dial: number
  /** 32 bytes, for what the sender of this hello sends past the Noise channel. */
  readonly sealedKey: Buffer
  readonly addresses: readonly Address[]
}

export type Frame =
  | {
      readonly kind: 'request'
      readonly id: number
      readonly service: string
      readonly body: Buffer
      /** Behind the body; absent when there is nothing. */
      readonly sealed?: Lent
    }
  | { readonly kind: 'answer'; readonly id: number; readonly body: Buffer }
  | {
      readonly kind: 'failure'
      readonly id: number
      readonly retry: 'never' | 'later'
      readonly code: string
      readonly message: string
    }
  | { readonly kind: 'cancel'; readonly id: number }
  | { readonly kind: 'ping' | 'pong'; readonly token: number }
  | { readonly kind: 'bye' }

/** Bytes of somebody else's until `done` is called: when they have left this node, or their handler is through with them. */
export interface Lent {
  readonly bytes: Buffer
  done(): void
}

/** A frame as it is sent: the body is borrowed, not copied, until it is written. */
export interface EncodedFrame {
  readonly head: Buffer
  readonly body: Buffer
  readonly sealed?: Lent
}

const KIND = { request: 1, answer: 2, failure: 3, cancel: 4, ping: 5, pong: 6, bye: 7 } as const
const LANES: readonly Lane[] = ['control', 'bulk']
const instanceBytes = 16
export const addressesMax = 16
const messageBytesMax = 1024
const EMPTY = Buffer.alloc(0)

/** Names a service may have: 1 to 64 of a-z, 0-9, dot and dash. */
export const SERVICE_NAME = /^[a-z][a-z0-9.-]{0,63}$/
const ERRNO_NAME = /^E[A-Z0-9]{1,30}$/

export function encodeHello(hello: Hello): Buffer {
  const out = new ByteWriter()
    .u8(protocolVersion)
    .u8(LANES.indexOf(hello.lane))
    .bytes(Buffer.from(hello.instance, 'hex'))
    .u32(hello.dial)
    .bytes(hello.sealedKey)
    .u8(hello.addresses.length)
  for (const address of hello.addresses) {
    const text = Buffer.from(formatAddress(address), 'latin1')
    out.u8(text.length).bytes(text)
  }
  return out.finish()
}

/** @throws ProtocolError for another version, anything malformed, and bytes that are left over */
export function decodeHello(bytes: Buffer): Hello {
  const reader = new ByteReader(bytes)
  const version = reader.u8()
  if (version !== protocolVersion)
    throw new ProtocolError(
      `the peer speaks version ${version} of the protocol, this node ${protocolVersion}: upgrade the older one`,
    )
  const lane = LANES[reader.u8()]
  if (!lane) throw new ProtocolError('no such lane')
  const instance = reader.bytes(instanceBytes).toString('hex')
  const dial = reader.u32()
  const sealedKey = Buffer.from(reader.bytes(sealedKeyBytes))
  const count = reader.u8()
  if (count > addressesMax) throw new ProtocolError(`${count} addresses, at most ${addressesMax}`)
  const addresses: Address[] = []
  for (let i = 0; i < count; i++) {
    const address = parseAddress(reader.bytes(reader.u8()).toString('latin1'))
    if (!address) throw new ProtocolError('an address that is not host:port')
    addresses.push(address)
  }
  end(reader)
  return { lane, instance, dial, sealedKey, addresses }
}

export function encodeFrame(frame: Frame): EncodedFrame {
  const out = new ByteWriter(128).u8(KIND[frame.kind])
  switch (frame.kind) {
    case 'request': {
      const service = Buffer.from(frame.service, 'latin1')
      return {
        head: out.u53(frame.id).u8(service.length).bytes(service).finish(),
        body: frame.body,
        ...(frame.sealed ? { sealed: frame.sealed } : {}),
      }
    }
    case 'answer':
      return { head: out.u53(frame.id).finish(), body: frame.body }
    case 'failure': {
      const code = Buffer.from(frame.code, 'latin1')
      const message = Buffer.from(frame.message, 'utf8').subarray(0, messageBytesMax)
      out.u53(frame.id).u8(frame.retry === 'later' ? 1 : 0)
      out.u8(code.length).bytes(code).u16(message.length).bytes(message)
      return { head: out.finish(), body: EMPTY }
    }
    case 'cancel':
      return { head: out.u53(frame.id).finish(), body: EMPTY }
    case 'ping':
    case 'pong':
      return { head: out.u32(frame.token).finish(), body: EMPTY }
    case 'bye':
      return { head: out.finish(), body: EMPTY }
    default:
      return frame satisfies never
  }
}

/**
 * @param bytes one whole message; the body that comes out is a view of it
 * @throws ProtocolError for anything malformed, too large, and bytes that are left over
 */
export function decodeFrame(bytes: Buffer): Frame {
  if (bytes.length > limits.netFrameBytesMax)
    throw new ProtocolError(`frame of ${bytes.length} bytes, at most ${limits.netFrameBytesMax}`)
  const reader = new ByteReader(bytes)
  const kind = reader.u8()
  switch (kind) {
    case KIND.request: {
      const id = reader.u53()
      const service = reader.bytes(reader.u8()).toString('latin1')
      if (!SERVICE_NAME.test(service)) throw new ProtocolError('not the name of a service')
      return { kind: 'request', id, service, body: bodyOf(reader) }
    }
    case KIND.answer:
      return { kind: 'answer', id: reader.u53(), body: bodyOf(reader) }
    case KIND.failure: {
      const id = reader.u53()
      const retry = reader.u8()
      if (retry > 1) throw new ProtocolError(`retry is 0 or 1, not ${retry}`)
      const code = reader.bytes(reader.u8()).toString('latin1')
      if (!ERRNO_NAME.test(code)) throw new ProtocolError('not the name of an errno')
      const length = reader.u16()
      if (length > messageBytesMax) throw new ProtocolError(`message of ${length} bytes`)
      const message = reader.bytes(length).toString('utf8')
      end(reader)
      return { kind: 'failure', id, retry: retry === 1 ? 'later' : 'never', code, message }
    }
    case KIND.cancel: {
      const id = reader.u53()
      end(reader)
      return { kind: 'cancel', id }
    }
    case KIND.ping:
    case KIND.pong: {
      const token = reader.u32()
      end(reader)
      return { kind: kind === KIND.ping ? 'ping' : 'pong', token }
    }
    case KIND.bye:
      end(reader)
      return { kind: 'bye' }
    default:
      throw new ProtocolError(`frame of unknown kind ${kind}`)
  }
}

function bodyOf(reader: ByteReader): Buffer {
  if (reader.left > limits.netBodyBytesMax)
    throw new ProtocolError(`body of ${reader.left} bytes, at most ${limits.netBodyBytesMax}`)
  return reader.bytes(reader.left)
}

function end(reader: ByteReader): void {
  if (reader.left > 0) throw new ProtocolError(`${reader.left} bytes left over`)
}
