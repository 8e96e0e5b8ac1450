/**
 * chunks: sealed chunks by id on the drives of this node. Called by vfs (reads), the flusher and
 * checkpoints (puts), reclaim (deletes), fsck and scrub; by daemon for the copies of volumes that other nodes
 * own (RawChunks, which needs no key). Knows no file names, no peers, and not
 * which chunks are in use: deciding that is above (design §6.6).
 *
 * Promises: when `put` resolves, the chunk survives a power cut; when it throws, nothing of it is
 * left. A chunk is never changed, so a copy anywhere is right or fails its seal. A damaged page
 * fails the ranges that need it and no others. Nothing is readable without the volume's key but the
 * header's ids and lengths. What is damaged is moved aside, never deleted.
 *
 * Invariants: one id is sealed once (its nonces follow from it); one ChunkStore per thread, one RawChunks per node.
 * Bytes on disk: docs/format.md, "Chunk files".
 */
export { ARRIVING_NAME, CHUNKS_NAME, QUARANTINE_NAME } from './chunk-path.ts'
export {
  type ChunkInfo,
  ChunkStore,
  type ChunkStoreOptions,
  type PutOptions,
  type PutResult,
} from './chunk-store.ts'
export { type ChunkHeader, chunkFileBytesMax } from './header.ts'
export { RawChunks } from './raw-chunks.ts'
export type { DamagedPart, ScrubReport } from './scrub-chunk.ts'
export type { ChunkReader, ChunkSeal } from './seal-chunk.ts'
export { SECOND_READ_BYTES_MIN, SecondReader } from './second-reader.ts'
