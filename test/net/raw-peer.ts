/// <reference path="../../src/types/protomux.d.ts" />
/// <reference path="../../src/types/secret-stream.d.ts" />
import { connect } from 'node:net'
import NoiseSecretStream from '@hyperswarm/secret-stream'
import Protomux, { type Channel } from 'protomux'
import type { Identity } from '../../src/crypto/index.ts'
import {
  decodeFrame,
  type EncodedFrame,
  encodeFrame,
  encodeHello,
  type Frame,
} from '../../src/net/frames.ts'
import type { Node } from './net-world.ts'

/** A peer with the right key and no manners: it says what it likes over a stream that is authenticated. */
export async function rawStream(to: Node, identity: Identity): Promise<NoiseSecretStream> {
  const socket = connect({ host: '127.0.0.1', port: to.net.port })
  const stream = new NoiseSecretStream(true, socket, {
    pattern: 'IK',
    keyPair: identity.sign,
    remotePublicKey: to.identity.sign.publicKey,
  })
  stream.on('error', () => {})
  if (!(await stream.opened)) throw new Error('refused')
  return stream
}

export interface RawPeer {
  readonly stream: NoiseSecretStream
  readonly frames: Frame[]
  send(frame: Frame | EncodedFrame): void
  readonly closed: Promise<void>
}

/** One that greets as it should, on the bulk lane, and is rude only after that. */
export async function rawPeer(to: Node, identity: Identity): Promise<RawPeer> {
  const stream = await rawStream(to, identity)
  const closed = new Promise<void>((resolve) => stream.once('close', () => resolve()))
  const frames: Frame[] = []
  let open: Channel | null = null
  const send = (frame: Frame | EncodedFrame) => {
    const { head, body } = 'kind' in frame ? encodeFrame(frame) : frame
    open?.messages[0].send(Buffer.concat([head, body]))
  }
  const channel = await new Promise<Channel | null>((resolve) => {
    const opening = new Protomux(stream).createChannel<Buffer, Buffer>({
      protocol: 'weft',
      handshake: raw,
      messages: [
        {
          encoding: raw,
          onmessage: (bytes) => {
            const frame = decodeFrame(bytes)
            frames.push(frame)
            // On a busy machine what it asked for takes longer than a silent peer is borne with.
            if (frame.kind === 'ping') send({ kind: 'pong', token: frame.token })
          },
        },
      ],
      onopen: () => resolve(opening),
      onclose: () => resolve(null),
      ondrain: () => {},
    })
    opening?.open(
      encodeHello({
        lane: 'bulk',
        instance: 'aa'.repeat(16),
        dial: 1,
        sealedKey: Buffer.alloc(32),
        addresses: [],
      }),
    )
  })
  if (!channel) throw new Error('refused')
  open = channel
  return {
    stream,
    frames,
    closed,
    send,
  }
}

const raw = {
  preencode: (state: { end: number }, bytes: Buffer) => {
    state.end += bytes.length
  },
  encode: (state: { buffer: Buffer; start: number }, bytes: Buffer) => {
    state.buffer.set(bytes, state.start)
    state.start += bytes.length
  },
  decode: (state: { buffer: Buffer; start: number; end: number }) => {
    const bytes = state.buffer.subarray(state.start, state.end)
    state.start = state.end
    return bytes
  },
}
