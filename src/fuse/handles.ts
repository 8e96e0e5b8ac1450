import type { SharedVolume } from '../store/index.ts'
import { OPCODES } from './opcodes.ts'
import { getU32 } from './wire/bytes.ts'
import { FATTR_FH, IN_HEADER_BYTES } from './wire/index.ts'

/** Requests whose body begins with the handle that an open answered. Source: include/uapi/linux/fuse.h */
const WITH_HANDLE: ReadonlySet<number> = new Set(
  [
    OPCODES.READ,
    OPCODES.WRITE,
    OPCODES.FLUSH,
    OPCODES.RELEASE,
    OPCODES.FSYNC,
    OPCODES.LSEEK,
    OPCODES.FALLOCATE,
    OPCODES.COPY_FILE_RANGE,
    OPCODES.COPY_FILE_RANGE_64,
    OPCODES.GETLK,
    OPCODES.SETLK,
    OPCODES.SETLKW,
  ].map(({ code }) => code),
)

/** Hot. Of a request that is made through a descriptor: the handle that its open was answered with; -1 of any other. */
export function handleOf(request: Buffer, opcode: number): number {
  if (WITH_HANDLE.has(opcode)) return handleAt(request, IN_HEADER_BYTES)
  if (opcode !== OPCODES.SETATTR.code) return -1
  const through = (getU32(request, IN_HEADER_BYTES) & FATTR_FH) !== 0
  return through ? handleAt(request, IN_HEADER_BYTES + 8) : -1
}

function handleAt(request: Buffer, at: number): number {
  return getU32(request, at) + getU32(request, at + 4) * 2 ** 32
}

/**
 * Hot. Whether a descriptor holds: of a volume of several copies its handle is the epoch it was opened in, and all that it was
 * answered is there still as long as no other node has owned the volume since (design §6.2).
 */
export function handleHolds(shared: SharedVolume, request: Buffer, opcode: number): boolean {
  const handle = handleOf(request, opcode)
  if (handle < 0) return true
  if (!shared.replicated) return handle === 0
  return handle >= shared.lineFirst && handle <= shared.epoch
}
