import { type ChunkId, FsError, type KeyEpoch, type RecordSeq } from '../base/index.ts'

/**
 * The other copies of a volume, as its engine sees them: replication does the work and daemon wires it. A volume of one
 * copy has none, and follows the same rules with nobody to wait for.
 */
export interface Replicas {
  /** Something was appended: it can go out, nobody waits for it. */
  appended(): void
  /**
   * Fulfilled when every other member of the in-sync set has all records up to `seq` on stable storage; the own copy is the
   * caller's, who acknowledges nothing before it has them too. @throws FsError EIO when another owner has the volume
   */
  sync(seq: RecordSeq): Promise<void>
  /**
   * Fulfilled when every other copy that counts has the chunk on stable storage; that it is so here too is the caller's to
   * know before a record names it. @param file of it, in memory that threads share, lent until this settles; null when it
   * is to be taken from the own drive
   * @returns number of the set they are (SharedVolume.setNumber) · @throws FsError EIO as `sync`, ENOSPC from a copy
   */
  putChunk(chunk: ChunkId, file: Buffer | null): Promise<number>
  /**
   * Fulfilled when every other member has given this chunk back, which it has confirmed, and it is what the own copy has.
   * @throws FsError EIO as `sync`, and with the copy that gives something else
   */
  readBack(chunk: ChunkId): Promise<void>
  /** A committed record dropped the last use of this chunk: the others delete it too, if they are there. */
  deleteChunk(chunk: ChunkId, droppedBy: RecordSeq): void
  /**
   * Fulfilled when every member has the checkpoint that a committed record names, the own copy too; each drops then what
   * is older. @param checkpoint as in its file · @returns how many copies of the volume do not have it
   * @throws FsError EIO as `sync`
   */
  checkpoint(checkpoint: Buffer): Promise<number>
  /**
   * Have every copy delete what is sealed with a key epoch below this and named by nothing.
   * @returns how many copies of the volume were not there for it · @throws FsError EIO as `sync`
   */
  dropSealedBefore(keyEpoch: KeyEpoch): Promise<number>
}

/** The set has changed since the copies confirmed a chunk that the record was to name (§6.5). No fault, so it has no stack. */
export const SET_CHANGED = new FsError('EAGAIN', 'append', { message: 'another set of copies' })
