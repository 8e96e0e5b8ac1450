import {
  AssertionError,
  codeOf,
  errnoOf,
  FsError,
  type Log,
  messageOf,
  ProtocolError,
} from '../base/index.ts'
import { OffsetTooBigError } from './wire/index.ts'

/** The one table from what is thrown to what the kernel is told. */

const EIO = -errnoOf('EIO')
const EINVAL = -errnoOf('EINVAL')
const EFBIG = -errnoOf('EFBIG')
const ENOSYS = -errnoOf('ENOSYS')
const EOPNOTSUPP = -errnoOf('EOPNOTSUPP')
/** fs/fuse/dev.c, fuse_dev_do_write: an error of -512 or below makes the kernel refuse the answer, leaving the caller hung. */
const ERRNO_MIN = -511

/**
 * @param error anything thrown while a request was served
 * @returns negative errno for fuse_out_header.error. Never ENOSYS: the kernel would stop asking for that operation
 *   for the life of the mount, so an operation refused for one file is EOPNOTSUPP.
 */
export function errnoOfThrown(error: unknown): number {
  if (error instanceof FsError) {
    if (error.errno === ENOSYS) return EOPNOTSUPP
    return error.errno < 0 && error.errno >= ERRNO_MIN ? error.errno : EIO
  }
  if (error instanceof OffsetTooBigError) return EFBIG
  if (error instanceof ProtocolError) return EINVAL
  return EIO
}

/** True for what no room announces: it is answered EIO, and logged once with its stack. */
export function isSurprise(error: unknown): boolean {
  return !(error instanceof FsError || error instanceof ProtocolError)
}

/**
 * What a request that failed is answered, and what the log says of it.
 * @param op name of its opcode
 * @throws AssertionError: the thread ends
 */
export function failed(error: unknown, op: string, log: Log): number {
  if (error instanceof AssertionError) throw error
  // Of the request itself, not of one file: the kernel asks no more.
  if (codeOf(error) === 'ENOSYS') return ENOSYS
  const errno = errnoOfThrown(error)
  if (isSurprise(error)) {
    const stack = error instanceof Error ? error.stack : String(error)
    log.error({ op, errno, stack }, 'request failed in a way nobody foresaw')
  } else if (errno === EIO) {
    log.warn({ op, error: messageOf(error) }, 'request answered EIO')
  }
  return errno
}
