import { z } from 'zod'
import { limits } from '../base/index.ts'
import { type Signed, signedShape } from './certificate.ts'
import { decodeSent, encodeJson, FORMAT } from './json.ts'

/** RPC service that members call: the answer is encodeMemberList. */
export const MEMBERS_SERVICE = 'cluster.members'

/** What a member tells another of the cluster; each statement is believed for its signature, not for who passes it on. */
export interface MemberList {
  readonly members: readonly Signed[]
  readonly removed: readonly Signed[]
}

const shape = z.strictObject({
  version: z.literal(FORMAT),
  members: z.array(signedShape).max(limits.membersMax),
  removed: z.array(signedShape).max(limits.removedMembersMax),
})

export function encodeMemberList({ members, removed }: MemberList): Buffer {
  return encodeJson({ version: FORMAT, members, removed })
}

/** The form alone; learnFrom checks the statements. @throws ProtocolError */
export function decodeMemberList(bytes: Buffer): MemberList {
  const { members, removed } = decodeSent(shape, bytes, limits.memberListBytesMax, 'member list')
  return { members, removed }
}
