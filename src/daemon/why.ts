import type { Why } from '../api/index.ts'
import type { Ino, VolumeNumber } from '../base/index.ts'
import { wire } from '../fuse/index.ts'
import type { Node } from './node.ts'
import { volumeProblems } from './problems.ts'
import { remedyOf } from './reasons.ts'

const NAMESPACE = 0 as VolumeNumber

/**
 * What is wrong with a volume, and why calls on it failed.
 * @param name null for the root of the namespace
 * @param stIno of a file, as stat(2) gives it: what concerns the file comes first
 * @throws FsError ENOENT
 */
export function whyOf(node: Node, name: string | null, stIno: string | null): Why {
  const volume = name === null ? null : node.volumes.find(name)
  const number = volume?.stored.record.number ?? NAMESPACE
  const ino = stIno === null ? null : inoOf(BigInt(stIno))
  const reasons = node.reasons.of(number).map((reason) => ({
    at: reason.at,
    since: reason.since,
    op: reason.op.toLowerCase(),
    errno: reason.code,
    why: reason.why,
    next: reason.next || remedyOf(reason.code, volume?.stored.record.name ?? null),
    isOfFile: reason.ino === ino,
  }))
  return {
    volume: volume?.stored.record.name ?? null,
    problems: volume ? volumeProblems(node, volume) : [],
    reasons: reasons.sort((a, b) => Number(b.isOfFile) - Number(a.isOfFile)),
  }
}

function inoOf(stIno: bigint): Ino {
  return wire.nodeIno(Number(stIno & 0xffff_ffffn), Number(stIno >> 32n))
}
