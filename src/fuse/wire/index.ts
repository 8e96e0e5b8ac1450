/**
 * fuse/wire: the Linux FUSE kernel protocol, 7.31 to 7.45, as pure functions over buffers. No I/O, no state.
 * Called by fuse/worker.ts for every request and by whoever writes a late answer or a notification.
 *
 * - Decoders take (buf, at, end) of a body as decodeHeader bounds it (IN_HEADER_BYTES, header.bodyEnd) and throw
 *   ProtocolError, nothing else, whatever the bytes. The hottest fill a reused object, made by newXxxIn.
 * - Names and values come back as views into the request buffer: gone at the next read, so copy what outlives it.
 * - Offsets and sizes are numbers; above 2^53 - 1 they are clamped where a short result is legal, else
 *   OffsetTooBigError (answer: EFBIG). Lock owners and ranges are bigint. `unique` and node ids are two u32.
 * - Encoders write at an offset of the caller's buffer and return the new end; a buffer too short is a RangeError,
 *   a bug of the caller. encodeDirent alone returns -1 instead, because directories fill their buffer on purpose.
 * - Structs and fields are spelled as in the kernel. Source of layouts: linux include/uapi/linux/fuse.h.
 */
export * from './attr.ts'
export { nodeIno, nodeInoAt, nodeVolume, OffsetTooBigError, validMsAt } from './bytes.ts'
export * from './dir.ts'
export * from './forget.ts'
export * from './header.ts'
export * from './init.ts'
export * from './interrupt.ts'
export * from './lock.ts'
export * from './lookup.ts'
export * from './notify.ts'
export * from './open.ts'
export * from './range.ts'
export * from './read-write.ts'
export * from './setattr.ts'
export * from './statfs.ts'
export * from './tree.ts'
export * from './xattr.ts'
