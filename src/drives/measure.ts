import { constants } from 'node:fs'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, codeOf, systemClock } from '../base/index.ts'
import { driveError } from './drive-error.ts'

/** What a drive did in about a second and a half. */
export interface Measured {
  /** Median of writing 4 KiB at a random place so that it outlives a power cut. */
  readonly syncMs: number
  /** Of writes of 1 MiB one after the other, the last of them durable. */
  readonly bytesPerSecond: number
  /** '' when the writes went past the page cache, else why they did not: `bytesPerSecond` is then a guess. */
  readonly note: string
}

const BLOCK_BYTES = 4096
const PIECE_BYTES = 1024 * 1024
/** Enough for a quick NVMe to show itself, and for a hard disk a second's worth. */
const PIECES_MAX = 128
const SYNCS_MAX = 256
const PHASE_MS_MAX = 700
const FILE_NAME = '.weft-measure'

/**
 * Measure a drive by writing a file at the top of it, which is deleted afterwards. Writes of the first part lay the file out,
 * those of the second go over it, so that their time is the disk's and not that of finding space.
 * At most 2 s, if the disk answers: a single write that hangs is not cut short, it cannot be.
 *
 * The file is written with node:fs and not by room disk, which is a neighbour: no data of anybody's is in it.
 * @param alignedBuffer memory that O_DIRECT takes: room disk's
 * @throws FsError EIO, ENOSPC, EROFS, EACCES with the path; what the signal says when it is aborted
 */
export async function measureDrive(
  directory: string,
  alignedBuffer: (bytes: number) => Buffer,
  options: { readonly clock?: Clock; readonly signal?: AbortSignal } = {},
): Promise<Measured> {
  const { clock = systemClock(), signal } = options
  const path = join(directory, FILE_NAME)
  const piece = alignedBuffer(PIECE_BYTES)
  // Zeros and repetitions are left away by some disks.
  for (let at = 0; at < piece.length; at += 4) piece.writeUInt32LE(scatter(at), at)
  const stopwatch = { clock, signal }
  try {
    try {
      return await measureBy(path, piece, constants.O_DIRECT, stopwatch)
    } catch (error) {
      if (codeOf(error) !== 'EINVAL') throw error
      const measured = await measureBy(path, piece, 0, stopwatch)
      return {
        ...measured,
        note: 'the filesystem refuses O_DIRECT: measured through the page cache',
      }
    } finally {
      await rm(path, { force: true })
    }
  } catch (error) {
    signal?.throwIfAborted()
    throw driveError('drive.measure', path, error)
  }
}

interface Stopwatch {
  readonly clock: Clock
  readonly signal: AbortSignal | undefined
}

async function measureBy(
  path: string,
  piece: Buffer,
  direct: number,
  stopwatch: Stopwatch,
): Promise<Measured> {
  const flags = constants.O_WRONLY | constants.O_CREAT | direct
  const { pieces, bytesPerSecond } = await withFile(path, flags, (file) =>
    writeInOrder(file, piece, stopwatch),
  )
  const block = piece.subarray(0, BLOCK_BYTES)
  const syncMs = await withFile(path, flags | constants.O_DSYNC, (file) =>
    writeScattered(file, block, (pieces * PIECE_BYTES) / BLOCK_BYTES, stopwatch),
  )
  return { syncMs, bytesPerSecond, note: '' }
}

async function withFile<T>(
  path: string,
  flags: number,
  work: (file: FileHandle) => Promise<T>,
): Promise<T> {
  const file = await open(path, flags, 0o600)
  try {
    return await work(file)
  } finally {
    await file.close()
  }
}

async function writeInOrder(file: FileHandle, piece: Buffer, { clock, signal }: Stopwatch) {
  const startMs = clock.monotonicMs()
  let pieces = 0
  do {
    signal?.throwIfAborted()
    await writeAll(file, piece, pieces * PIECE_BYTES)
    pieces += 1
  } while (pieces < PIECES_MAX && clock.monotonicMs() - startMs < PHASE_MS_MAX)
  await file.datasync()
  const seconds = Math.max(clock.monotonicMs() - startMs, 0.001) / 1000
  return { pieces, bytesPerSecond: Math.round((pieces * PIECE_BYTES) / seconds) }
}

async function writeScattered(
  file: FileHandle,
  block: Buffer,
  blocks: number,
  { clock, signal }: Stopwatch,
): Promise<number> {
  const took: number[] = []
  const startMs = clock.monotonicMs()
  let nowMs = startMs
  do {
    signal?.throwIfAborted()
    const beforeMs = nowMs
    await writeAll(file, block, (scatter(took.length) % blocks) * BLOCK_BYTES)
    nowMs = clock.monotonicMs()
    took.push(nowMs - beforeMs)
  } while (took.length < SYNCS_MAX && nowMs - startMs < PHASE_MS_MAX)
  return took.sort((a, b) => a - b)[took.length >> 1] ?? 0
}

/** A short write of a file on a disk means that the disk is full. */
async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  const { bytesWritten } = await file.write(bytes, 0, bytes.length, position)
  if (bytesWritten < bytes.length) {
    throw Object.assign(new Error('short write'), { code: 'ENOSPC' })
  }
}

/** Numbers below 2^32 without a pattern that a disk could use, the same each time. Source: MurmurHash3, fmix32 */
function scatter(n: number): number {
  let hash = Math.imul(n ^ (n >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
