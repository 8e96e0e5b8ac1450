import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { codeOf, FsError, type Ino, type Timespec } from '../base/index.ts'

/**
 * Staging: the log of writes that were accepted and are not yet in a record. It lies on a tmpfs of ours, written and
 * not mapped, so that `kill -9` loses nothing, and it is also how the mount's worker hands data to the engine: the
 * engine reads it in order, commits a prefix, and names the last number covered in the record (design §5).
 *
 * A segment file is named by the number of its first write. Each write is a header of `stagedHeaderBytes`, then data.
 */
export const stagedHeaderBytes = 72
const MAGIC = 0x57_53_54_31
export const STAGED_SEGMENT_BYTES = 16 * 1024 * 1024
const SPARE = '.spare'

/** One staged write, without its data, or a file's times as a kernel that keeps them says (no bytes). `segment` and `at` say where the data is. */
export interface Staged {
  number: number
  ino: Ino
  /** First byte in the file and count of bytes. */
  offset: number
  length: number
  /** When: mtime, and ctime unless `changed` says otherwise. */
  sec: number
  nsec: number
  /** ctime of staged times. */
  changed?: Timespec
  /** Of the kernel's request, and which kernel's: every mount counts its own. */
  uniqueLo: number
  uniqueHi: number
  mount: number
  segment: number
  at: number
}

/** Before it has its place. */
export type NewStaged = Omit<Staged, 'segment' | 'at'>

function segmentName(first: number): string {
  return `${first.toString().padStart(16, '0')}.staged`
}

function segmentsIn(directory: string): number[] {
  return segmentNumbers(readdirSync(directory))
}

function segmentNumbers(names: readonly string[]): number[] {
  return names
    .filter((name) => name.endsWith('.staged'))
    .map((name) => Number.parseInt(name, 10))
    .sort((a, b) => a - b)
}

/** Descriptors of segments, opened on demand. */
class Segments {
  readonly directory: string
  readonly #open = new Map<number, number>()

  constructor(directory: string) {
    this.directory = directory
  }

  descriptor(segment: number): number {
    let fd = this.#open.get(segment)
    if (fd === undefined) {
      fd = openSync(join(this.directory, segmentName(segment)), 'r')
      this.#open.set(segment, fd)
    }
    return fd
  }

  closeBelow(segment: number): void {
    for (const [first, fd] of this.#open) {
      if (first < segment) {
        closeSync(fd)
        this.#open.delete(first)
      }
    }
  }

  close(): void {
    this.closeBelow(Number.POSITIVE_INFINITY)
  }
}

/** Reads data of staged writes; each thread has its own. */
export class StagingReader {
  readonly #segments: Segments
  readonly #header = Buffer.allocUnsafe(stagedHeaderBytes)

  constructor(directory: string) {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    this.#segments = new Segments(directory)
  }

  /** @param skip bytes into the write's data */
  read(staged: Staged, skip: number, out: Buffer, outAt: number, length: number): void {
    const fd = this.#segments.descriptor(staged.segment)
    let done = 0
    while (done < length) {
      const n = readSync(fd, out, outAt + done, length - done, staged.at + skip + done)
      if (n === 0) throw new FsError('EIO', 'staging', { segment: staged.segment, at: staged.at })
      done += n
    }
  }

  /** Segments that begin below this number will not be read again, except the one that may still hold it. */
  closeBelow(number: number): void {
    this.#segments.closeBelow(number)
  }

  close(): void {
    this.#segments.close()
  }

  /**
   * Staged writes with a number above `after`, in order, at most up to `upTo`.
   * Ends at the first header that is not whole: a write that was never answered.
   */
  *scan(after: number, upTo: number, from?: { segment: number; at: number }): Generator<Staged> {
    let last = after
    if (from) {
      // The segment at hand holds the rest, mostly: no look at the directory.
      for (const staged of this.#scanSegment(from.segment, from.at, after + 1)) {
        if (staged.number > upTo) return
        last = staged.number
        yield staged
      }
      if (last >= upTo) return
    }
    const segments = segmentsIn(this.#segments.directory)
    for (const [index, segment] of segments.entries()) {
      if ((segments[index + 1] ?? Number.POSITIVE_INFINITY) <= last + 1) continue
      if (from && segment <= from.segment) continue
      for (const staged of this.#scanSegment(segment, 0, segment)) {
        if (staged.number > upTo) return
        if (staged.number > last) yield staged
      }
    }
  }

  /** The last write that each mount began, committed or not, by the mount: the newest segment outlives its commit. */
  newest(): Map<number, Staged> {
    const newest = new Map<number, Staged>()
    for (const segment of segmentsIn(this.#segments.directory)) {
      for (const staged of this.#scanSegment(segment, 0, segment)) newest.set(staged.mount, staged)
    }
    return newest
  }

  *#scanSegment(segment: number, from: number, first: number): Generator<Staged> {
    const fd = this.#segments.descriptor(segment)
    const bytes = fstatSync(fd).size
    let at = from
    for (let expected = first; at < bytes; expected++) {
      if (readSync(fd, this.#header, 0, stagedHeaderBytes, at) < stagedHeaderBytes) return
      const staged = decodeStaged(this.#header, segment, at + stagedHeaderBytes)
      // A segment file is used again and again: behind its newest write stand writes of an earlier turn.
      if (staged?.number !== expected || staged.at + staged.length > bytes) return
      at = staged.at + staged.length
      yield staged
    }
  }
}

/** Appends staged writes; one per volume: the thread that answers its WRITE requests. */
export class StagingWriter {
  readonly #directory: string
  readonly #header = Buffer.alloc(stagedHeaderBytes)
  #fd = -1
  #segment = 0
  #at = 0

  constructor(directory: string) {
    this.#directory = directory
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  }

  /**
   * One write to the tmpfs: the header is put into `buffer` right before the data, over bytes that the caller
   * gives up (the kernel's own request header), so that nothing is copied.
   * @param dataAt where the data starts in `buffer`, at least stagedHeaderBytes
   * @throws FsError ENOSPC when the tmpfs is full; nothing was staged then
   */
  append(write: NewStaged, buffer: Buffer, dataAt: number): Staged {
    if (this.#fd < 0 || this.#at >= STAGED_SEGMENT_BYTES) this.#startSegment(write.number)
    const start = dataAt - stagedHeaderBytes
    encodeStaged(write, buffer, start)
    const length = stagedHeaderBytes + write.length
    let done = 0
    while (done < length) {
      done += writeSync(this.#fd, buffer, start + done, length - done, this.#at + done)
    }
    const at = this.#at + stagedHeaderBytes
    this.#at += length
    const { number, ino, offset, sec, nsec, uniqueLo, uniqueHi, mount } = write
    const segment = this.#segment
    const staged: Staged = {
      length: write.length,
      number,
      ino,
      offset,
      sec,
      nsec,
      uniqueLo,
      uniqueHi,
      mount,
      segment,
      at,
    }
    if (write.changed) staged.changed = write.changed
    return staged
  }

  /** Times alone: a header without data. @throws as append */
  appendTimes(times: NewStaged & { length: 0; changed: Timespec }): Staged {
    return this.append(times, this.#header, stagedHeaderBytes)
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd)
    this.#fd = -1
  }

  #startSegment(first: number): void {
    this.close()
    this.#segment = first
    this.#at = 0
    const path = join(this.#directory, segmentName(first))
    // Memory that is there already is written at once; fresh pages cost a fault each (measured: 42 % of a large write).
    const spare = this.#takeSpare(path)
    this.#fd = openSync(path, spare ? 'r+' : 'w', 0o600)
  }

  /** The engine may give a spare one back at the same moment: then there is none. */
  #takeSpare(path: string): boolean {
    const spare = readdirSync(this.#directory).find((name) => name.endsWith(SPARE))
    if (!spare) return false
    try {
      renameSync(join(this.#directory, spare), path)
      return true
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
      return false
    }
  }
}

/** Segments whose writes are all committed become spare ones, a few; the memory of the rest is given back. */
export function dropCommittedSegments(
  directory: string,
  committed: number,
  sparesMax: number,
): void {
  const names = readdirSync(directory)
  let spares = names.filter((name) => name.endsWith(SPARE)).length
  const segments = segmentNumbers(names)
  for (const [index, segment] of segments.entries()) {
    const next = segments[index + 1]
    if (next === undefined || next > committed + 1) break
    const path = join(directory, segmentName(segment))
    if (spares++ < sparesMax) renameSync(path, `${path}${SPARE}`)
    else unlinkSync(path)
  }
}

/** Gives back the memory of spare segments: nothing was written for a while. */
export function dropSpareSegments(directory: string): void {
  for (const name of readdirSync(directory)) {
    if (name.endsWith(SPARE)) rmSync(join(directory, name), { force: true })
  }
}

/** Gives back all of it: everything staged is committed, or the boot it belongs to is over. */
export function dropStaging(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  dropSpareSegments(directory)
  for (const segment of segmentsIn(directory)) unlinkSync(join(directory, segmentName(segment)))
}

function encodeStaged(write: NewStaged, out: Buffer, at: number): void {
  out.writeUInt32LE(MAGIC, at)
  out.writeUInt32LE(write.length, at + 4)
  out.writeDoubleLE(write.number, at + 8)
  out.writeDoubleLE(write.ino, at + 16)
  out.writeDoubleLE(write.offset, at + 24)
  out.writeDoubleLE(write.sec, at + 32)
  out.writeUInt32LE(write.nsec, at + 40)
  out.writeUInt32LE(write.uniqueLo, at + 44)
  out.writeUInt32LE(write.uniqueHi, at + 48)
  out.writeUInt32LE(checksum(write), at + 52)
  out.writeDoubleLE(write.changed?.sec ?? 0, at + 56)
  out.writeUInt32LE(write.changed?.nsec ?? 0, at + 64)
  out.writeUInt32LE(write.mount, at + 68)
}

function decodeStaged(header: Buffer, segment: number, at: number): Staged | null {
  if (header.readUInt32LE(0) !== MAGIC) return null
  const staged: Staged = {
    length: header.readUInt32LE(4),
    number: header.readDoubleLE(8),
    ino: header.readDoubleLE(16) as Ino,
    offset: header.readDoubleLE(24),
    sec: header.readDoubleLE(32),
    nsec: header.readUInt32LE(40),
    uniqueLo: header.readUInt32LE(44),
    uniqueHi: header.readUInt32LE(48),
    mount: header.readUInt32LE(68),
    segment,
    at,
  }
  if (staged.length === 0) {
    staged.changed = { sec: header.readDoubleLE(56), nsec: header.readUInt32LE(64) }
  }
  return header.readUInt32LE(52) === checksum(staged) ? staged : null
}

/** Tells a whole header from leftovers; tmpfs does not rot. */
function checksum(write: NewStaged): number {
  return (
    (write.number * 31 +
      write.ino * 17 +
      write.offset * 7 +
      write.length * 3 +
      write.nsec +
      (write.changed?.nsec ?? 0)) >>>
    0
  )
}
