import { nativeFunctions } from '../base/index.ts'

/** read(2) and write(2), which tell by a negative number that they failed, where those of Node throw. */
export interface DeviceCalls {
  /** @returns bytes; negative when it failed, as it also does when there is nothing and `fd` does not wait */
  read(fd: number, buffer: Buffer): number
  /** @returns bytes; negative when it failed */
  write(fd: number, buffer: Buffer, bytes: number): number
}

/** undefined until somebody asks: most threads never do. */
let calls: DeviceCalls | null | undefined

/** @returns null where Node alone reads and writes */
export function deviceCalls(): DeviceCalls | null {
  if (calls === undefined) calls = find()
  return calls
}

/** Source: man 2 read, man 2 write */
function find(): DeviceCalls | null {
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
