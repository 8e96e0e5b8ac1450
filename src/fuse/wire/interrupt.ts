import { expectSize } from './bytes.ts'

/**
 * INTERRUPT: a signal waits for the caller of a request under way. It may arrive before that request does.
 * The interrupted request is answered with EINTR, or with its result when that comes first. INTERRUPT itself is
 * not answered (EAGAIN would have it sent again).
 * Source: struct fuse_interrupt_in; Documentation/filesystems/fuse, "Interrupting filesystem operations".
 */

export interface InterruptIn {
  /** unique of the request meant, as that one carried it, resend bit included. */
  uniqueLo: number
  uniqueHi: number
}

/** @throws ProtocolError */
export function decodeInterrupt(buf: Buffer, at: number, end: number): InterruptIn {
  expectSize(buf, at, end, 8, 'INTERRUPT')
  return { uniqueLo: buf.readUInt32LE(at), uniqueHi: buf.readUInt32LE(at + 4) }
}
