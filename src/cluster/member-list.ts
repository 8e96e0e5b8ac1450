import { z } from 'zod'
import { limits } from '../base/index.ts'
import { type Signed, signedShape } from './certificate.ts'
import { decodeSent, encodeJson, FORMAT } from './json.ts'
import { type NodeSigned, nodeSignedShape } from './node-signed.ts'

/** RPC service that members call: the answer is encodeMemberList. */
export const MEMBERS_SERVICE = 'cluster.members'

/** What a member tells another of the cluster; each statement is believed for its signature, not for who passes it on. */
export interface MemberList {
  readonly members: readonly Signed[]
  readonly removed: readonly Signed[]
  /** Where the coordinator was rebuilt, if it was; believed for the key of the member that did it. */
  readonly succession: NodeSigned | null
}

const shape = z.strictObject({
  version: z.literal(FORMAT),
  members: z.array(signedShape).max(limits.membersMax),
  removed: z.array(signedShape).max(limits.removedMembersMax),
  succession: nodeSignedShape.nullable(),
})

export function encodeMemberList({ members, removed, succession }: MemberList): Buffer {
  return encodeJson({ version: FORMAT, members, removed, succession })
}

/** The form alone; learnFrom checks the statements. @throws ProtocolError */
export function decodeMemberList(bytes: Buffer): MemberList {
  const { version: _, ...list } = decodeSent(shape, bytes, limits.memberListBytesMax, 'member list')
  return list
}

/** The last rebuilding of the coordinator that a member says it has heard of, unchecked. @throws ProtocolError */
export function successorIn(bytes: Buffer): NodeSigned | null {
  return decodeMemberList(bytes).succession
}
