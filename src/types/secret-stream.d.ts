/** @hyperswarm/secret-stream 6.9.2, only the calls weft makes. Read from its index.js, which ships no types. */
declare module '@hyperswarm/secret-stream' {
  import type { EventEmitter } from 'node:events'

  /** What is called of a net.Socket; each write is one whole message, with its length in front. */
  export interface RawStream extends EventEmitter {
    write(bytes: Buffer): boolean
    end(): void
    destroy(error?: Error): void
    pause(): void
    resume(): void
  }

  /**
   * Emits 'handshake' when the keys are agreed and before anything else is read, then 'error' at most once, and 'close'.
   * Frames on the raw stream: u24 LE length, bytes.
   */
  export default class NoiseSecretStream extends EventEmitter {
    constructor(
      isInitiator: boolean,
      rawStream: RawStream,
      options: {
        pattern: 'IK'
        keyPair: { publicKey: Buffer; secretKey: Buffer }
        /** Initiator only: the key that has to answer. */
        remotePublicKey?: Buffer
      },
    )
    /** False when it was destroyed before the handshake was done. */
    readonly opened: Promise<boolean>
    /** A net.Socket or a stream of udx-native; null before hyperdht has found the way. */
    readonly rawStream: EventEmitter | null
    readonly remotePublicKey: Buffer
    readonly rawBytesRead: number
    readonly rawBytesWritten: number
    readonly destroying: boolean
    destroy(error?: Error): void
    write(data: Buffer): boolean
    pause(): void
    resume(): void
    /** Flush, then close. */
    end(): void
  }
}
