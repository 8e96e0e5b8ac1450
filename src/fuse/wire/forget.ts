import { ProtocolError } from '../../base/index.ts'
import { clampedAt, expectAtLeast, expectSize } from './bytes.ts'

/**
 * FORGET and BATCH_FORGET: the kernel gives back references to inodes. Never answered, not even with an error.
 * Source: struct fuse_forget_in, fuse_batch_forget_in, fuse_forget_one; fs/fuse/dev.c, fuse_read_forget.
 */

/** @returns how many lookups of the header's node are given back. @throws ProtocolError */
export function decodeForget(buf: Buffer, at: number, end: number): number {
  expectSize(buf, at, end, 8, 'FORGET')
  return clampedAt(buf, at)
}

/**
 * Hot. Calls `each` for every node, after the whole body has been checked, so that half a batch is never applied.
 * @throws ProtocolError
 */
export function decodeBatchForget(
  buf: Buffer,
  at: number,
  end: number,
  each: (nodeLo: number, nodeHi: number, nlookup: number) => void,
): void {
  expectAtLeast(buf, at, end, 8, 'BATCH_FORGET')
  const count = buf.readUInt32LE(at)
  if (count * 16 !== end - at - 8)
    throw new ProtocolError(`BATCH_FORGET of ${count} nodes in ${end - at} bytes`)
  for (let one = at + 8; one < end; one += 16) {
    each(buf.readUInt32LE(one), buf.readUInt32LE(one + 4), clampedAt(buf, one + 8))
  }
}
