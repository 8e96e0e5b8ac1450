import { readSync, writeSync } from 'node:fs'
import { nativeFunctions } from '../base/index.ts'

/** read(2) and write(2) of a device that often has nothing: failing is an answer. Why is told by Node's own call behind it. */
export interface DeviceCalls {
  /** @returns bytes; negative when it failed, as it also does when there is nothing and `fd` does not wait */
  read(fd: number, buffer: Buffer): number
  /** @returns bytes; negative when it failed */
  write(fd: number, buffer: Buffer, bytes: number): number
}

/** null until somebody asks: most threads never do. */
let calls: DeviceCalls | null = null

export function deviceCalls(): DeviceCalls {
  calls ??= nativeCalls() ?? nodeCalls
  return calls
}

/** Source: man 2 read, man 2 write */
function nativeCalls(): DeviceCalls | null {
  const native = nativeFunctions({
    read: 'intptr_t read(int fd, void *buf, size_t count)',
    write: 'intptr_t write(int fd, void *buf, size_t count)',
  })
  if (native === null) return null
  const { read, write } = native
  return {
    read: (fd, buffer) => read(fd, buffer, buffer.length) as number,
    write: (fd, buffer, bytes) => write(fd, buffer, bytes) as number,
  }
}

/** The same by Node, at the price of an exception for each that fails. */
export const nodeCalls: DeviceCalls = {
  read: (fd, buffer) => failing(() => readSync(fd, buffer, 0, buffer.length, null)),
  write: (fd, buffer, bytes) => failing(() => writeSync(fd, buffer, 0, bytes)),
}

function failing(call: () => number): number {
  const { stackTraceLimit } = Error
  // Where it failed is known, and finding out is half of what an exception costs.
  Error.stackTraceLimit = 0
  try {
    return call()
  } catch {
    return -1
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}
