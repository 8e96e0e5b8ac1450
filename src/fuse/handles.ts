import type { Random } from '../base/index.ts'
import type { SharedVolume } from '../store/index.ts'
import { OPCODES } from './opcodes.ts'
import { getU32 } from './wire/bytes.ts'
import { FATTR_FH, IN_HEADER_BYTES, nodeVolume } from './wire/index.ts'

/** fuse_in_header.nodeid, its high half. */
const NODE_HI_AT = 20

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

/** A handle is below 2^53: its low 36 bits say which open file it is, the 17 above them what the open rests on. */
const FILES = 2 ** 36
/** Epochs of this node's own ownership, one round of them; sessions with another owner stand above them. */
const ROUND = 2 ** 16

/** Handles of one kernel: no other open file has the same, so what is held through one that is closed can be told. */
export class Handles {
  #file: number

  constructor(random: Random) {
    this.#file = random.bytes(4).readUInt32LE(0)
  }

  /** Of a volume that this node owns. @see handleHolds */
  own({ replicated, epoch }: SharedVolume): number {
    return this.#next(replicated ? epoch % ROUND : 0)
  }

  /** Of a volume that another node owns. @param generation of the session, below 2^16 */
  far(generation: number): number {
    return this.#next(ROUND + generation)
  }

  #next(restsOn: number): number {
    this.#file = (this.#file + 1) % FILES
    return restsOn * FILES + this.#file
  }
}

export function nextGeneration(generation: number): number {
  return (generation + 1) % ROUND
}

/** Which open file of its kernel a handle is. */
export function fileOf(handle: number): number {
  return handle % FILES
}

/** Whether a handle was given out under a session with another owner. */
export function isOfSession(handle: number, generation: number): boolean {
  return Math.floor(handle / FILES) === ROUND + generation
}

/** Whether a handle was given out while this node owned the volume, in one of these epochs. */
export function isOfEpochs(handle: number, first: number, last: number): boolean {
  const restsOn = Math.floor(handle / FILES)
  const age = (ROUND + (last % ROUND) - restsOn) % ROUND
  return restsOn < ROUND && age <= last - first
}

/** Hot. Of a request that is made through a descriptor: the handle that its open was answered with; -1 of any other. */
export function handleOf(request: Buffer, opcode: number): number {
  if (WITH_HANDLE.has(opcode)) return handleAt(request, IN_HEADER_BYTES)
  if (opcode !== OPCODES.SETATTR.code) return -1
  const through = (getU32(request, IN_HEADER_BYTES) & FATTR_FH) !== 0
  return through ? handleAt(request, IN_HEADER_BYTES + 8) : -1
}

/**
 * Hot. The second descriptor of a request that has two: the one that copy_file_range writes through; -1 of any other, and
 * of one into another volume, which is refused (EXDEV).
 * Source: include/uapi/linux/fuse.h, struct fuse_copy_file_range_in
 */
export function secondHandleOf(request: Buffer, opcode: number): number {
  const isCopy =
    opcode === OPCODES.COPY_FILE_RANGE.code || opcode === OPCODES.COPY_FILE_RANGE_64.code
  if (!isCopy) return -1
  const out = nodeVolume(getU32(request, IN_HEADER_BYTES + 20))
  return out === nodeVolume(getU32(request, NODE_HI_AT))
    ? handleAt(request, IN_HEADER_BYTES + 24)
    : -1
}

function handleAt(request: Buffer, at: number): number {
  return getU32(request, at) + getU32(request, at + 4) * 2 ** 32
}

/**
 * Hot. Whether the descriptors of a request hold: of a volume of several copies a handle rests on the epoch it was opened in,
 * and all that it was answered is there still as long as no other node has taken the volume over since (design §6.2); or on
 * the session with the owner before, who let go of the volume for this node.
 */
export function handleHolds(shared: SharedVolume, request: Buffer, opcode: number): boolean {
  return holds(shared, handleOf(request, opcode)) && holds(shared, secondHandleOf(request, opcode))
}

function holds(shared: SharedVolume, handle: number): boolean {
  if (handle < 0) return true
  if (!shared.replicated) return Math.floor(handle / FILES) === 0
  if (isOfEpochs(handle, shared.lineFirst, shared.epoch)) return true
  const { carriedGeneration } = shared
  return carriedGeneration !== null && isOfSession(handle, carriedGeneration)
}
