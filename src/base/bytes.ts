import { ProtocolError } from './errors.ts'

/** Growing little-endian writer for durable and sent records; hot kernel replies use fixed buffers instead. */
export class ByteWriter {
  #buffer: Buffer
  #length = 0

  constructor(capacityBytes = 256) {
    this.#buffer = Buffer.allocUnsafe(capacityBytes)
  }

  get length(): number {
    return this.#length
  }

  u8(value: number): this {
    this.#length = this.#room(1).writeUInt8(value, this.#length)
    return this
  }

  u16(value: number): this {
    this.#length = this.#room(2).writeUInt16LE(value, this.#length)
    return this
  }

  u32(value: number): this {
    this.#length = this.#room(4).writeUInt32LE(value, this.#length)
    return this
  }

  /** A whole number below 2^53 as u64. */
  u53(value: number): this {
    const buffer = this.#room(8)
    buffer.writeUInt32LE(value % 0x1_0000_0000, this.#length)
    this.#length = buffer.writeUInt32LE(Math.floor(value / 0x1_0000_0000), this.#length + 4)
    return this
  }

  i64(value: bigint): this {
    this.#length = this.#room(8).writeBigInt64LE(value, this.#length)
    return this
  }

  bytes(value: Uint8Array): this {
    this.#room(value.length).set(value, this.#length)
    this.#length += value.length
    return this
  }

  /** u32 length, then the bytes. */
  sized(value: Uint8Array): this {
    return this.u32(value.length).bytes(value)
  }

  /** Copy of what was written. */
  finish(): Buffer {
    return Buffer.from(this.#buffer.subarray(0, this.#length))
  }

  #room(extra: number): Buffer {
    const need = this.#length + extra
    if (need > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(need, this.#buffer.length * 2))
      this.#buffer.copy(grown, 0, 0, this.#length)
      this.#buffer = grown
    }
    return this.#buffer
  }
}

/** Bounds-checked little-endian reader. @throws ProtocolError on every read past the end */
export class ByteReader {
  readonly buffer: Buffer
  at: number
  readonly end: number

  constructor(buffer: Buffer, at = 0, end = buffer.length) {
    this.buffer = buffer
    this.at = at
    this.end = end
  }

  get left(): number {
    return this.end - this.at
  }

  u8(): number {
    return this.buffer.readUInt8(this.#take(1))
  }

  u16(): number {
    return this.buffer.readUInt16LE(this.#take(2))
  }

  u32(): number {
    return this.buffer.readUInt32LE(this.#take(4))
  }

  /** @throws ProtocolError above 2^53 - 1 */
  u53(): number {
    const at = this.#take(8)
    const high = this.buffer.readUInt32LE(at + 4)
    if (high > 0x1f_ffff) throw new ProtocolError('64-bit number above 2^53 - 1')
    return high * 0x1_0000_0000 + this.buffer.readUInt32LE(at)
  }

  i64(): bigint {
    return this.buffer.readBigInt64LE(this.#take(8))
  }

  /** A view, not a copy. */
  bytes(count: number): Buffer {
    const at = this.#take(count)
    return this.buffer.subarray(at, at + count)
  }

  sized(countMax: number): Buffer {
    const count = this.u32()
    if (count > countMax)
      throw new ProtocolError(`field of ${count} bytes, at most ${countMax} allowed`)
    return this.bytes(count)
  }

  #take(count: number): number {
    const at = this.at
    if (count > this.end - at) throw new ProtocolError(`need ${count} bytes, ${this.end - at} left`)
    this.at = at + count
    return at
  }
}
