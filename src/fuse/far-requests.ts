import { codeOf, type Ino, isBug, type VolumeNumber } from '../base/index.ts'
import { mayHaveMap } from './file-map.ts'
import { GRANT_LATE_MS } from './grants.ts'
import { inodesIn } from './lives.ts'
import { MetadataCache, type OwnChange } from './metadata-cache.ts'
import { damageOf, NearCopy, type NearOpening } from './near-copy.ts'
import { OPCODES } from './opcodes.ts'
import { getU32 } from './wire/bytes.ts'
import * as wire from './wire/index.ts'
import { mailCell, type ToWorker } from './worker-protocol.ts'

/** What the main thread says of requests that were handed on to it. */
export type FarNews = Extract<ToWorker, { kind: 'answered' | 'listed' | 'forget' }>

export interface FarRequestsWorld {
  /** Int32 by mailCell. */
  readonly mailbox: Int32Array
  /** Ms on the clock of leases. */
  now(): number
  /** Where an answer to a READ is made. */
  reply(): Buffer
  /** A chunk of this node's copy failed its seal. */
  damaged(volume: string, chunk: string, what: string): void
  /** The kernel is to forget these attributes, and all names: they were given too late. */
  late(number: VolumeNumber, attributes: readonly Ino[]): void
  /** Have a page of a directory's listing asked for; `listed` is told of it. */
  list(number: VolumeNumber, page: Buffer, asked: number, askedMs: number): void
}

/** This kernel's use of one volume that others order. */
interface FarUse {
  readonly metadata: MetadataCache
  /** Nothing is locked through this mount: a FLUSH has nothing to do. */
  noLocks: boolean
  /** How many locks were asked for. */
  locksAsked: number
  /** This node's copy; null while it is not known to have one. */
  near: NearCopy | null
}

/** Handed on, and not answered yet. */
interface Pending {
  readonly use: FarUse
  readonly request: Buffer
  readonly change: OwnChange | null
  readonly asked: number
  readonly askedMs: number
  readonly locksAsked: number
}

type Give = (reply: Buffer, end: number, errno: number) => void

/** Requests that are answered here, or whose answers are looked at. */
const LOOKED_AT: ReadonlySet<number> = new Set(
  [OPCODES.LOOKUP, OPCODES.GETATTR, OPCODES.GETXATTR, OPCODES.FLUSH].map(({ code }) => code),
)

/**
 * Requests of a mount on volumes that another node or thread orders, in the mount's own thread: what its node was granted is
 * answered here, all else is handed on, and learnt from. The main thread, which hears what is to be forgotten, waits for an
 * answer that is just being given here before it says that it is forgotten.
 */
export class FarRequests {
  readonly #world: FarRequestsWorld
  readonly #uses = new Map<VolumeNumber, FarUse>()
  readonly #pending = new Map<string, Pending>()
  readonly #readIn = wire.newReadIn()

  constructor(world: FarRequestsWorld) {
    this.#world = world
  }

  /**
   * Hot. Answers a request if nobody has to be asked.
   * @param give writes the answer for the kernel: a buffer, where it ends, and a negative errno or 0
   * @returns whether it did
   */
  answer(number: VolumeNumber, request: Buffer, give: Give): boolean {
    const opcode = getU32(request, 4)
    const use = this.#uses.get(number)
    if (!use) return false
    if (opcode === OPCODES.READ.code) return this.#read(use, request, give)
    if (!LOOKED_AT.has(opcode)) return false
    const { mailbox } = this.#world
    const begunMs = this.#world.now()
    Atomics.store(mailbox, mailCell.answering, 1)
    let reply: Buffer | null = null
    // Among the mail may be what is to be forgotten.
    if (Atomics.load(mailbox, mailCell.posted) === 0) {
      reply = opcode === OPCODES.FLUSH.code ? flushed(use) : use.metadata.answer(request, opcode)
    }
    if (reply) give(reply, reply.length, reply.readInt32LE(4))
    Atomics.store(mailbox, mailCell.answering, 0)
    // This thread stood still meanwhile: the kernel would keep it longer than it is granted.
    if (reply && this.#world.now() - begunMs > GRANT_LATE_MS) {
      this.#world.late(number, inodesIn(opcode, wire.nodeInoAt(request, 16), reply))
    }
    if (reply && opcode === OPCODES.LOOKUP.code) this.#list(number, use, request)
    return reply !== null
  }

  /** From this node's copy, by a map of the file that is good still. */
  #read(use: FarUse, request: Buffer, give: Give): boolean {
    const { near, metadata } = use
    if (!near) return false
    wire.decodeRead(request, wire.IN_HEADER_BYTES, getU32(request, 0), this.#readIn)
    const { offset, size } = this.#readIn
    const ino = wire.nodeInoAt(request, 16)
    const map = metadata.mapOf(ino, offset, size)
    if (!map) return false
    const reply = this.#world.reply()
    const at = wire.OUT_HEADER_BYTES
    let count: number
    try {
      count = near.read(map, offset, size, reply, at)
    } catch (error) {
      if (isBug(error)) throw error
      this.#cannotRead(use, near, ino, error)
      return false
    }
    give(reply, at + count, 0)
    return true
  }

  /** The owner moved the chunk, or keys are newer than this copy's: it is asked, and tells where the bytes are now. */
  #cannotRead(use: FarUse, near: NearCopy, ino: Ino, error: unknown): void {
    use.metadata.forgetMap(ino)
    const damage = damageOf(error)
    if (damage) this.#world.damaged(near.volume, damage.chunk, damage.what)
    if (codeOf(error) === 'ENOKEY') this.#near(use, null)
  }

  /** As ToWorker 'drives'. */
  lookAtDrives(): void {
    for (const { near } of this.#uses.values()) near?.lookAtDrives()
  }

  /** @param opening null: nothing is read here any more */
  near(number: VolumeNumber, opening: NearOpening | null): void {
    this.#near(this.#use(number), opening && new NearCopy(opening))
  }

  #near(use: FarUse, near: NearCopy | null): void {
    use.near?.close()
    use.near = near
  }

  /** A request is handed on. @returns whether `heard` is to be told of its answer */
  handedOn(number: VolumeNumber, request: Buffer): boolean {
    const opcode = getU32(request, 4)
    const use = this.#use(number)
    if (opcode === OPCODES.SETLK.code || opcode === OPCODES.SETLKW.code) {
      use.locksAsked++
      use.noLocks = false
      return false
    }
    const change = use.metadata.begin(request)
    const isLookedAt = LOOKED_AT.has(opcode) || (mayHaveMap(opcode) && use.near !== null)
    if (!change && !isLookedAt) return false
    const key = wire.requestKey(getU32(request, 8), getU32(request, 12))
    const before = this.#pending.get(key)
    if (before?.change) before.use.metadata.failed(before.change)
    this.#pending.set(key, {
      use,
      // Of a change its kind and its inode are looked at still.
      request: Buffer.from(change ? request.subarray(0, wire.IN_HEADER_BYTES) : request),
      change,
      asked: use.metadata.asked(),
      askedMs: this.#world.now(),
      locksAsked: use.locksAsked,
    })
    return true
  }

  heard(news: FarNews): void {
    if (news.kind === 'answered') this.#answered(news)
    else if (news.kind === 'forget') {
      this.#uses.get(news.number)?.metadata.forget(news.forgetting)
    } else {
      const { number, asked, askedMs, isFresh } = news
      const use = this.#use(number)
      const page = bufferOf(news.page)
      const reply = news.reply && bufferOf(news.reply)
      use.metadata.listed(page, reply, { asked, askedMs, isFresh })
      if (reply && isFresh) this.#list(number, use, page)
    }
  }

  #answered(news: Extract<FarNews, { kind: 'answered' }>): void {
    const { number, uniqueLo, uniqueHi, isFresh, noLocks } = news
    const key = wire.requestKey(uniqueLo, uniqueHi)
    const pending = this.#pending.get(key)
    if (!pending) return
    this.#pending.delete(key)
    const { use, request, change, asked, askedMs, locksAsked } = pending
    if (noLocks && locksAsked === use.locksAsked) use.noLocks = true
    if (news.reply) {
      use.metadata.answered(request, bufferOf(news.reply), { asked, askedMs, isFresh }, change)
    } else if (change) use.metadata.failed(change)
    if (news.reply && getU32(request, 4) === OPCODES.LOOKUP.code) this.#list(number, use, request)
  }

  #list(number: VolumeNumber, { metadata }: FarUse, like: Buffer): void {
    const page = metadata.nextPage(like)
    if (page) this.#world.list(number, page, metadata.asked(), this.#world.now())
  }

  /** Who orders the volume's changes has changed, or nobody does any more. */
  clear(number: VolumeNumber): void {
    const use = this.#uses.get(number)
    if (!use) return
    use.metadata.clear()
    use.noLocks = false
    this.#near(use, null)
  }

  #use(number: VolumeNumber): FarUse {
    let use = this.#uses.get(number)
    if (!use) {
      const metadata = new MetadataCache(() => this.#world.now())
      use = { metadata, noLocks: false, locksAsked: 0, near: null }
      this.#uses.set(number, use)
    }
    return use
  }
}

/** All that FLUSH does is to let go of locks. */
function flushed({ noLocks }: FarUse): Buffer | null {
  return noLocks ? Buffer.alloc(wire.OUT_HEADER_BYTES) : null
}

function bufferOf({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length)
}
