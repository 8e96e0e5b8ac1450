import { type ChunkId, type DriveId, FsError, type RecordSeq } from '../base/index.ts'
import type { Replicas, SharedVolume } from '../store/index.ts'
import type { Owner } from './owner.ts'

/** What the engine of a volume asks of its other copies, asked of its owner. */
export class OwnerReplicas implements Replicas {
  readonly #owner: Owner
  readonly #shared: SharedVolume
  readonly #readChunk: (chunk: ChunkId, drive: DriveId) => Promise<Buffer | null>

  constructor(
    owner: Owner,
    shared: SharedVolume,
    readChunk: (chunk: ChunkId, drive: DriveId) => Promise<Buffer | null>,
  ) {
    this.#owner = owner
    this.#shared = shared
    this.#readChunk = readChunk
  }

  appended(): void {
    this.#owner.appended()
  }

  async sync(seq: RecordSeq): Promise<void> {
    await this.#owner.sync(seq)
  }

  async putChunk(chunk: ChunkId, drive: DriveId): Promise<number> {
    const bytes = await this.#readChunk(chunk, drive)
    if (!bytes) {
      throw new FsError('EIO', 'putChunk', { chunk, message: `chunk ${chunk} is gone or damaged` })
    }
    // Looked at in one moment: who counts, that all of them have it, and the number which stands for them.
    do await this.#owner.putChunk(chunk, bytes)
    while (!this.#owner.mayName([chunk]))
    return this.#shared.setNumber
  }

  deleteChunk(chunk: ChunkId, droppedBy: RecordSeq): void {
    this.#owner.deleteChunks([chunk], droppedBy).catch(() => {
      // Who did not hear of it keeps a chunk that nothing names, until it is swept.
    })
  }
}
