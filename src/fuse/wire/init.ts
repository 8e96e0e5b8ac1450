import { expectAtLeast, putU32 } from './bytes.ts'

/** FUSE_INIT: version and features. Source: struct fuse_init_in, fuse_init_out; fs/fuse/inode.c, process_init_reply. */

export const FUSE_KERNEL_VERSION = 7
/** Newest protocol these codecs know. */
export const FUSE_KERNEL_MINOR_VERSION = 45
/** From here on the kernel can be made to forget every name at once, by FUSE_NOTIFY_INC_EPOCH. */
export const INC_EPOCH_MINOR = 44
/** Oldest they speak: message sizes are those of 7.31 or later, without the shorter forms before. */
export const FUSE_MINOR_VERSION_MIN = 31

/** Bits of fuse_init_in.flags and fuse_init_out.flags. */
export const INIT_FLAGS = {
  FUSE_ASYNC_READ: 1 << 0,
  FUSE_POSIX_LOCKS: 1 << 1,
  FUSE_FILE_OPS: 1 << 2,
  FUSE_ATOMIC_O_TRUNC: 1 << 3,
  FUSE_EXPORT_SUPPORT: 1 << 4,
  FUSE_BIG_WRITES: 1 << 5,
  FUSE_DONT_MASK: 1 << 6,
  FUSE_SPLICE_WRITE: 1 << 7,
  FUSE_SPLICE_MOVE: 1 << 8,
  FUSE_SPLICE_READ: 1 << 9,
  FUSE_FLOCK_LOCKS: 1 << 10,
  FUSE_HAS_IOCTL_DIR: 1 << 11,
  FUSE_AUTO_INVAL_DATA: 1 << 12,
  FUSE_DO_READDIRPLUS: 1 << 13,
  FUSE_READDIRPLUS_AUTO: 1 << 14,
  FUSE_ASYNC_DIO: 1 << 15,
  FUSE_WRITEBACK_CACHE: 1 << 16,
  FUSE_NO_OPEN_SUPPORT: 1 << 17,
  FUSE_PARALLEL_DIROPS: 1 << 18,
  FUSE_HANDLE_KILLPRIV: 1 << 19,
  FUSE_POSIX_ACL: 1 << 20,
  FUSE_ABORT_ERROR: 1 << 21,
  FUSE_MAX_PAGES: 1 << 22,
  FUSE_CACHE_SYMLINKS: 1 << 23,
  FUSE_NO_OPENDIR_SUPPORT: 1 << 24,
  FUSE_EXPLICIT_INVAL_DATA: 1 << 25,
  FUSE_MAP_ALIGNMENT: 1 << 26,
  FUSE_SUBMOUNTS: 1 << 27,
  FUSE_HANDLE_KILLPRIV_V2: 1 << 28,
  FUSE_SETXATTR_EXT: 1 << 29,
  FUSE_INIT_EXT: 1 << 30,
} as const

/** Bits 32 and up of the features, as they stand in flags2 (bit 39 here is 1 << 7). Never mix with INIT_FLAGS. */
export const INIT_FLAGS2 = {
  FUSE_SECURITY_CTX: 1 << 0,
  FUSE_HAS_INODE_DAX: 1 << 1,
  FUSE_CREATE_SUPP_GROUP: 1 << 2,
  FUSE_HAS_EXPIRE_ONLY: 1 << 3,
  FUSE_DIRECT_IO_ALLOW_MMAP: 1 << 4,
  FUSE_PASSTHROUGH: 1 << 5,
  FUSE_NO_EXPORT_SUPPORT: 1 << 6,
  FUSE_HAS_RESEND: 1 << 7,
  FUSE_ALLOW_IDMAP: 1 << 8,
  FUSE_OVER_IO_URING: 1 << 9,
  FUSE_REQUEST_TIMEOUT: 1 << 10,
} as const

export interface InitIn {
  major: number
  minor: number
  max_readahead: number
  flags: number
  /** 0 when the kernel did not set FUSE_INIT_EXT. */
  flags2: number
}

/**
 * 16 bytes, or 64 from 7.36 on; whatever a later kernel adds behind is passed over, since it may send its own
 * minor version whatever ours is.
 * @throws ProtocolError
 */
export function decodeInit(buf: Buffer, at: number, end: number): InitIn {
  expectAtLeast(buf, at, end, 16, 'INIT')
  const flags = buf.readUInt32LE(at + 12)
  const extended = (flags & INIT_FLAGS.FUSE_INIT_EXT) !== 0
  if (extended) expectAtLeast(buf, at, end, 20, 'INIT')
  return {
    major: buf.readUInt32LE(at),
    minor: buf.readUInt32LE(at + 4),
    max_readahead: buf.readUInt32LE(at + 8),
    flags,
    flags2: extended ? buf.readUInt32LE(at + 16) : 0,
  }
}

export const INIT_OUT_BYTES = 64

export interface InitOut {
  major: number
  minor: number
  /** Bytes. */
  max_readahead: number
  flags: number
  flags2: number
  max_background: number
  congestion_threshold: number
  /** Bytes of one WRITE. */
  max_write: number
  /** Nanoseconds; a power of ten. */
  time_gran: number
  /** Pages of 4 KiB in one request; needs FUSE_MAX_PAGES. */
  max_pages: number
  /** Needs FUSE_PASSTHROUGH; 0 otherwise. */
  max_stack_depth: number
  /** Seconds; needs FUSE_REQUEST_TIMEOUT; 0 for none. */
  request_timeout: number
}

/** FUSE_INIT_EXT is added when flags2 has a bit, because the kernel reads flags2 only then. */
export function encodeInitOut(buf: Buffer, at: number, init: InitOut): number {
  const ext = init.flags2 === 0 ? 0 : INIT_FLAGS.FUSE_INIT_EXT
  buf.fill(0, at, at + INIT_OUT_BYTES)
  putU32(buf, at, init.major)
  putU32(buf, at + 4, init.minor)
  putU32(buf, at + 8, init.max_readahead)
  putU32(buf, at + 12, init.flags | ext)
  buf.writeUInt16LE(init.max_background, at + 16)
  buf.writeUInt16LE(init.congestion_threshold, at + 18)
  putU32(buf, at + 20, init.max_write)
  putU32(buf, at + 24, init.time_gran)
  buf.writeUInt16LE(init.max_pages, at + 28)
  putU32(buf, at + 32, init.flags2)
  putU32(buf, at + 36, init.max_stack_depth)
  buf.writeUInt16LE(init.request_timeout, at + 40)
  return at + INIT_OUT_BYTES
}
