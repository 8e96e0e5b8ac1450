import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { Mounts } from './mounts.ts'
import type { Volumes } from './volumes.ts'

/** What /metrics shows, read when it is asked for. */
export function figures(volumes: Volumes, mounts: Mounts): Registry {
  const registry = new Registry()
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
  return registry
}

type SharedFigures = NonNullable<ReturnType<Volumes['all']>[number]['shared']>
