import type { FsckFinding, FsckReport } from '../api/index.ts'
import { codeOf, messageOf } from '../base/index.ts'
import type { ClosedCheck, Mending, VolumeCheck } from '../store/index.ts'
import type { JobHandle } from './jobs.ts'
import type { Node } from './node.ts'
import type { NodeVolume } from './volumes.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

interface Gathered {
  checked: Mutable<FsckReport['checked']>
  findings: FsckFinding[]
}

/** fsck of some volumes, one after another: those in use while they are, closed ones from what lies on the drives. */
export async function runFsck(
  node: Node,
  volumes: readonly NodeVolume[],
  mending: Mending,
  job: JobHandle,
): Promise<FsckReport> {
  const report: Gathered = {
    checked: { inodes: 0, records: 0, chunks: 0, bytes: 0 },
    findings: [],
  }
  let before = 0
  for (const volume of volumes) {
    const part: JobHandle = {
      signal: job.signal,
      progress: (done, total, message) =>
        job.progress(before + done, total === null ? null : before + total, message),
    }
    await fsckOne(node, volume, mending, part, report)
    before = report.checked.bytes
  }
  job.progress(before, before, '')
  return {
    clean: !report.findings.some(({ severity }) => severity === 'damage'),
    repair: mending.repair,
    volumes: volumes.map(({ stored }) => stored.record.name),
    ...report,
  }
}

async function fsckOne(
  node: Node,
  volume: NodeVolume,
  mending: Mending,
  job: JobHandle,
  report: Gathered,
): Promise<void> {
  const { name } = volume.stored.record
  if (volume.closed?.state === 'locked') {
    report.findings.push({
      severity: 'note',
      volume: name,
      what: 'it is locked and was not checked',
      path: null,
      outcome: 'left',
      next: `weft key unlock ${name}`,
    })
    return
  }
  if (!volume.shared) await fsckClosed(node, volume, mending, job, report)
  if (volume.shared) await fsckOpen(node, volume, mending, job, report)
}

async function fsckOpen(
  node: Node,
  volume: NodeVolume,
  mending: Mending,
  job: JobHandle,
  report: Gathered,
): Promise<void> {
  const { id, number } = volume.stored.record
  const check = await node.engine.call('fsck', { number, mending }, [], job)
  gather(report, check)
  if (check.damaged.length > 0) node.damage.set(id, check.damaged)
  else node.damage.delete(id)
  if (check.changed) await node.mounts.renew(volume)
}

/** A volume that could not be opened. With repair it is tried again: a damaged view is then made anew. */
async function fsckClosed(
  node: Node,
  volume: NodeVolume,
  mending: Mending,
  job: JobHandle,
  report: Gathered,
): Promise<void> {
  const { name } = volume.stored.record
  const left = (what: string, next: string) =>
    report.findings.push({
      severity: 'damage',
      volume: name,
      what,
      path: null,
      outcome: 'left',
      next,
    })
  try {
    const opening = await node.volumes.closedOpening(volume)
    const check = await node.engine.call(
      'fsckClosed',
      { opening, mending },
      [opening.keys.bytes],
      job,
    )
    gather(report, check)
  } catch (error) {
    if (codeOf(error) === 'ECANCELED' || codeOf(error) === '') throw error
    left(`it could not be looked at: ${messageOf(error)}`, 'see weft status')
    return
  }
  if (mending.repair) await node.volumes.reopen(volume)
  if (volume.shared) return
  left(`the volume cannot be opened: ${volume.closed?.why ?? ''}`, 'see the findings before')
}

function gather(report: Gathered, check: VolumeCheck | ClosedCheck): void {
  report.findings.push(...check.findings)
  report.checked.inodes += check.checked.inodes
  report.checked.records += check.checked.records
  report.checked.chunks += check.checked.chunks
  report.checked.bytes += check.checked.bytes
}
