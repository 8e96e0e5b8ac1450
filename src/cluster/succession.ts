import { z } from 'zod'
import { type Clock, isoTime } from '../base/index.ts'
import type { Self } from './authority.ts'
import { count, decodeStored, FORMAT, hexId, isoDate } from './json.ts'
import { mustBeSigned, type NodeSigned, signAsNode } from './node-signed.ts'
import { type ClusterId, type CoordinatorPlace, coordinatorShape } from './record.ts'
import type { ClusterView } from './view.ts'

/**
 * The coordinator is lost and rebuilt by a member, on it, as a new generation: who hears of it obeys no lower one from then on.
 * Signed by the member that did it, which any member may: each can unwrap the cluster's keys.
 */
export interface Succession {
  readonly cluster: ClusterId
  readonly generation: number
  readonly coordinator: CoordinatorPlace
  /** ISO time. */
  readonly at: string
}

const shape = z.strictObject({
  version: z.literal(FORMAT),
  cluster: hexId,
  generation: count,
  coordinator: coordinatorShape,
  at: isoDate,
}) as unknown as z.ZodType<Succession>

/** @param self the member on which it is rebuilt */
export function signSuccession(
  cluster: ClusterId,
  generation: number,
  { id, keys }: Self,
  clock: Clock,
): NodeSigned {
  const coordinator = { kind: 'embedded', node: id } as const
  const body = { version: FORMAT, cluster, generation, coordinator, at: isoTime(clock) }
  return signAsNode('succession', cluster, { node: id, secretKey: keys.sign.secretKey }, body)
}

/**
 * Null when the node that states it is no member as far as is known: then it says nothing.
 * @throws CorruptError when it did not sign it; FsError ENOTSUP for one of a newer build
 */
export function openSuccession(signed: NodeSigned, known: ClusterView): Succession | null {
  const member = known.members.get(signed.node)?.member
  if (member === undefined) return null
  mustBeSigned('succession', known.record.id, signed, member.signKey)
  const succession = decodeStored(shape, Buffer.from(signed.text), 'succession')
  return succession.cluster === known.record.id ? succession : null
}
