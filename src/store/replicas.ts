import { type ChunkId, type DriveId, FsError, type RecordSeq } from '../base/index.ts'

/**
 * The other copies of a volume, as its engine sees them: replication does the work and daemon wires it. A volume of one
 * copy has none, and follows the same rules with nobody to wait for.
 */
export interface Replicas {
  /** Something was appended: it can go out, nobody waits for it. */
  appended(): void
  /**
   * Fulfilled when every member of the in-sync set has all records up to `seq` on stable storage; the own copy is the
   * caller's. @throws FsError EIO when another owner has the volume
   */
  sync(seq: RecordSeq): Promise<void>
  /**
   * Fulfilled when every copy that counts has the chunk, which is durable here, on stable storage.
   * @returns number of the set they are (SharedVolume.setNumber) · @throws FsError EIO as `sync`, ENOSPC from a copy
   */
  putChunk(chunk: ChunkId, drive: DriveId): Promise<number>
  /** A committed record dropped the last use of this chunk: the others delete it too, if they are there. */
  deleteChunk(chunk: ChunkId, droppedBy: RecordSeq): void
}

/** The set has changed since the copies confirmed a chunk that the record was to name (§6.5). No fault, so it has no stack. */
export const SET_CHANGED = new FsError('EAGAIN', 'append', { message: 'another set of copies' })
