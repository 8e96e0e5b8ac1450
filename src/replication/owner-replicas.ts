import { type ChunkId, FsError, type KeyEpoch, type RecordSeq } from '../base/index.ts'
import { decodeCheckpoint } from '../journal/index.ts'
import type { Replicas, SharedVolume } from '../store/index.ts'
import type { Owner } from './owner.ts'

/** What the engine of a volume asks of its other copies, asked of its owner. */
export class OwnerReplicas implements Replicas {
  readonly #owner: Owner
  readonly #shared: SharedVolume
  readonly #readChunk: (chunk: ChunkId) => Promise<Buffer | null>

  constructor(
    owner: Owner,
    shared: SharedVolume,
    readChunk: (chunk: ChunkId) => Promise<Buffer | null>,
  ) {
    this.#owner = owner
    this.#shared = shared
    this.#readChunk = readChunk
  }

  appended(): void {
    this.#owner.appended()
  }

  async sync(seq: RecordSeq): Promise<void> {
    await this.#owner.sync(seq, { isHere: true })
  }

  async putChunk(chunk: ChunkId, file: Buffer | null): Promise<number> {
    const bytes = file ?? (await this.#readChunk(chunk)) ?? (await this.#mended(chunk))
    if (!bytes) {
      throw new FsError('EIO', 'putChunk', { chunk, message: `chunk ${chunk} is gone or damaged` })
    }
    // Looked at in one moment: who counts, that all of them have it, and the number which stands for them.
    do await this.#owner.putChunk(chunk, bytes, { isHere: true })
    while (!this.#owner.mayName([chunk]))
    return this.#shared.setNumber
  }

  /** Its drive was lost since it was put: from another copy. */
  async #mended(chunk: ChunkId): Promise<Buffer | null> {
    return (await this.#owner.mend(chunk)) ? await this.#readChunk(chunk) : null
  }

  async readBack(chunk: ChunkId): Promise<void> {
    await this.#owner.readBack(chunk)
  }

  async checkpoint(checkpoint: Buffer): Promise<number> {
    return await this.#owner.checkpoint(decodeCheckpoint(this.#owner.volume, checkpoint))
  }

  async dropSealedBefore(keyEpoch: KeyEpoch): Promise<number> {
    const old = { keyEpoch, restMs: Number.MAX_SAFE_INTEGER }
    return (await this.#owner.sweep(old)).without
  }

  deleteChunk(chunk: ChunkId, droppedBy: RecordSeq): void {
    this.#owner.deleteChunks([chunk], droppedBy).catch(() => {
      // Who did not hear of it keeps a chunk that nothing names, until it is swept.
    })
  }
}
