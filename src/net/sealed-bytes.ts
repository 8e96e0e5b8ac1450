import { createCipheriv, createDecipheriv, type DecipherGCM } from 'node:crypto'

/**
 * How bytes travel that are sealed already: authenticated by the connection, not sealed once more (ADR 18). One AES-256-GCM
 * message each: their lengths and they themselves are its associated data, the frame that they belong to is its plain text.
 * Each side draws a key for what it sends and tells it in its hello, inside the Noise channel; the nonce counts messages.
 */
export const sealedKeyBytes = 32
export const sealedTagBytes = 16
/** u32 bytes of the frame · u32 bytes that are sealed already. */
export const lengthsBytes = 8
const CIPHER = 'aes-256-gcm'
const nonceBytes = 12

class Counter {
  readonly #nonce = Buffer.alloc(nonceBytes)
  #next = 0n

  take(): Buffer {
    this.#nonce.writeBigUInt64LE(this.#next++, nonceBytes - 8)
    return this.#nonce
  }
}

export function encodeLengths(frameBytes: number, sealedBytes: number): Buffer {
  const lengths = Buffer.alloc(lengthsBytes)
  lengths.writeUInt32LE(frameBytes, 0)
  lengths.writeUInt32LE(sealedBytes, 4)
  return lengths
}

/** One direction, the sender's side. */
export class Sender {
  readonly #key: Buffer
  readonly #counter = new Counter()

  constructor(key: Buffer) {
    this.#key = key
  }

  /** @returns the frame, sealed, with the tag of all behind it */
  seal(lengths: Buffer, sealed: Buffer, frame: Buffer): Buffer {
    const cipher = createCipheriv(CIPHER, this.#key, this.#counter.take())
    cipher.setAAD(lengths)
    cipher.setAAD(sealed)
    const bytes = cipher.update(frame)
    cipher.final()
    return Buffer.concat([bytes, cipher.getAuthTag()])
  }
}

/** One direction, the receiver's side: pieces in their order, then the frame. */
export class Receiver {
  readonly #key: Buffer
  readonly #counter = new Counter()
  #opening: DecipherGCM | null = null

  constructor(key: Buffer) {
    this.#key = key
  }

  begin(lengths: Buffer): void {
    this.#opening = createDecipheriv(CIPHER, this.#key, this.#counter.take())
    this.#opening.setAAD(lengths)
  }

  piece(bytes: Buffer): void {
    this.#opening?.setAAD(bytes)
  }

  /** @returns the frame; null when a bit of anything that came is another than was sent */
  end(sealedFrame: Buffer, tag: Buffer): Buffer | null {
    const opening = this.#opening
    this.#opening = null
    if (!opening) return null
    const frame = opening.update(sealedFrame)
    opening.setAuthTag(tag)
    try {
      opening.final()
      return frame
    } catch {
      // Its one error: the tag is not that of these bytes.
      return null
    }
  }
}
