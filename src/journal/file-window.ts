import type { Disk, DiskHandle } from '../disk/index.ts'
import {
  bodyCrcHolds,
  headerBytesAt,
  headerCrcHolds,
  recordAlignBytes,
  recordFixedBytes,
  recordMagic,
  sealedBytesAt,
  volumeMatches,
} from './record.ts'

const windowBytes = 1024 * 1024
/** Who wants the newest record of a file, whose room is made ahead, must not read a window of zeros for it. */
const firstWindowBytes = 32 * 1024
/** Of a window that was closed, for the next: who ships the newest record opens one for each. */
let spare: Buffer = Buffer.alloc(0)

/** Reads one journal file through a buffer that holds at least a record; memory is bounded by the largest record. */
export class FileWindow {
  readonly size: number
  readonly #disk: Disk
  readonly #handle: DiskHandle
  #buffer: Buffer
  #start = 0
  #length = 0
  #workBytes = 0
  #windowBytes = firstWindowBytes

  constructor(disk: Disk, path: string) {
    this.#disk = disk
    this.#handle = disk.open(path, 'read')
    this.size = disk.size(this.#handle)
    this.#buffer = spare
    spare = Buffer.alloc(0)
  }

  /** Nothing that was read may be looked at any more. */
  close(): void {
    if (this.#buffer.length <= firstWindowBytes) spare = this.#buffer
    this.#disk.close(this.#handle)
  }

  /** Bytes read and checked so far: what a search among hostile bytes is bounded by. */
  get workBytes(): number {
    return this.#workBytes
  }

  /** Changes with every call that reads. */
  get buffer(): Buffer {
    return this.#buffer
  }

  /** Index in `buffer` of file offset `offset`, with `len` bytes behind it; -1 where the file is shorter. */
  ensure(offset: number, len: number): number {
    if (offset < this.#start || offset + len > this.#start + this.#length) this.#load(offset, len)
    return offset + len <= this.#start + this.#length ? offset - this.#start : -1
  }

  /** Bytes of the record that stands at `offset`, 0 when there is no whole one of this volume. */
  recordBytes(offset: number, volume: Buffer): number {
    let at = this.ensure(offset, recordFixedBytes)
    if (at < 0) return 0
    const headerBytes = headerBytesAt(this.#buffer, at)
    if (headerBytes === 0) return 0
    this.#workBytes += headerBytes
    at = this.ensure(offset, headerBytes)
    if (at < 0 || !headerCrcHolds(this.#buffer, at, headerBytes)) return 0
    const bytes = headerBytes + sealedBytesAt(this.#buffer, at)
    this.#workBytes += bytes
    at = this.ensure(offset, bytes)
    if (at < 0 || !bodyCrcHolds(this.#buffer, at, headerBytes)) return 0
    return volumeMatches(this.#buffer, at, volume) ? bytes : 0
  }

  /** Offset of the next place from `offset` where a record could begin, -1 when there is none. */
  nextMagic(offset: number): number {
    let from = offset
    while (from < this.size) {
      if (from < this.#start || from >= this.#start + this.#length) this.#load(from, 1)
      if (this.#length === 0) return -1
      const found = this.#buffer.subarray(0, this.#length).indexOf(recordMagic, from - this.#start)
      if (found < 0) {
        // A record's magic never straddles: windows begin at its alignment and end at it or at the end of the file.
        from = this.#start + this.#length
        continue
      }
      const at = this.#start + found
      if (at % recordAlignBytes === 0) return at
      from = at + recordAlignBytes - (at % recordAlignBytes)
    }
    return -1
  }

  /** Whether all bytes from `from` to `to` are zero. */
  isZero(from: number, to: number): boolean {
    const at = this.ensure(from, to - from)
    if (at < 0) return false
    for (let i = at; i < at + to - from; i++) if (this.#buffer[i] !== 0) return false
    return true
  }

  #load(offset: number, len: number): void {
    const want = Math.min(Math.max(len, this.#windowBytes), this.size - offset)
    this.#windowBytes = Math.min(windowBytes, 4 * this.#windowBytes)
    if (want > this.#buffer.length) this.#buffer = Buffer.allocUnsafe(want)
    this.#workBytes += Math.max(0, want)
    this.#start = offset
    this.#length = want <= 0 ? 0 : this.#disk.read(this.#handle, this.#buffer, 0, want, offset)
  }
}
