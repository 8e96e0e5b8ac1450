import type { Random } from '../base/index.ts'
import { handleOf, OPCODES, type OpenFile, Opens, wire } from '../fuse/index.ts'

const BODY = wire.IN_HEADER_BYTES
const ENTRY = wire.OUT_HEADER_BYTES
const ENTRY_END = ENTRY + wire.ENTRY_BYTES

/**
 * The descriptors of one kernel in one volume. Each carries, as the handle that the kernel gives back, the generation of
 * the session it was opened under: of a session that was lost it is told from one that holds.
 */
export class FarHandles {
  #generation: number
  #opens = new Opens()
  /** A daemon before this one had opened some, which nobody counts. */
  #uncounted: boolean

  /** @param kept generation that a daemon before this one had; null for none */
  constructor(random: Random, kept: number | null) {
    this.#generation = kept ?? newGeneration(random)
    this.#uncounted = kept !== null
  }

  get generation(): number {
    return this.#generation
  }

  get any(): boolean {
    return this.#uncounted || this.#opens.any
  }

  /** Null when some are not counted. */
  list(): OpenFile[] | null {
    return this.#uncounted ? null : this.#opens.list()
  }

  /**
   * Whether a request is made through no descriptor, or one of this session.
   */
  holds(request: Buffer, opcode: number): boolean {
    const handle = handleOf(request, opcode)
    return handle < 0 || handle === this.#generation
  }

  /** @param reply of the owner: to an open it gets its handle here. Offsets: include/uapi/linux/fuse.h */
  answered(request: Buffer, opcode: number, reply: Buffer): void {
    switch (opcode) {
      case OPCODES.OPEN.code:
        reply.writeBigUInt64LE(BigInt(this.#generation), wire.OUT_HEADER_BYTES)
        this.#opens.count(wire.nodeInoAt(request, 16), request.readUInt32LE(BODY), 1)
        return
      case OPCODES.CREATE.code:
      case OPCODES.TMPFILE.code:
        reply.writeBigUInt64LE(BigInt(this.#generation), ENTRY_END)
        this.#opens.count(wire.nodeInoAt(reply, ENTRY), request.readUInt32LE(BODY), 1)
        return
      case OPCODES.RELEASE.code:
        if (handleOf(request, opcode) !== this.#generation) return
        this.#opens.count(wire.nodeInoAt(request, 16), request.readUInt32LE(BODY + 8), -1)
        return
      default:
    }
  }

  lose(random: Random): void {
    this.#generation = newGeneration(random)
    this.#opens = new Opens()
    this.#uncounted = false
  }
}

/** Above every epoch, which is what descriptors of a volume that this node owns itself carry, and below 2^53. */
function newGeneration(random: Random): number {
  return 2 ** 48 + random.bytes(6).readUIntLE(0, 6)
}
