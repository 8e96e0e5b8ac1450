import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { limits, ProtocolError } from '../base/index.ts'
import { giveBack, lend } from './lent-buffers.ts'
import { encodeLengths, lengthsBytes, Receiver, Sender, sealedTagBytes } from './sealed-bytes.ts'
import type { TcpSource } from './tcp-source.ts'

/** A frame with bytes behind it that were sealed already when they were sent. */
export interface SealedFrame {
  readonly frame: Buffer
  /** Lent until `done`. */
  readonly sealed: Buffer
  done(): void
}

const prefixBytes = 3
/** A length that no message of secret-stream has: even an empty one is sealed. */
const ESCAPE = Buffer.alloc(prefixBytes)
/** Of what stands in front of the body of a call. */
const frameBytesMax = 4096

type Part = 'prefix' | 'message' | 'lengths' | 'sealed' | 'frame'

/**
 * A TCP socket as secret-stream uses it, and beside its messages, frames of which the large part goes past it. What is on
 * the socket, one after the other:
 *
 *     a message of secret-stream   u24 length > 0 · so many bytes
 *     a sealed frame               u24 0 · u32 frame bytes · u32 sealed bytes · sealed bytes · the frame, sealed · 16 bytes tag
 *
 * Nothing of a sealed frame is taken before its tag is right; sealed-bytes.ts. Events as of the socket; 'data' is what is
 * secret-stream's, 'bytes' that anything at all came.
 */
export class TcpPipe extends EventEmitter {
  readonly #socket: Socket
  #sender: Sender | null = null
  #receiver: Receiver | null = null
  #take: (frame: SealedFrame) => void = () => {}
  #part: Part = 'prefix'
  /** Of `prefix`, `lengths` and `frame`: gathered until they are whole. */
  #gathered: Buffer = Buffer.alloc(lengthsBytes)
  #have = 0
  #left = 0
  #frameBytes = 0
  #sealed: Buffer = Buffer.alloc(0)
  #isHeard = false
  /** What came before anybody listened, or before the key that it is sealed with was known. */
  readonly #held: Buffer[] = []
  /** Bytes that are lent to the socket. */
  readonly #lent = new Set<() => void>()
  #sealedIn = 0
  #sealedOut = 0

  /** @param early what came before */
  constructor(source: TcpSource, early: Buffer | null = null) {
    super()
    const { socket } = source
    this.#socket = socket
    for (const event of ['error', 'close', 'end', 'drain'] as const) {
      socket.on(event, (...args: unknown[]) => this.emit(event, ...args))
    }
    socket.on('close', () => {
      for (const back of [...this.#lent]) back()
    })
    if (early) this.#held.push(early)
    source.take = (bytes) => this.#came(bytes)
    // Not sooner: what is emitted before anybody listens is lost.
    this.on('newListener', (event) => {
      if (event === 'data' && this.listenerCount('data') === 0) {
        process.nextTick(() => {
          this.#isHeard = true
          this.#goOn()
        })
      }
    })
  }

  /** Bytes that went past secret-stream, both ways. */
  get sealedIn(): number {
    return this.#sealedIn
  }

  get sealedOut(): number {
    return this.#sealedOut
  }

  /** @param key that the hello of this side tells */
  sendWith(key: Buffer): void {
    this.#sender = new Sender(key)
  }

  /** @param key that the other side's hello told · @param take is given each frame in its turn */
  receiveWith(key: Buffer, take: (frame: SealedFrame) => void): void {
    this.#receiver = new Receiver(key)
    this.#take = take
    this.#goOn()
  }

  /**
   * @param sealed borrowed until `done`, which comes also when the socket breaks
   * @returns false when the socket is full: wait for 'drain'
   */
  sendSealed(frame: Buffer, sealed: Buffer, done: () => void): boolean {
    const sender = this.#sender
    if (!sender) throw new ProtocolError('no key to send with')
    const lengths = encodeLengths(frame.length, sealed.length)
    const behind = sender.seal(lengths, sealed, frame)
    this.#sealedOut += prefixBytes + lengths.length + sealed.length + behind.length
    this.#socket.cork()
    this.#socket.write(Buffer.concat([ESCAPE, lengths]))
    this.#socket.write(sealed)
    const back = () => {
      if (this.#lent.delete(back)) done()
    }
    this.#lent.add(back)
    const isRoom = this.#socket.write(behind, back)
    this.#socket.uncork()
    return isRoom
  }

  write(bytes: Buffer): boolean {
    return this.#socket.write(bytes)
  }

  end(): void {
    this.#socket.end()
  }

  destroy(error?: Error): void {
    this.#socket.destroy(error)
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    if (this.#held.length === 0) this.#socket.resume()
  }

  #came(bytes: Buffer): void {
    this.emit('bytes')
    // Few: what is sent before the greeting is done.
    if (!this.#isHeard || this.#held.length > 0) this.#held.push(Buffer.from(bytes))
    else this.#takeIn(bytes)
  }

  #goOn(): void {
    const held = this.#held.splice(0)
    for (const bytes of held) {
      if (this.#held.length > 0) this.#held.push(bytes)
      else this.#takeIn(bytes)
    }
    if (this.#held.length === 0) this.#socket.resume()
  }

  #takeIn(bytes: Buffer): void {
    let at = 0
    while (at < bytes.length && !this.#socket.destroyed) {
      const next = this.#step(bytes, at)
      if (next < 0) {
        this.#held.push(Buffer.from(bytes.subarray(at)))
        this.#socket.pause()
        return
      }
      at = next
    }
  }

  /** @returns where the next step begins; -1 when this has to wait for a key */
  #step(bytes: Buffer, at: number): number {
    switch (this.#part) {
      case 'prefix': {
        const next = this.#gather(bytes, at, prefixBytes)
        if (this.#have === prefixBytes) this.#prefix()
        return next
      }
      case 'message': {
        const next = Math.min(bytes.length, at + this.#left)
        this.#left -= next - at
        if (this.#left === 0) this.#begin('prefix')
        // secret-stream opens it in place and hands parts of it on.
        this.emit('data', Buffer.from(bytes.subarray(at, next)))
        return next
      }
      case 'lengths': {
        if (!this.#receiver) return -1
        const next = this.#gather(bytes, at, lengthsBytes)
        if (this.#have === lengthsBytes) this.#lengths(this.#receiver)
        return next
      }
      case 'sealed': {
        const next = Math.min(bytes.length, at + this.#left)
        const piece = bytes.subarray(at, next)
        piece.copy(this.#sealed, this.#sealed.length - this.#left)
        this.#receiver?.piece(piece)
        this.#left -= piece.length
        if (this.#left === 0) this.#begin('frame')
        return next
      }
      case 'frame': {
        const next = this.#gather(bytes, at, this.#frameBytes + sealedTagBytes)
        if (this.#have === this.#frameBytes + sealedTagBytes) this.#frame()
        return next
      }
      default:
        return this.#part satisfies never
    }
  }

  #begin(part: Part): void {
    this.#part = part
    this.#have = 0
  }

  #gather(bytes: Buffer, at: number, wanted: number): number {
    if (this.#gathered.length < wanted) {
      this.#gathered = Buffer.concat([this.#gathered.subarray(0, this.#have)], wanted)
    }
    const next = Math.min(bytes.length, at + wanted - this.#have)
    bytes.copy(this.#gathered, this.#have, at, next)
    this.#have += next - at
    return next
  }

  #prefix(): void {
    const length = this.#gathered.readUIntLE(0, prefixBytes)
    if (length === 0) {
      this.#begin('lengths')
      return
    }
    const prefix = Buffer.from(this.#gathered.subarray(0, prefixBytes))
    this.#begin('message')
    this.#left = length
    this.emit('data', prefix)
  }

  #lengths(receiver: Receiver): void {
    const lengths = this.#gathered.subarray(0, lengthsBytes)
    const frameBytes = lengths.readUInt32LE(0)
    const sealedBytes = lengths.readUInt32LE(4)
    if (frameBytes > frameBytesMax || sealedBytes === 0 || sealedBytes > limits.netBodyBytesMax) {
      this.#socket.destroy(
        new ProtocolError(`a frame of ${frameBytes} bytes with ${sealedBytes} behind it`),
      )
      return
    }
    receiver.begin(lengths)
    this.#frameBytes = frameBytes
    this.#sealed = lend(sealedBytes)
    this.#left = sealedBytes
    this.#begin('sealed')
  }

  #frame(): void {
    const sealedFrame = this.#gathered.subarray(0, this.#frameBytes)
    const tag = this.#gathered.subarray(this.#frameBytes, this.#have)
    const frame = this.#receiver?.end(sealedFrame, tag) ?? null
    const sealed = this.#sealed
    this.#begin('prefix')
    if (!frame) {
      this.#socket.destroy(new ProtocolError('a frame is not as it was sent'))
      return
    }
    this.#sealedIn += prefixBytes + lengthsBytes + sealed.length + this.#frameBytes + tag.length
    this.#take({ frame, sealed, done: () => giveBack(sealed) })
  }
}
