import type { JobInfo, ScrubReport } from '../api/index.ts'
import { FsError, type NodeId, sleep } from '../base/index.ts'
import type { JobHandle } from './jobs.ts'
import type { Node } from './node.ts'
import type { VolumeStandingInfo } from './repair-standing.ts'
import type { NodeVolume } from './volumes.ts'

const POLL_MS = 500

/** Has the owners of one volume, or of all, read every copy through. @throws FsError ENOENT; ENOTSUP for one of a single copy */
export function startScrub(node: Node, nameOrId: string | undefined): JobInfo {
  const one = nameOrId === undefined ? null : node.volumes.find(nameOrId)
  if (one && !node.volumes.isReplicated(one.stored)) {
    const { name } = one.stored.record
    throw new FsError('ENOTSUP', 'scrub', {
      volume: name,
      message: `volume ${name} has one copy, and nothing to mend it from`,
      next: `weft fsck ${name} reads all of it and checks every seal`,
    })
  }
  const all = node.volumes.all().filter((volume) => node.volumes.isReplicated(volume.stored))
  const subject = one?.stored.record.name ?? null
  const volumes = one ? [one] : all
  return node.jobs.start('scrub', 'chunks', (job) => scrubAll(node, volumes, job), subject)
}

async function scrubAll(
  node: Node,
  volumes: readonly NodeVolume[],
  job: JobHandle,
): Promise<ScrubReport> {
  let chunks = 0
  let bytes = 0
  const findings: ScrubReport['findings'][number][] = []
  const unfinished: string[] = []
  for (const volume of volumes) {
    const { name } = volume.stored.record
    const before = chunks
    const { scrub } = await scrubOne(node, volume, job, (now) =>
      job.progress(before + now.doneChunks, before + now.totalChunks, name),
    )
    chunks += scrub.doneChunks
    bytes += scrub.bytes
    const nameOf = (id: string) => node.cluster?.nameOf(id as NodeId) ?? id
    findings.push(
      ...scrub.found.map((found) => ({ ...found, volume: name, node: nameOf(found.node) })),
    )
    unfinished.push(...scrub.unfinished.map((id) => `${name} on node ${nameOf(id)}`))
  }
  job.progress(chunks, chunks, '')
  return {
    volumes: volumes.map(({ stored }) => stored.record.name),
    chunks,
    bytes,
    findings,
    unfinished,
  }
}

async function scrubOne(
  node: Node,
  volume: NodeVolume,
  { signal }: JobHandle,
  told: (state: VolumeStandingInfo['scrub']) => void,
): Promise<VolumeStandingInfo> {
  const { repairs } = node
  if (!repairs) throw new FsError('ENOENT', 'scrub', { message: 'this node is in no cluster' })
  await repairs.beginScrub(volume.stored.record)
  for (;;) {
    const standing = await repairs.standing(volume.stored.record)
    if (!standing) {
      throw new FsError('EHOSTUNREACH', 'scrub', {
        volume: volume.stored.record.name,
        message: `volume ${volume.stored.record.name}: its owner does not answer`,
        next: 'weft cluster status shows which nodes are up; what was read is not read again for nothing: begin anew',
      })
    }
    told(standing.scrub)
    if (!standing.scrub.running) return standing
    if (signal.aborted) {
      throw new FsError('ECANCELED', 'scrub', {
        message: 'no longer watched; the owners read on to the end',
      })
    }
    await sleep(node.clock, POLL_MS)
  }
}
