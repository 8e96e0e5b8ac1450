import { FsError } from '../base/index.ts'
import { wipeClusterKeys } from '../crypto/index.ts'
import { openWrapped, type Self, wrapFor } from './authority.ts'
import { encodeSigned } from './certificate.ts'
import { FORMAT } from './json.ts'
import {
  encodeRecord,
  encodeWrappedKeys,
  memberKey,
  memberNameKey,
  RECORD_KEY,
  removedKey,
  WRAPPED_KEY,
} from './record.ts'
import type { ClusterView } from './view.ts'

/**
 * The cluster as this node knows it, as a coordinator holds it; its keys wrapped for every member anew. Invites are not
 * among it: one that was used up meanwhile could be used again.
 * @throws FsError EACCES when this node cannot open the cluster's keys
 */
export function rebuiltCluster(self: Self, view: ClusterView): ReadonlyMap<string, Buffer> {
  const { record, members, removed, wrapped } = view
  if (wrapped === '') {
    throw new FsError('EACCES', 'cluster.rebuild', {
      message: "the cluster's keys are not wrapped for this node: rebuild it on another member",
    })
  }
  const keys = openWrapped(wrapped, record, self)
  try {
    const all = [...members.values()]
    const { keyEpoch } = record.signingKey
    const sealed = all.map(({ member }) => wrapFor(keys, record, member))
    return new Map([
      [RECORD_KEY, encodeRecord(record)],
      [WRAPPED_KEY, encodeWrappedKeys({ version: FORMAT, keyEpoch, sealed })],
      ...all.flatMap(({ member, signed }): [string, Buffer][] => [
        [memberKey(member.node), encodeSigned(signed)],
        [memberNameKey(member.name), Buffer.from(member.node)],
      ]),
      ...[...removed.values()].map(({ removal, signed }): [string, Buffer] => [
        removedKey(removal.node),
        encodeSigned(signed),
      ]),
    ])
  } finally {
    wipeClusterKeys(keys)
  }
}
