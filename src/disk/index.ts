/**
 * disk: durable bytes. Called by drives, chunks, journal, coordinator and whoever keeps a small file; the only room that
 * writes data through node:fs (staging and the LMDB view aside). Calls block: the callers are threads that block by design.
 *
 * Promises: `write` has written all or thrown; after `fdatasync` the bytes and the size survive a power cut; after
 * `fsyncDirectory` the names do; `replaceFile` leaves the old bytes or the new ones, never a mixture. A failure is an
 * FsError with the errno's code, EIO (with its cause) where the code says nothing to a caller. A failed fdatasync is
 * reported once and must not be tried again (design §6.7): the kernel has dropped the pages it could not write.
 *
 * `SimulatedDisk` keeps the same promises and nothing beyond them, so that tests can cut its power.
 */
export { alignedBuffer, isAligned, sharedAlignedBuffer } from './aligned.ts'
export { type ChunkFiles, chunkFilesOf, chunkFilesOn, systemChunkFiles } from './chunk-file.ts'
export { type Disk, type DiskHandle, type DiskStat, diskError, type OpenMode } from './disk.ts'
export { type DiskOp, SimulatedDisk, sectorBytes } from './simulated.ts'
export { systemDisk } from './system.ts'
