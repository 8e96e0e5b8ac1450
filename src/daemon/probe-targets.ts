import {
  type ChunkId,
  type Clock,
  FsError,
  type NodeId,
  newId,
  type Random,
} from '../base/index.ts'
import type { Owner } from '../replication/index.ts'
import type { SharedVolume } from '../store/index.ts'
import type { AccessClient } from './access-client.ts'
import type { EngineHost } from './engine-host.ts'
import type { ProbeTarget, Unprobed } from './probes.ts'
import type { NodeVolume, Volumes } from './volumes.ts'

export interface ProbeTargetsWorld {
  readonly volumes: Pick<Volumes, 'all' | 'isElsewhere'>
  readonly engine: Pick<EngineHost, 'call'>
  /** Of volumes that other nodes own; null in no cluster. */
  readonly client: Pick<AccessClient, 'inUse' | 'probe'> | null
  /** Of a volume of several copies, while this node owns it. */
  owner(volume: NodeVolume): Pick<Owner, 'awaited' | 'silentMs'> | null
  nameOf(node: NodeId): string
  readonly random: Random
  /** That leases are reckoned by. */
  readonly leaseClock: Clock
}

/** A copy answers once a second, and the owner of a volume that is used from here every three at least. */
const COPY_SILENT_MS = 2000
const OWNER_SILENT_MS = 4000

/** What can be probed from this node now: volumes that it owns, and those of others that it uses. */
export function* probeTargets(world: ProbeTargetsWorld): Generator<ProbeTarget | Unprobed> {
  for (const volume of world.volumes.all()) {
    const { shared, closed } = volume
    if (shared && !shared.isElsewhere) yield commitTarget(world, volume, shared)
    else if (world.volumes.isElsewhere(volume)) yield callTarget(world, volume)
    else yield unprobed(volume, closed?.state === 'locked' ? 'locked' : 'closed')
  }
}

function unprobed({ stored }: NodeVolume, why: Unprobed['why']): Unprobed {
  return { volume: stored.record.id, why }
}

/** No key is taken for it: the engine has those of an open volume, and a closed one is not probed. */
function commitTarget(
  { engine, owner, nameOf, random, leaseClock }: ProbeTargetsWorld,
  volume: NodeVolume,
  shared: SharedVolume,
): ProbeTarget {
  const { id, name, number } = volume.stored.record
  const chunk = newId<ChunkId>(random)
  return {
    volume: id,
    life: `epoch ${shared.epoch}`,
    kind: 'commit',
    async run() {
      await engine.call('probe', { number, chunk })
      // The commit rests on the copies' answers alone. What is read, as this was, rests on the lease too (§6.1).
      if (!shared.replicated || shared.leaseUntilMs > leaseClock.monotonicMs()) return
      throw new FsError('EAGAIN', 'probe', {
        volume: name,
        message: 'its lease has run out: too few of its copies answer, and calls wait',
      })
    },
    waitsFor() {
      const copies = owner(volume)?.awaited(chunk) ?? []
      if (copies.length === 0) return 'the drive of this node'
      return copies.map(({ node }) => `copy on ${nameOf(node)}`).join(', ')
    },
    isDoubtful: () => (owner(volume)?.silentMs ?? 0) > COPY_SILENT_MS,
    committed: () => shared.committed,
  }
}

function callTarget(
  { client, nameOf }: ProbeTargetsWorld,
  volume: NodeVolume,
): ProbeTarget | Unprobed {
  const { id, number } = volume.stored.record
  const use = client?.inUse(number)
  if (!client || !use) return unprobed(volume, 'unused')
  return {
    volume: id,
    life: `session ${use.session}`,
    kind: 'call',
    run: () => client.probe(number),
    waitsFor: () => `${nameOf(use.owner)}, its owner`,
    isDoubtful: () => use.silentMs > OWNER_SILENT_MS,
    committed: () => null,
  }
}
