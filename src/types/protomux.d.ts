/** protomux 3.12.1, only the calls weft makes. Read from its index.js and README.md, which ship no types. */
declare module 'protomux' {
  import type NoiseSecretStream from '@hyperswarm/secret-stream'

  /** compact-encoding's state: `end` grows in preencode, `start` moves in encode and decode. */
  export interface EncodingState {
    buffer: Buffer
    start: number
    end: number
  }
  export interface Encoding<T> {
    preencode(state: EncodingState, value: T): void
    encode(state: EncodingState, value: T): void
    decode(state: EncodingState): T
  }
  export interface Message<T> {
    /** False when the stream's buffer is full: `ondrain` follows. */
    send(value: T): boolean
  }
  export interface Channel {
    readonly messages: readonly [Message<unknown>]
    open(handshake: unknown): void
  }
  /** What throws in decode or onmessage destroys the stream; a TypeError or RangeError ends the process (safety-catch). */
  export default class Protomux {
    constructor(stream: NoiseSecretStream)
    /** Null when the stream is destroyed. */
    createChannel<H, M>(options: {
      protocol: string
      handshake: Encoding<H>
      messages: readonly [{ encoding: Encoding<M>; onmessage(message: M): void }]
      onopen(handshake: H): void
      onclose(isRemote: boolean): void
      ondrain(): void
    }): Channel | null
  }
}
