import { type ChunkId, type CopyId, type Epoch, type NodeId, ProtocolError } from '../base/index.ts'
import { type AskCopy, isSilence } from './follower.ts'
import type { CopyPlace, Request } from './messages.ts'

export interface FillWorld {
  readonly ask: AskCopy
  readonly epoch: Epoch
  readonly node: NodeId
  readonly chunkMs: number
  /** Every chunk that the copy must have, as the log stands now. */
  chunksInUse(): Promise<Iterable<ChunkId>>
  /** From whoever has it; null when nobody that answers does. */
  findChunk(chunk: ChunkId): Promise<Buffer | null>
  /** Fulfilled when so many bytes may go out. */
  pace(bytes: number): Promise<void>
  /** The copy is silent, or another matter: this fill is over. */
  isOver(): boolean
}

/** How far a copy has been brought up. */
export interface FillProgress {
  /** Chunks that it lacked when it was last looked through, and those it was given before. */
  readonly chunks: number
  readonly filledChunks: number
  readonly filledBytes: number
}

/** Each is looked for on the drives before it is answered, and records wait for that. */
const CHUNKS_PER_QUESTION = 128
/** Chunks on their way to one copy: one is read while another is written there. */
const LANES = 2

/**
 * Gives one copy every chunk that the log uses and it lacks. Meanwhile the copy gets every new one, so what it lacks only
 * shrinks; it is looked through until nothing is lacking, for a chunk may have been dropped, and another's place filled, in between.
 */
export class Fill {
  readonly copy: CopyPlace
  readonly #world: FillWorld
  #chunks = 0
  #filledChunks = 0
  #filledBytes = 0

  constructor(copy: CopyPlace, world: FillWorld) {
    this.copy = copy
    this.#world = world
  }

  get id(): CopyId {
    return this.copy.id
  }

  get progress(): FillProgress {
    return {
      chunks: this.#chunks,
      filledChunks: this.#filledChunks,
      filledBytes: this.#filledBytes,
    }
  }

  /** @returns false when it did not get them all: it fell silent, refused one, or nobody has one */
  async run(): Promise<boolean> {
    try {
      for (;;) {
        const lacking = await this.lacking()
        if (lacking === null) return false
        this.#chunks = this.#filledChunks + lacking.length
        if (lacking.length === 0) return true
        const before = this.#filledChunks
        if (!(await this.#giveAll(lacking))) return false
        // Nobody has what is still in use.
        if (this.#filledChunks === before) return false
      }
    } catch (error) {
      if (!isSilence(error) && !(error instanceof ProtocolError)) throw error
      return false
    }
  }

  /** What it has not of all it must have; null when it did not say. @throws FsError when it falls silent */
  async lacking(): Promise<ChunkId[] | null> {
    const { ask, chunkMs } = this.#world
    const chunks = [...(await this.#world.chunksInUse())]
    const lacking: ChunkId[] = []
    for (let at = 0; at < chunks.length; at += CHUNKS_PER_QUESTION) {
      if (this.#world.isOver()) return null
      const asked = chunks.slice(at, at + CHUNKS_PER_QUESTION)
      const request: Request = { op: 'lacksChunks', chunks: asked }
      const answer = await ask(this.copy, request, { deadlineMs: chunkMs })
      if (answer.kind !== 'lacks') return null
      lacking.push(...answer.chunks)
    }
    return lacking
  }

  async #giveAll(chunks: readonly ChunkId[]): Promise<boolean> {
    let next = 0
    let whole = true
    const lane = async () => {
      while (whole && next < chunks.length) {
        const chunk = chunks[next++] as ChunkId
        whole = !this.#world.isOver() && (await this.#give(chunk)) && whole
      }
    }
    await Promise.all(Array.from({ length: LANES }, lane))
    return whole
  }

  async #give(chunk: ChunkId): Promise<boolean> {
    const { ask, epoch, node, chunkMs, findChunk, pace } = this.#world
    const bytes = await findChunk(chunk)
    // Its last use was dropped meanwhile, or nobody who has it answers: the next look decides.
    if (!bytes) return true
    await pace(bytes.length)
    const put: Request = { op: 'putChunk', epoch, owner: node, chunk, bytes }
    const done = await ask(this.copy, put, { deadlineMs: chunkMs })
    if (done.kind !== 'done') return false
    this.#filledChunks++
    this.#filledBytes += bytes.length
    return true
  }
}
