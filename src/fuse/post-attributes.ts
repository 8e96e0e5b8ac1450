import { getU32, putU32 } from './wire/bytes.ts'
import * as wire from './wire/index.ts'

/**
 * Attributes of what a change has touched, as they are after it (what NFSv3 calls post_op_attr, RFC 1813 §2.6). An owner gives
 * them to the node that asked, behind the kernel's answer, which says in its header where it ends. Each is a fuse_attr_out,
 * its padding being how many ms the names of that directory may be kept.
 */
export interface PostAttributes {
  /** struct fuse_attr. */
  readonly attr: Buffer
  /** How long it may be kept, in ms. */
  readonly attrMs: number
  /** How long names of it may be kept; 0 for what is no directory. */
  readonly namesMs: number
}

const NAMES_AT = 12

/** @returns the new end */
export function encodePostAttributes(
  buf: Buffer,
  at: number,
  attr: wire.Attr,
  attrMs: number,
  namesMs: number,
): number {
  const end = wire.encodeAttrOut(buf, at, attr, attrMs)
  putU32(buf, at + NAMES_AT, namesMs)
  return end
}

/** @param reply whole, with what is behind it */
export function decodePostAttributes(reply: Buffer): PostAttributes[] {
  const all: PostAttributes[] = []
  const { ATTR_OUT_BYTES: bytes, ATTR_BYTES } = wire
  for (let at = getU32(reply, 0); at + bytes <= reply.length; at += bytes) {
    const attr = reply.subarray(at + bytes - ATTR_BYTES, at + bytes)
    all.push({
      attr,
      attrMs: wire.validMsAt(reply, at, at + 8),
      namesMs: getU32(reply, at + NAMES_AT),
    })
  }
  return all
}
