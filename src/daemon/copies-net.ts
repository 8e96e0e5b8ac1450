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
  encodeRequestParts,
  type Request,
} from '../replication/index.ts'
import { notUnderstood, understood } from './call-bytes.ts'
import type { Copies } from './copies.ts'

/** Records and promises never wait behind chunks: each kind has a service, on its own lane. */
const SERVICES = {
  control: 'copy',
  bulk: 'copy.chunks',
} as const

/** Before each request, u48 LE: the generation of the coordinator that the asker obeys. */
const GENERATION_BYTES = 6

type Lane = keyof typeof SERVICES

const BULK: ReadonlySet<Request['op']> = new Set<Request['op']>([
  'putChunk',
  'readChunk',
  'checkChunks',
])

function laneOf({ op }: Request): Lane {
  return BULK.has(op) ? 'bulk' : 'control'
}

/**
 * Answer what other nodes ask of the copies here. Before `net.open`.
 * @param nodeOf the member with this key; null when it is none any more
 * @param generation of the coordinator that this node obeys: who asks under a lower one, an owner of before a rebuilding,
 *   is refused
 */
export function serveCopies(
  net: Pick<Net, 'serve'>,
  copies: Pick<Copies, 'answer'>,
  nodeOf: (peer: PeerKey) => NodeId | null,
  generation: () => number,
): void {
  for (const lane of ['control', 'bulk'] as const) {
    const service = SERVICES[lane]
    net.serve(
      service,
      async ({ peer, body, sealed }) => {
        mustNotBePast(body, generation(), service)
        const asked = understood(
          () => decodeRequest(body.subarray(GENERATION_BYTES), sealed),
          service,
        )
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
  /** Of the coordinator that this life of the daemon obeys from its beginning on. */
  readonly generation: number
  /** The key of a member; null when it is none. */
  peerOf(node: NodeId): PeerKey | null
}

/**
 * Ask the copies of a volume, on this node or another. Of another node's failures only two are told as they are, for the
 * caller acts on them: no room for a chunk, and a call too large. Any other, also an answer that is none, is no answer: the
 * copy is silent for as long as it lasts.
 */
export function askOverNet(
  volume: VolumeId,
  { node, copies, call, peerOf, generation }: AskWorld,
): AskCopy {
  const prefix = Buffer.alloc(GENERATION_BYTES)
  prefix.writeUIntLE(generation, 0, GENERATION_BYTES)
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
      const { body: encoded, sealed } = encodeRequestParts(asked)
      const options = { lane, deadlineMs, ...(sealed ? { sealed } : {}) }
      const body = Buffer.concat([prefix, encoded])
      return decodeAnswer(await call(peer, SERVICES[lane], body, options))
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

/** @throws FsError ESTALE */
function mustNotBePast(body: Buffer, generation: number, service: string): void {
  if (body.length < GENERATION_BYTES) throw notUnderstood(service, 'too short')
  const asked = body.readUIntLE(0, GENERATION_BYTES)
  if (asked >= generation) return
  throw new FsError('ESTALE', service, {
    retry: 'later',
    message: `${service}: asked under generation ${asked} of the coordinator, and this node obeys ${generation}`,
  })
}

function speaker(message: Request): NodeId | null {
  if ('owner' in message) return message.owner
  return message.op === 'state' ? message.candidate : null
}
