import { putI64, putName, putNodeId, putU32 } from './bytes.ts'
import { encodeReplyHeader, OUT_HEADER_BYTES } from './header.ts'

/**
 * What we tell the kernel unasked: a fuse_out_header with unique 0 and the code where errors stand, then a body.
 * Each encoder writes a whole message at the start of `buf` and returns its length, to be written to /dev/fuse.
 * The write returns ENOENT when the kernel does not know the node or name: nothing to do then.
 * Source: enum fuse_notify_code, struct fuse_notify_*_out; fs/fuse/dev.c, fuse_notify.
 */

export const FUSE_NOTIFY_INVAL_INODE = 2
export const FUSE_NOTIFY_INVAL_ENTRY = 3
export const FUSE_NOTIFY_DELETE = 6
/** From 7.40, when FUSE_HAS_RESEND was agreed. */
export const FUSE_NOTIFY_RESEND = 7
/** From 7.44. */
export const FUSE_NOTIFY_INC_EPOCH = 8
/** From 7.45. */
export const FUSE_NOTIFY_PRUNE = 9

/** Flag of INVAL_ENTRY: end the entry's life, keep it if a lookup finds the same node. From 7.38. */
export const FUSE_EXPIRE_ONLY = 1 << 0

/**
 * Forget attributes and cached pages of a node.
 * @param off first byte; negative leaves pages alone (and the call then never blocks)
 * @param len bytes; 0 or less means to the end
 */
export function encodeNotifyInvalInode(
  buf: Buffer,
  volume: number,
  ino: number,
  off: number,
  len: number,
): number {
  const end = OUT_HEADER_BYTES + 24
  encodeReplyHeader(buf, end, FUSE_NOTIFY_INVAL_INODE, 0, 0)
  putNodeId(buf, OUT_HEADER_BYTES, volume, ino)
  putI64(buf, OUT_HEADER_BYTES + 8, off)
  putI64(buf, OUT_HEADER_BYTES + 16, len)
  return end
}

/**
 * Forget one name of a directory. Blocks while that directory has a request pending, so never written by a thread
 * that reads requests.
 * @param flags FUSE_EXPIRE_ONLY or 0
 */
export function encodeNotifyInvalEntry(
  buf: Buffer,
  parentVolume: number,
  parentIno: number,
  name: Uint8Array,
  flags: number,
): number {
  const nameAt = OUT_HEADER_BYTES + 16
  const end = nameAt + name.length + 1
  encodeReplyHeader(buf, end, FUSE_NOTIFY_INVAL_ENTRY, 0, 0)
  putNodeId(buf, OUT_HEADER_BYTES, parentVolume, parentIno)
  putU32(buf, OUT_HEADER_BYTES + 8, name.length)
  putU32(buf, OUT_HEADER_BYTES + 12, flags)
  putName(buf, nameAt, name)
  buf.writeUInt8(0, end - 1)
  return end
}

/** Forget one name that was removed, telling watchers (inotify) so. Blocks as INVAL_ENTRY does. */
export function encodeNotifyDelete(
  buf: Buffer,
  parentVolume: number,
  parentIno: number,
  childVolume: number,
  childIno: number,
  name: Uint8Array,
): number {
  const nameAt = OUT_HEADER_BYTES + 24
  const end = nameAt + name.length + 1
  encodeReplyHeader(buf, end, FUSE_NOTIFY_DELETE, 0, 0)
  putNodeId(buf, OUT_HEADER_BYTES, parentVolume, parentIno)
  putNodeId(buf, OUT_HEADER_BYTES + 8, childVolume, childIno)
  putU32(buf, OUT_HEADER_BYTES + 16, name.length)
  putU32(buf, OUT_HEADER_BYTES + 20, 0)
  putName(buf, nameAt, name)
  buf.writeUInt8(0, end - 1)
  return end
}

/** Send every request again that was read and not answered. */
export function encodeNotifyResend(buf: Buffer): number {
  encodeReplyHeader(buf, OUT_HEADER_BYTES, FUSE_NOTIFY_RESEND, 0, 0)
  return OUT_HEADER_BYTES
}

/** End the life of every cached name of the mount. */
export function encodeNotifyIncEpoch(buf: Buffer): number {
  encodeReplyHeader(buf, OUT_HEADER_BYTES, FUSE_NOTIFY_INC_EPOCH, 0, 0)
  return OUT_HEADER_BYTES
}

/** Drop nodes that nobody uses, so that they come back by FORGET. */
export function encodeNotifyPrune(
  buf: Buffer,
  nodes: readonly { volume: number; ino: number }[],
): number {
  let end = OUT_HEADER_BYTES + 16
  buf.fill(0, OUT_HEADER_BYTES, end)
  putU32(buf, OUT_HEADER_BYTES, nodes.length)
  for (const node of nodes) {
    putNodeId(buf, end, node.volume, node.ino)
    end += 8
  }
  encodeReplyHeader(buf, end, FUSE_NOTIFY_PRUNE, 0, 0)
  return end
}
