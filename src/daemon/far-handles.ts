import type { Random } from '../base/index.ts'
import {
  Handles,
  handleOf,
  isOfEpochs,
  isOfSession,
  nextGeneration,
  OPCODES,
  type OpenFile,
  Opens,
  secondHandleOf,
  wire,
} from '../fuse/index.ts'

const BODY = wire.IN_HEADER_BYTES
const ENTRY = wire.OUT_HEADER_BYTES
const ENTRY_END = ENTRY + wire.ENTRY_BYTES

/** Epochs in which this node owned a volume. */
export interface OwnEpochs {
  readonly first: number
  readonly last: number
}

/** What goes over with a volume from the session with its owner to this node's own kernel, when it becomes the owner. */
export interface CarriedHandles {
  readonly generation: number
  /** First epoch of those whose descriptors hold, too; null when this node has not owned the volume before. */
  readonly first: number | null
  /** Null when some are not counted. */
  readonly opens: readonly OpenFile[] | null
}

/**
 * The descriptors of one kernel in one volume. Each carries, as the handle that the kernel gives back, the generation of
 * the session it was opened under: of a session that was lost it is told from one that holds. Those that were opened while this
 * node owned the volume hold as long as every owner since has let go of it for the next.
 */
export class FarHandles {
  readonly #handles: Handles
  #generation: number
  #opens = new Opens()
  /** A daemon before this one had opened some, which nobody counts. */
  #uncounted: boolean
  #carried: OwnEpochs | null
  /** This node owns the volume, and descriptors of this generation hold. */
  #isCarriedOn = false

  /**
   * @param kept generation that a daemon before this one had, and `carried`; null for none
   * @param uncounted that one had a session under it
   */
  constructor(
    random: Random,
    kept: { readonly generation: number; readonly carried: OwnEpochs | null } | null,
    uncounted: boolean,
  ) {
    this.#handles = new Handles(random)
    this.#generation = kept?.generation ?? random.bytes(2).readUInt16LE(0)
    this.#carried = kept?.carried ?? null
    this.#uncounted = uncounted
  }

  get generation(): number {
    return this.#generation
  }

  get carried(): OwnEpochs | null {
    return this.#carried
  }

  get any(): boolean {
    return this.#uncounted || this.#opens.any
  }

  /** Null when some are not counted. */
  list(): OpenFile[] | null {
    return this.#uncounted ? null : this.#opens.list()
  }

  /**
   * Whether a request is made through no descriptor, or through such of this session.
   */
  holds(request: Buffer, opcode: number): boolean {
    return this.#isHeld(handleOf(request, opcode)) && this.#isHeld(secondHandleOf(request, opcode))
  }

  #isHeld(handle: number): boolean {
    if (handle < 0 || isOfSession(handle, this.#generation)) return true
    return this.#carried !== null && isOfEpochs(handle, this.#carried.first, this.#carried.last)
  }

  /** This node has let go of the volume. @param opens of its kernel; null when they are not counted */
  carry(epochs: OwnEpochs, opens: readonly OpenFile[] | null): void {
    this.#carried = epochs
    this.#isCarriedOn = false
    this.#opens = new Opens(opens ?? [])
    this.#uncounted = opens === null
  }

  /** This node owns the volume from now on. */
  carryOn(): CarriedHandles {
    const { generation } = this
    const carried = { generation, first: this.#carried?.first ?? null, opens: this.list() }
    this.#isCarriedOn = true
    this.#carried = null
    this.#opens = new Opens()
    this.#uncounted = false
    return carried
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

  /** @param mayBeMore some may be open that nobody counts here */
  lose(mayBeMore = false): void {
    // Of a session that nothing was open under no handle is left.
    if (mayBeMore || this.any || this.#isCarriedOn)
      this.#generation = nextGeneration(this.#generation)
    this.#isCarriedOn = false
    this.#carried = null
    this.#opens = new Opens()
    this.#uncounted = false
  }
}
