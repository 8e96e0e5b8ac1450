import { ProtocolError } from '../../base/index.ts'
import { getU32, putU32 } from './bytes.ts'

/**
 * struct fuse_in_header, 40 bytes before every request, and struct fuse_out_header, 16 before every answer.
 * Source: linux include/uapi/linux/fuse.h (7.45).
 */

export const IN_HEADER_BYTES = 40
export const OUT_HEADER_BYTES = 16
export const FUSE_ROOT_ID = 1
/** FUSE_UNIQUE_RESEND, bit 63 of unique, as it stands in uniqueHi. */
export const RESEND_BIT_HI = 0x8000_0000

/** One of these per thread is filled again for every request. */
export interface RequestHeader {
  len: number
  opcode: number
  uniqueLo: number
  uniqueHi: number
  nodeLo: number
  nodeHi: number
  uid: number
  gid: number
  pid: number
  /** Length of the extensions behind the body, in units of 8 bytes. */
  totalExtlen: number
  /** Where the body ends: extensions (security context, groups) are left out. The body begins at IN_HEADER_BYTES. */
  bodyEnd: number
}

export function newRequestHeader(): RequestHeader {
  return {
    len: 0,
    opcode: 0,
    uniqueLo: 0,
    uniqueHi: 0,
    nodeLo: 0,
    nodeHi: 0,
    uid: 0,
    gid: 0,
    pid: 0,
    totalExtlen: 0,
    bodyEnd: 0,
  }
}

/**
 * Hot. Decode the header at the start of what one read of /dev/fuse returned.
 * @param n bytes read: the kernel gives exactly one request per read
 * @throws ProtocolError when n is no whole request, `into` then being half filled
 */
export function decodeHeader(buf: Buffer, n: number, into: RequestHeader): void {
  if (n < IN_HEADER_BYTES || n > buf.length) throw new ProtocolError(`request of ${n} bytes`)
  const len = getU32(buf, 0)
  if (len !== n) throw new ProtocolError(`request says ${len} bytes, read gave ${n}`)
  into.len = len
  into.opcode = getU32(buf, 4)
  into.uniqueLo = getU32(buf, 8)
  into.uniqueHi = getU32(buf, 12)
  into.nodeLo = getU32(buf, 16)
  into.nodeHi = getU32(buf, 20)
  into.uid = getU32(buf, 24)
  into.gid = getU32(buf, 28)
  into.pid = getU32(buf, 32)
  const totalExtlen = buf.readUInt16LE(36)
  const bodyEnd = len - totalExtlen * 8
  if (bodyEnd < IN_HEADER_BYTES)
    throw new ProtocolError(`${totalExtlen * 8} bytes of extensions in a request of ${len}`)
  into.totalExtlen = totalExtlen
  into.bodyEnd = bodyEnd
}

/**
 * True for a request sent again after FUSE_NOTIFY_RESEND. It may have been executed already: look it up by
 * unique without this bit. Answer with unique as it came, bit included, because the kernel compares all of it.
 * Source: fs/fuse/dev.c, fuse_resend and request_find.
 */
export function isResend(uniqueHi: number): boolean {
  return uniqueHi >= RESEND_BIT_HI
}

/** The high half of `unique` as it was the first time: what names a request in stored answers. */
export function withoutResend(uniqueHi: number): number {
  return uniqueHi >= RESEND_BIT_HI ? uniqueHi - RESEND_BIT_HI : uniqueHi
}

/** Names a request of one kernel, also when it is sent again. */
export function requestKey(uniqueLo: number, uniqueHi: number): string {
  return `${withoutResend(uniqueHi)}:${uniqueLo}`
}

/**
 * Hot. Write the answer's header at the start of `buf`.
 * @param len whole answer, header included
 * @param error 0 or a negative errno; the kernel refuses an answer with anything else, or with a body beside an error
 */
export function encodeReplyHeader(
  buf: Buffer,
  len: number,
  error: number,
  uniqueLo: number,
  uniqueHi: number,
): void {
  putU32(buf, 0, len)
  putU32(buf, 4, error)
  putU32(buf, 8, uniqueLo)
  putU32(buf, 12, uniqueHi)
}

/** The body of STATFS, READLINK and DESTROY: nothing. @throws ProtocolError */
export function decodeEmpty(_buf: Buffer, at: number, end: number): void {
  if (at !== end) throw new ProtocolError(`body of ${end - at} bytes, none expected`)
}
