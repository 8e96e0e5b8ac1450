import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { VolumeProbe } from '../api/index.ts'
import type { NodeId } from '../base/index.ts'
import type { ClusterMember } from './cluster-member.ts'
import type { Mounts } from './mounts.ts'
import type { Probes } from './probes.ts'
import type { NodeRepairs } from './repair-node.ts'
import type { VolumeStandingInfo } from './repair-standing.ts'
import type { Volumes } from './volumes.ts'

export interface FiguresOf {
  readonly volumes: Volumes
  readonly mounts: Mounts
  readonly probes: Probes
  /** These two null on a node that is in no cluster. */
  readonly cluster: ClusterMember | null
  readonly repairs: NodeRepairs | null
  readonly commits: ReturnType<typeof commitSeconds>
}

/** How long what a volume's engine wants durable takes until every copy in sync has it; observed by whoever sees to that. */
export function commitSeconds() {
  return new Histogram({
    name: 'weft_volume_commit_seconds',
    help: 'Until what was wanted on stable storage is there on every copy in sync',
    labelNames: ['volume'],
    buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
    registers: [],
  })
}

/** What /metrics shows, read when it is asked for. */
export function figures({
  volumes,
  mounts,
  probes,
  cluster,
  repairs,
  commits,
}: FiguresOf): Registry {
  const registry = new Registry()
  registry.registerMetric(commits)
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 })
  new Counter({
    name: 'weft_fuse_requests_total',
    help: 'Requests of the kernel, by mount and operation',
    labelNames: ['mount', 'op'],
    registers: [registry],
    collect() {
      this.reset()
      for (const { target, requests } of mounts.requests()) {
        for (const { op, count } of requests) this.inc({ mount: target, op }, count)
      }
    },
  })
  new Counter({
    name: 'weft_fuse_request_seconds_total',
    help: 'Seconds the thread of a mount spent on requests, by operation',
    labelNames: ['mount', 'op'],
    registers: [registry],
    collect() {
      this.reset()
      for (const { target, requests } of mounts.requests()) {
        for (const { op, seconds } of requests) this.inc({ mount: target, op }, seconds)
      }
    },
  })
  const volumeGauge = (name: string, help: string, value: (shared: SharedFigures) => number) =>
    new Gauge({
      name,
      help,
      labelNames: ['volume'],
      registers: [registry],
      collect() {
        this.reset()
        for (const { stored, shared } of volumes.all()) {
          if (shared) this.set({ volume: stored.record.name }, value(shared))
        }
      },
    })
  volumeGauge('weft_volume_used_bytes', 'Bytes of files', (shared) => shared.usedBytes)
  volumeGauge('weft_volume_size_bytes', 'Quota', (shared) => shared.sizeBytes)
  volumeGauge('weft_volume_inodes', 'Files, directories and the like', (shared) => shared.inodes)
  volumeGauge(
    'weft_volume_staged_bytes',
    'Bytes accepted and not yet in a record',
    (shared) => shared.stagedBytes - shared.committedBytes,
  )
  volumeGauge('weft_volume_record', 'Sequence number of the last record', (shared) => shared.seq)
  volumeGauge(
    'weft_volume_unsynced_records',
    'Records that are not yet on stable storage',
    (shared) => shared.seq - shared.synced,
  )
  probeFigures(registry, volumes, probes)
  if (cluster && repairs) copyFigures(registry, volumes, repairs, (id) => cluster.nameOf(id))
  if (cluster) peerFigures(registry, cluster)
  return registry
}

/** Of every volume that is probed from here: owned by this node, or used through its owner. */
function probeFigures(registry: Registry, volumes: Volumes, probes: Probes): void {
  const gauge = (name: string, help: string, value: (probe: VolumeProbe) => number | null) =>
    new Gauge({
      name,
      help,
      labelNames: ['volume', 'kind'],
      registers: [registry],
      collect() {
        this.reset()
        for (const { stored } of volumes.all()) {
          const { name: volume, id } = stored.record
          const probe = probes.of(id)
          const now = value(probe)
          if (probe.kind && now !== null) this.set({ volume, kind: probe.kind }, now)
        }
      },
    })
  gauge(
    'weft_volume_probe_success_timestamp_seconds',
    "When a probe succeeded last, or a program's commit; in seconds since 1970",
    ({ succeededAt }) => (succeededAt === null ? null : Date.parse(succeededAt) / 1000),
  )
  gauge('weft_volume_probe_seconds', 'What the last probe that succeeded took', ({ ms }) =>
    ms === null ? null : ms / 1000,
  )
  gauge('weft_volume_probe_ok', '1 while the last probe succeeded and none hangs', ({ state }) =>
    state === 'unknown' ? null : +(state === 'ok'),
  )
}

/** How this node reaches the others. */
function peerFigures(registry: Registry, cluster: ClusterMember): void {
  const others = () =>
    cluster.membership
      .members()
      .map(({ node }) => ({ name: cluster.nameOf(node), status: cluster.peer(node) }))
      .filter(({ status }) => status !== null)
  type Status = NonNullable<ReturnType<ClusterMember['peer']>>
  const gauge = (name: string, help: string, value: (status: Status) => number | null) =>
    new Gauge({
      name,
      help,
      labelNames: ['node'],
      registers: [registry],
      collect() {
        this.reset()
        for (const { name: node, status } of others()) {
          const now = status && value(status)
          if (now !== null) this.set({ node }, now)
        }
      },
    })
  gauge('weft_peer_up', '1 when there is a channel to the node', ({ connected }) => +connected)
  gauge('weft_peer_rtt_seconds', 'Mean round trip of the channel for calls', ({ rttMs }) =>
    rttMs === null ? null : rttMs / 1000,
  )
  new Gauge({
    name: 'weft_peer_path',
    help: '1 for the way that a lane takes',
    labelNames: ['node', 'lane', 'path'],
    registers: [registry],
    collect() {
      this.reset()
      for (const { name: node, status } of others()) {
        if (status?.path) this.set({ node, lane: 'control', path: status.path }, 1)
        if (status?.bulkPath) this.set({ node, lane: 'bulk', path: status.bulkPath }, 1)
      }
    },
  })
  new Counter({
    name: 'weft_peer_bytes_total',
    help: 'Bytes that went over the wire to and from the node, since this daemon began',
    labelNames: ['node', 'direction'],
    registers: [registry],
    collect() {
      this.reset()
      for (const { name: node, status } of others()) {
        if (!status) continue
        this.inc({ node, direction: 'in' }, status.bytesIn)
        this.inc({ node, direction: 'out' }, status.bytesOut)
      }
    },
  })
}

/** Of volumes of several copies that this node owns, and of what it copies for them. */
function copyFigures(
  registry: Registry,
  volumes: Volumes,
  repairs: NodeRepairs,
  nameOf: (node: NodeId) => string,
): void {
  const gauge = (name: string, help: string, value: (standing: VolumeStandingInfo) => number) =>
    new Gauge({
      name,
      help,
      labelNames: ['volume'],
      registers: [registry],
      collect() {
        this.reset()
        for (const { stored } of volumes.all()) {
          const standing = repairs.ownStanding(stored.record.id)
          if (standing) this.set({ volume: stored.record.name }, value(standing))
        }
      },
    })
  gauge('weft_volume_copies_wanted', 'Copies it shall have', ({ wanted }) => wanted)
  gauge('weft_volume_copies_in_sync', 'Copies that count', ({ inSync }) => inSync)
  new Gauge({
    name: 'weft_volume_copy_lag_records',
    help: 'Records that a copy has not on stable storage',
    labelNames: ['volume', 'node'],
    registers: [registry],
    collect() {
      this.reset()
      for (const { stored } of volumes.all()) {
        const { name, id } = stored.record
        for (const { node, lagRecords } of repairs.ownStanding(id)?.copies ?? []) {
          this.set({ volume: name, node: nameOf(node as NodeId) }, lagRecords)
        }
      }
    },
  })
  gauge(
    'weft_volume_repair_left_bytes',
    'Bytes that copies being brought up still lack, as far as that is known',
    ({ doneBytes, totalBytes }) => totalBytes - doneBytes,
  )
  gauge(
    'weft_volume_scrub_unmended',
    'Chunks and logs found damaged and not mended',
    ({ scrub }) => scrub.found.filter(({ mended }) => !mended).length,
  )
  const counter = (name: string, help: string, value: () => number) =>
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        this.reset()
        this.inc(value())
      },
    })
  counter(
    'weft_repair_bytes_total',
    'Bytes read or sent for repair and scrub, under its rate',
    () => repairs.bucket.takenBytes,
  )
  counter('weft_repair_copies_total', 'Copies made by repair', () => repairs.madeCopies)
}

type SharedFigures = NonNullable<ReturnType<Volumes['all']>[number]['shared']>
