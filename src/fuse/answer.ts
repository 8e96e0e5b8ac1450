import { writeSync } from 'node:fs'
import { codeOf } from '../base/index.ts'
import { deviceCalls } from './device-calls.ts'
import { getU32 } from './wire/bytes.ts'
import { encodeReplyHeader, OUT_HEADER_BYTES } from './wire/index.ts'

/**
 * Write one answer to the kernel; any thread may. An answer nobody waits for any more is no error: the request was
 * interrupted (ENOENT), or the connection has ended (ENODEV, EPERM on a descriptor whose mount never came).
 * @param buf whole message; its first OUT_HEADER_BYTES are written here
 * @param error negative errno, 0 for success
 */
export function answer(
  fd: number,
  buf: Buffer,
  end: number,
  error: number,
  uniqueLo: number,
  uniqueHi: number,
): void {
  encodeReplyHeader(buf, end, error, uniqueLo, uniqueHi)
  if (deviceCalls().write(fd, buf, end) === end) return
  try {
    // An answer that failed has not been taken: this one says why.
    writeSync(fd, buf, 0, end)
  } catch (thrown) {
    if (!['ENOENT', 'ENODEV', 'EPERM'].includes(codeOf(thrown))) throw thrown
  }
}

/** The kernel's answer alone, without what an owner has put behind it (post-attributes.ts, file-map.ts). */
export function answerAlone(whole: Buffer): Buffer {
  return whole.length < OUT_HEADER_BYTES ? whole : whole.subarray(0, getU32(whole, 0))
}

const bare = Buffer.alloc(OUT_HEADER_BYTES)

/** An answer without a body. @param error negative errno, 0 for success */
export function answerBare(fd: number, error: number, uniqueLo: number, uniqueHi: number): void {
  answer(fd, bare, OUT_HEADER_BYTES, error, uniqueLo, uniqueHi)
}
