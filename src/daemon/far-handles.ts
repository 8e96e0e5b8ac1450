import type { Random } from '../base/index.ts'
import {
  Handles,
  handleOf,
  isOfSession,
  nextGeneration,
  OPCODES,
  type OpenFile,
  Opens,
  wire,
} from '../fuse/index.ts'

const BODY = wire.IN_HEADER_BYTES
const ENTRY = wire.OUT_HEADER_BYTES
const ENTRY_END = ENTRY + wire.ENTRY_BYTES

/**
 * The descriptors of one kernel in one volume. Each carries, as the handle that the kernel gives back, the generation of
 * the session it was opened under: of a session that was lost it is told from one that holds.
 */
export class FarHandles {
  readonly #handles: Handles
  #generation: number
  #opens = new Opens()
  /** A daemon before this one had opened some, which nobody counts. */
  #uncounted: boolean

  /**
   * @param kept generation that a daemon before this one had; null for none
   * @param uncounted that one had a session under it
   */
  constructor(random: Random, kept: number | null, uncounted: boolean) {
    this.#handles = new Handles(random)
    this.#generation = kept ?? random.bytes(2).readUInt16LE(0)
    this.#uncounted = uncounted
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
    return handle < 0 || isOfSession(handle, this.#generation)
  }

  /** @param reply of the owner: to an open it gets its handle here. Offsets: include/uapi/linux/fuse.h */
  answered(request: Buffer, opcode: number, reply: Buffer): void {
    switch (opcode) {
      case OPCODES.OPEN.code:
        this.#putHandle(reply, wire.OUT_HEADER_BYTES)
        this.#opens.count(wire.nodeInoAt(request, 16), request.readUInt32LE(BODY), 1)
        return
      case OPCODES.CREATE.code:
      case OPCODES.TMPFILE.code:
        this.#putHandle(reply, ENTRY_END)
        this.#opens.count(wire.nodeInoAt(reply, ENTRY), request.readUInt32LE(BODY), 1)
        return
      case OPCODES.RELEASE.code:
        if (!this.holds(request, opcode)) return
        this.#opens.count(wire.nodeInoAt(request, 16), request.readUInt32LE(BODY + 8), -1)
        return
      default:
    }
  }

  #putHandle(reply: Buffer, at: number): void {
    reply.writeBigUInt64LE(BigInt(this.#handles.far(this.#generation)), at)
  }

  lose(): void {
    // Of a session that nothing was open under no handle is left.
    if (this.any) this.#generation = nextGeneration(this.#generation)
    this.#opens = new Opens()
    this.#uncounted = false
  }
}
