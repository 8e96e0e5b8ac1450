import { alignedBuffer } from '../disk/index.ts'

/**
 * Memory for large bodies that come in, used again: a fresh page costs about 10 µs on a virtual machine, and memory outside
 * the heap that is thrown away makes V8 mark the whole heap again and again (a third of an owner's CPU when measured).
 */
const IDLE_MOST = 4
const STEP_BYTES = 1024 * 1024

const idle: Buffer[] = []

/** @returns a buffer of just these bytes, with anything in it; `giveBack` it, or keep it */
export function lend(bytes: number): Buffer {
  const at = idle.findIndex((one) => one.length >= bytes)
  const whole =
    at >= 0
      ? (idle.splice(at, 1)[0] as Buffer)
      : // So that a chunk goes to its drive from where it came in.
        alignedBuffer(Math.ceil(bytes / STEP_BYTES) * STEP_BYTES)
  return whole.subarray(0, bytes)
}

/** @param buffer that `lend` returned; nobody looks at it any more */
export function giveBack(buffer: Buffer): void {
  if (idle.length < IDLE_MOST) idle.push(Buffer.from(buffer.buffer))
}
