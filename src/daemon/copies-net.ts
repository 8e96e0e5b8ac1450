import {
  codeOf,
  FsError,
  messageOf,
  type NodeId,
  type PeerKey,
  ProtocolError,
  type VolumeId,
} from '../base/index.ts'
import type { Net } from '../net/index.ts'
import {
  type AskCopy,
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
  type Request,
} from '../replication/index.ts'
import type { Copies } from './copies.ts'

/** Records and promises never wait behind chunks: each kind has a service, on its own lane. */
const SERVICES = {
  control: 'copy',
  bulk: 'copy.chunks',
} as const

type Lane = keyof typeof SERVICES

function laneOf({ op }: Request): Lane {
  return op === 'putChunk' || op === 'readChunk' ? 'bulk' : 'control'
}

/**
 * Answer what other nodes ask of the copies here. Before `net.open`.
 * @param nodeOf the member with this key; null when it is none any more
 */
export function serveCopies(
  net: Pick<Net, 'serve'>,
  copies: Pick<Copies, 'answer'>,
  nodeOf: (peer: PeerKey) => NodeId | null,
): void {
  for (const lane of ['control', 'bulk'] as const) {
    const service = SERVICES[lane]
    net.serve(
      service,
      async ({ peer, body }) => {
        const asked = read(() => decodeRequest(body), service)
        const { message } = asked
        if (laneOf(message) !== lane) throw notUnderstood(service, `${message.op} goes elsewhere`)
        const speaksFor = speaker(message)
        // An epoch is its owner's alone to use, whoever else may be a member.
        if (speaksFor !== null && speaksFor !== nodeOf(peer)) {
          throw new FsError('EACCES', service, {
            volume: asked.volume,
            message: `${service}: the caller is not node ${speaksFor}, in whose name it asks`,
          })
        }
        return encodeAnswer(await copies.answer(asked))
      },
      { lane },
    )
  }
}

export interface AskWorld {
  readonly node: NodeId
  /** Of this node: a copy here is asked without a detour. */
  readonly copies: Pick<Copies, 'answer'>
  readonly call: Net['call']
  /** The key of a member; null when it is none. */
  peerOf(node: NodeId): PeerKey | null
}

/**
 * Ask the copies of a volume, on this node or another. Of another node's failures only two are told as they are, for the
 * caller acts on them: no room for a chunk, and a call too large. Any other, also an answer that is none, is no answer: the
 * copy is silent for as long as it lasts.
 */
export function askOverNet(volume: VolumeId, { node, copies, call, peerOf }: AskWorld): AskCopy {
  return async (copy, message, { deadlineMs }) => {
    const asked = { volume, copy: copy.id, message }
    if (copy.node === node) return await copies.answer(asked)
    const silent = (why: string, cause?: unknown) =>
      new FsError('EHOSTUNREACH', `copy.${message.op}`, {
        volume,
        node: copy.node,
        retry: 'later',
        message: `copy ${copy.id} on node ${copy.node}: ${why}`,
        ...(cause === undefined ? {} : { cause }),
      })
    const peer = peerOf(copy.node)
    if (peer === null) throw silent('that node is not a member')
    const lane = laneOf(message)
    try {
      const options = { lane, deadlineMs }
      return decodeAnswer(await call(peer, SERVICES[lane], encodeRequest(asked), options))
    } catch (error) {
      const code = codeOf(error)
      const told =
        code === 'EMSGSIZE' ||
        code === 'ETIMEDOUT' ||
        code === 'ECONNRESET' ||
        (code === 'ENOSPC' && message.op === 'putChunk')
      if (told || !(error instanceof FsError || error instanceof ProtocolError)) throw error
      throw silent(messageOf(error), error)
    }
  }
}

function speaker(message: Request): NodeId | null {
  if ('owner' in message) return message.owner
  return message.op === 'state' ? message.candidate : null
}

function read<T>(decode: () => T, service: string): T {
  try {
    return decode()
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    throw notUnderstood(service, error.message)
  }
}

function notUnderstood(service: string, why: string): FsError {
  return new FsError('EPROTO', service, { message: `${service}: ${why}` })
}
