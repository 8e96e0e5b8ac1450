import type {
  ChangePlan,
  DrainStatus,
  PlanStep,
  Problem,
  RepairControl,
  VolumeCopy,
  VolumeRepair,
} from '../api/index.ts'
import { FsError, type NodeId } from '../base/index.ts'
import { nowhere } from '../cluster/index.ts'
import { type Candidate, chooseSpare } from '../replication/index.ts'
import { copyOn, leastMinimum, parseSize, type VolumeRecord } from '../volumes/index.ts'
import { findNode } from './cluster-control.ts'
import type { ClusterMember } from './cluster-member.ts'
import type { Node } from './node.ts'
import type { NodeRepairs } from './repair-node.ts'
import type { VolumeStandingInfo } from './repair-standing.ts'
import { AWAITED_SHARE, graceMsMax, rateMin } from './repair-wishes.ts'
import { sparePlace } from './spare-place.ts'
import type { NodeVolume } from './volumes.ts'

interface Parts {
  readonly cluster: ClusterMember
  readonly repairs: NodeRepairs
}

/** Where copies lie, as a person changes it. Each verb writes down what is wanted; the owners do it, and say how far they are. */
export function repairControl(node: Node): RepairControl {
  const parts = (): Parts => {
    const { cluster, repairs } = node
    if (cluster && repairs) return { cluster, repairs }
    throw new FsError('ENOENT', 'repair', {
      message: 'this node is in no cluster, and its volumes have one copy each',
      next: 'make one: weft cluster create NAME; or join one: weft cluster join INVITE',
    })
  }
  return {
    repl: async (name, { copies, plan }) => {
      const volume = await replicated(node, name)
      const planned = await planRepl(node, parts(), volume, copies)
      if (plan) return planned
      await node.registry.setRepl(volume.stored.record.id, copies)
      await node.lookAtVolumes()
      return { ...planned, accepted: true }
    },
    move: async (name, { node: to, plan, copy }) => {
      const volume = await replicated(node, name)
      const target = findNode(parts().cluster, to)
      const planned = await planMove(node, parts(), volume, target, copy)
      if (plan) return planned
      const { record } = volume.stored
      const wish = record.owner === target ? null : target
      if (record.movingTo !== wish) await node.registry.setMovingTo(record.id, wish)
      await node.lookAtVolumes()
      return { ...planned, accepted: true }
    },
    stay: async (name) => {
      const volume = await replicated(node, name)
      await node.registry.setMovingTo(volume.stored.record.id, null)
      await node.lookAtVolumes()
    },
    drain: async (name, { plan, stop }) => {
      const { cluster, repairs } = parts()
      const id = findNode(cluster, name)
      if (stop) {
        await repairs.wishes.drain(id, false)
        return nothingToDo(`node ${cluster.nameOf(id)} keeps what it has`, true)
      }
      const planned = await planDrain(node, parts(), id)
      if (plan) return planned
      await repairs.wishes.drain(id, true)
      return { ...planned, accepted: true }
    },
    drainStatus: async (name) => drainStatus(node, parts(), name),
    settings: async () => {
      const { repairs } = parts()
      await repairs.wishes.refresh()
      return repairs.wishes.settings
    },
    set: async ({ graceMs, rate }) => {
      const bytesPerSecond = rate === undefined ? undefined : parseSize(rate)
      if (bytesPerSecond !== undefined && bytesPerSecond < rateMin) {
        throw refused(`${rate} a second is too little: copies would never catch up`, '1M or more')
      }
      if (graceMs !== undefined && graceMs > graceMsMax) {
        throw refused('a grace period of more than a week leaves a volume degraded', '7d or less')
      }
      return await parts().repairs.wishes.change({
        ...(graceMs === undefined ? {} : { graceMs }),
        ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
      })
    },
  }
}

function refused(message: string, next: string): FsError {
  return new FsError('EINVAL', 'repair', { message, next: `give ${next}` })
}

/** @throws FsError ENOENT; ENOTSUP for a volume that was made with one copy */
async function replicated(node: Node, name: string): Promise<NodeVolume> {
  await node.lookAtVolumes()
  const volume = node.volumes.find(name)
  if (node.volumes.isReplicated(volume.stored)) return volume
  throw new FsError('ENOTSUP', 'volume', {
    volume: name,
    message: `volume ${name} was made with one copy, and cannot be given others yet`,
    next: 'create another with --repl 2 or more, and copy its files there',
  })
}

async function planRepl(
  node: Node,
  parts: Parts,
  { stored: { record } }: NodeVolume,
  copies: number,
): Promise<ChangePlan> {
  const { name, spec } = record
  const standing = await parts.repairs.standing(record)
  const copyBytes = standing?.copyBytes ?? 0
  const members = parts.cluster.membership.members().length
  if (!Number.isInteger(copies) || copies < 1) throw refused('a volume has 1 copy at least', '1')
  if (copies > members) {
    throw new FsError('ENOSPC', 'volume.repl', {
      volume: name,
      message: `volume ${name}: ${copies} copies need ${copies} nodes, and the cluster has ${members}`,
      next: `weft volume repl ${name} ${members}, or add nodes first: weft cluster invite`,
    })
  }
  const more = copies - record.copies.length
  if (more > 0) await placesFor(node, parts, record, copyBytes, more, [])
  const minimum = leastMinimum(copies)
  const what =
    copies >= spec.repl
      ? `volume ${name}: ${copies} copies instead of ${spec.repl}`
      : `volume ${name}: ${copies} copies instead of ${spec.repl}; the others are deleted once ${copies} are in sync`
  const steps: PlanStep[] = [
    {
      volume: name,
      what: more > 0 ? `${more} more` : more < 0 ? `${-more} fewer` : 'as many as there are',
      bytes: Math.max(0, more) * copyBytes,
      // None goes before as many as are wanted are in sync without it.
      inSyncMeanwhile: Math.min(record.inSync.length, Math.max(copies, record.minimum)),
      minimum: Math.min(record.minimum, minimum),
    },
  ]
  return planOf(parts, what, steps)
}

async function planMove(
  node: Node,
  parts: Parts,
  { stored: { record } }: NodeVolume,
  target: NodeId,
  copy: boolean,
): Promise<ChangePlan> {
  const { cluster, repairs } = parts
  const { name, inSync, minimum } = record
  const to = cluster.nameOf(target)
  if (record.owner === target) return nothingToDo(`node ${to} owns volume ${name} already`, false)
  const there = copyOn(record, target)
  if (!there && !copy) {
    throw new FsError('EBUSY', 'volume.move', {
      volume: name,
      message: `volume ${name} has no copy on node ${to}, and is owned only where it has one`,
      next: `weft volume move ${name} ${to} --copy makes one there first; weft volume inspect ${name} shows its copies`,
    })
  }
  const copyBytes = (await repairs.standing(record))?.copyBytes ?? 0
  const isBehind = !there || !inSync.includes(there.id)
  if (!there) await placesFor(node, parts, record, copyBytes, 1, [], target)
  const step: PlanStep = {
    volume: name,
    what: isBehind
      ? `a copy on node ${to} is brought up, then it takes the volume over`
      : 'hand-over',
    bytes: there ? 0 : copyBytes,
    inSyncMeanwhile: inSync.length,
    minimum,
  }
  return planOf(parts, `volume ${name}: owned by node ${to}`, [step])
}

async function planDrain(node: Node, parts: Parts, id: NodeId): Promise<ChangePlan> {
  const { cluster, repairs } = parts
  const name = cluster.nameOf(id)
  const { volumes } = await node.registry.list()
  const steps: PlanStep[] = []
  for (const { record } of volumes) {
    const copy = copyOn(record, id)
    if (record.state !== 'ready' || !copy) continue
    if (record.copies.length === 1) {
      throw new FsError('EBUSY', 'node.drain', {
        volume: record.name,
        message: `volume ${record.name} has its one copy on node ${name}, and cannot be given others yet`,
        next: `create another with --repl 2 or more and copy its files there, then weft volume delete ${record.name}`,
      })
    }
    const copyBytes = (await repairs.standing(record))?.copyBytes ?? 0
    const staying = record.copies.filter((one) => !isLeaving(repairs, one.node, id))
    const more = record.spec.repl - staying.length
    if (more > 0) await placesFor(node, parts, record, copyBytes, more, [id])
    const isOwner = record.owner === id
    steps.push({
      volume: record.name,
      what: isOwner ? 'a copy elsewhere, and another owner' : 'a copy elsewhere',
      bytes: Math.max(0, more) * copyBytes,
      inSyncMeanwhile: Math.min(record.inSync.length, record.spec.repl),
      minimum: record.minimum,
    })
  }
  return planOf(parts, `node ${name} gives away ${steps.length} copies`, steps)
}

function isLeaving({ wishes }: NodeRepairs, node: NodeId, also: NodeId): boolean {
  return node === also || wishes.draining.has(node)
}

/** @throws FsError ENOSPC when there are not so many places beside the copies that stay */
async function placesFor(
  node: Node,
  { cluster }: Parts,
  record: VolumeRecord,
  copyBytes: number,
  count: number,
  leaving: readonly NodeId[],
  on: NodeId | null = null,
): Promise<void> {
  const { found } = await node.replicated().candidates()
  const staying = found.filter((one) => !leaving.includes(one.node))
  const { wish, open } = sparePlace(record, copyBytes, on, staying)
  const domainOf = (id: NodeId) => cluster.membership.member(id)?.domain ?? nowhere
  const standing: Pick<Candidate, 'node' | 'domain'>[] = record.copies.map((one) => ({
    node: one.node,
    domain: domainOf(one.node),
  }))
  for (let n = 0; n < count; n++) {
    const place = chooseSpare(wish, standing, open)
    standing.push({ node: place.node, domain: domainOf(place.node) })
  }
}

function planOf({ repairs }: Parts, what: string, steps: readonly PlanStep[]): ChangePlan {
  const bytes = steps.reduce((sum, step) => sum + step.bytes, 0)
  const { bytesPerSecond } = repairs.wishes.settings
  return {
    accepted: false,
    what,
    steps: [...steps],
    bytes,
    secondsMin: bytes / bytesPerSecond,
    secondsMax: bytes / (bytesPerSecond * AWAITED_SHARE),
  }
}

function nothingToDo(what: string, accepted: boolean): ChangePlan {
  return { accepted, what, steps: [], bytes: 0, secondsMin: 0, secondsMax: 0 }
}

async function drainStatus(
  node: Node,
  { cluster, repairs }: Parts,
  name: string,
): Promise<DrainStatus> {
  const id = findNode(cluster, name)
  await repairs.wishes.refresh()
  const { volumes } = await node.registry.list()
  const held = volumes.filter(({ record }) => copyOn(record, id) !== null || record.owner === id)
  return {
    node: cluster.nameOf(id),
    since: repairs.wishes.draining.get(id) ?? null,
    left: await Promise.all(
      held.map(async ({ record }) => {
        const standing = await repairs.standing(record)
        return {
          volume: record.name,
          doing: standing?.doing ?? '',
          trouble: standing ? standing.trouble : 'its owner does not answer',
          next: standing?.next ?? 'start that node, or attach the volume on another',
          doneBytes: standing?.doneBytes ?? 0,
          totalBytes: standing?.totalBytes ?? 0,
        }
      }),
    ),
  }
}

/** The copies of a volume, as its owner sees them where it answers, else as the record has them. */
export function copyList(
  node: Node,
  record: VolumeRecord,
  standing: VolumeStandingInfo | null,
): VolumeCopy[] {
  const seen = new Map(standing?.copies.map((copy) => [copy.id, copy]))
  return record.copies.map(({ id, node: place }) => {
    const inSync = record.inSync.includes(id)
    const copy = seen.get(id)
    return {
      id,
      node: node.cluster?.nameOf(place) ?? place,
      inSync,
      state: copy?.state ?? (inSync ? 'in sync' : 'behind'),
      why: copy?.why ?? '',
      silentSeconds: Math.round((copy?.silentMs ?? 0) / 1000),
      doneBytes: copy?.doneBytes ?? 0,
      totalBytes: copy?.totalBytes ?? 0,
    }
  })
}

export function repairOf(standing: VolumeStandingInfo | null): VolumeRepair | null {
  if (!standing) return null
  const { doing, trouble, next, doneBytes, totalBytes, secondsLeft } = standing
  return { doing, trouble, next, doneBytes, totalBytes, secondsLeft }
}

/** What is degraded of a volume that this node owns, what is done about it, and what a person should do. */
export function repairProblems(node: Node, { stored: { record } }: NodeVolume): Problem[] {
  const standing = node.repairs?.ownStanding(record.id)
  if (!standing) return []
  const { inSync, wanted, minimum, doing, trouble, copies } = standing
  const { name } = record
  const found: Problem[] = []
  const others = copies
    .filter(({ state }) => state !== 'in sync')
    .map(({ node: id, state, silentMs }) => {
      const since = state === 'silent' ? ` for ${Math.round(silentMs / 1000)} s` : ''
      return `${node.cluster?.nameOf(id as NodeId) ?? id} ${state}${since}`
    })
  found.push(...scrubProblems(node, name, standing))
  if (inSync < wanted) {
    const isOne = inSync === 1
    found.push({
      severity: isOne || inSync <= minimum ? 'error' : 'warning',
      what: isOne
        ? `volume ${name}: ONE COPY of ${wanted}`
        : `volume ${name}: ${inSync} of ${wanted} copies in sync`,
      why: [
        others.join(', '),
        isOne ? 'what is acknowledged now is on one drive' : '',
        trouble || doing,
        progressWords(standing),
      ]
        .filter((words) => words !== '')
        .join('; '),
      next: standing.next || 'it mends itself; weft node list shows which nodes to bring back',
    })
  } else if (trouble !== '') {
    found.push({
      severity: 'warning',
      what: `volume ${name}: ${doing}, and that does not go on`,
      why: trouble,
      next: standing.next,
    })
  }
  return found
}

/** What scrubbing found, by node: its drive is what a person should look at. */
function scrubProblems(node: Node, name: string, { scrub }: VolumeStandingInfo): Problem[] {
  return [...new Set(scrub.found.map((found) => found.node))].map((id) => {
    const found = scrub.found.filter((one) => one.node === id)
    const left = found.filter(({ mended }) => !mended)
    const place = node.cluster?.nameOf(id as NodeId) ?? id
    const [worst] = left.length > 0 ? left : found
    return {
      severity: left.length > 0 ? ('error' as const) : ('warning' as const),
      what: `volume ${name}: ${found.length} damaged in its copy on node ${place}, ${left.length} of them not mended`,
      why: `${worst?.chunk ? `chunk ${worst.chunk}: ` : ''}${worst?.what ?? ''}, found ${worst?.at.slice(0, 10)}`,
      next: `look at the drives of ${place} (dmesg, smartctl); weft node drain ${place} before one of them fails`,
    }
  })
}

function progressWords({ doneBytes, totalBytes, secondsLeft }: VolumeStandingInfo): string {
  if (totalBytes === 0) return ''
  const left = secondsLeft === null ? '' : `, about ${Math.ceil(secondsLeft / 60)} min left`
  return `${mib(doneBytes)} of ${mib(totalBytes)} MiB${left}`
}

const mib = (bytes: number) => Math.round(bytes / (1024 * 1024))
