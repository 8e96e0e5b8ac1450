/**
 * Drives that come and go: how fast one is emptied, and what that leaves for a database beside it; how long it takes from a pool that
 * crosses its mark to the first chunk on a new drive of a simulated frame; and what drives cost while nobody does anything.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { DriveInfo } from '../src/api/index.ts'
import { Lab } from '../test/support/hosts.ts'
import type { Host } from '../test/support/lab-host.ts'
import { sleep, until } from '../test/support/node-world.ts'
import { Postgres } from '../test/support/postgres.ts'
import { fill } from './bench-fill.ts'
import { Pgbench } from './bench-pgbench.ts'
import { base, inPlace } from './bench-place.ts'
import { markdown, placeInDocs, printed, ratio, sitting, whole, writeDocs } from './bench-text.ts'

const MARKER = 'scripts/bench --drives'
const LAB = 'bench'
const FILLED_MIB = 1024
const CLIENTS = 4
const BASELINE_SECONDS = 20
const DRAIN_MS_MAX = 300_000
const GROW_MS_MAX = 120_000
const REST_SECONDS = 60
/** Asked for by issue 4. */
const DRAIN_TARGET = 0.5
const PGBENCH_TARGET = 0.6
const GROW_SECONDS_MAX = 10
const REST_PERCENT_MAX = 1
/** Jiffies of utime and stime a second. Source: proc(5), sysconf(_SC_CLK_TCK) on Linux */
const TICKS_PER_S = 100

export async function drives({ write }: { readonly write: boolean }): Promise<void> {
  if (write) placeInDocs(MARKER)
  await inPlace(
    async () => {
      const lines = await measured()
      console.log(`\n${printed(lines)}`)
      if (write) writeDocs(MARKER, [sitting(), markdown(lines)])
    },
    () => Lab.end(LAB),
  )
}

async function measured(): Promise<string[][]> {
  const progress = (line: string) => console.log(`· ${line}`)
  const frame = [{ count: 8, capacityGB: 4, media: 'SSD', interfaceType: 'SAS' }] as const
  const lab = await Lab.up(1, { name: LAB, size: '1G', progress, synergy: { drives: frame } })
  const host = lab.host(1)
  const [program = '', ...args] = lab.appliance.connectWords
  await host.run(program, ...args)
  await host.weft('synergy', 'allocate', '--class', '3', '--drives', '1')
  await host.weft('volume', 'create', 'v', '--cos', '3', '--size', '20G')
  const point = mkdtempSync(join(base, 'attached-'))
  const socket = mkdtempSync(join(base, 'socket-'))
  try {
    await host.weft('attach', 'v', point)
    const seconds = await fill(host, join(point, 'filled'), FILLED_MIB)
    const writeMiBps = FILLED_MIB / seconds
    progress(`${FILLED_MIB} MiB written in ${seconds.toFixed(1)} s`)
    await host.weft('synergy', 'allocate', '--class', '3', '--drives', '1')
    const [first, second] = await frameDrives(host)
    if (!first || !second) throw new Error('two drives of the frame are wanted')
    const alone = await drained(host, first.id)
    progress(`emptied with ${whole(alone)} MiB/s`)
    await host.weft('drive', 'drain', first.id, '--stop')
    await until('it takes data', async () => (await driveOf(host, first.id)).drain === null)
    const { alonePerS, besidePerS, drainMiBps } = await beside(host, point, socket, second.id)
    await host.weft('drive', 'drain', second.id, '--stop')
    await until('it takes data', async () => (await driveOf(host, second.id)).drain === null)
    const growSeconds = await grown(host, point)
    progress(`first chunk on a new drive after ${growSeconds.toFixed(1)} s`)
    const rest = await atRest(host)
    const count = (await frameDrives(host)).length
    const target = (got: number, most: number) => `≤ ${most} ${got <= most ? '✓' : '✗'}`
    return [
      ['work', 'alone', 'beside', 'ratio'],
      [
        `write of ${FILLED_MIB} MiB + fsync, against emptying its drive, MiB/s`,
        whole(writeMiBps),
        whole(alone),
        ratio([alone], [writeMiBps], DRAIN_TARGET),
      ],
      [
        `pgbench with ${CLIENTS} clients, while the drive with its files is emptied (${whole(drainMiBps)} MiB/s), transactions/s`,
        whole(alonePerS),
        whole(besidePerS),
        ratio([besidePerS], [alonePerS], PGBENCH_TARGET),
      ],
      [
        'a pool crosses its mark: until the first chunk is on a new drive, s',
        growSeconds.toFixed(1),
        '',
        target(growSeconds, GROW_SECONDS_MAX),
      ],
      [
        `daemon at rest with ${count} disks of the frame and the policy on, % of a CPU, all that it does`,
        rest.toFixed(2),
        '',
        target(rest, REST_PERCENT_MAX),
      ],
    ]
  } finally {
    rmSync(socket, { recursive: true, force: true })
  }
}

async function allDrives(host: Host): Promise<readonly DriveInfo[]> {
  return (await host.ask<{ drives: DriveInfo[] }>('/v1/drives')).drives
}

async function frameDrives(host: Host): Promise<DriveInfo[]> {
  return (await allDrives(host)).filter(({ disk }) => disk !== null)
}

async function driveOf(host: Host, id: string): Promise<DriveInfo> {
  return await host.ask<DriveInfo>(`/v1/drives/${id}`)
}

/** @returns MiB/s from the first chunk that went to the last */
async function drained(host: Host, id: string): Promise<number> {
  await host.weft('drive', 'drain', id, '--no-wait')
  let fromMs = 0
  let fromBytes = 0
  let bytes = 0
  await until(
    'it is empty',
    async () => {
      const drain = (await driveOf(host, id).catch(() => null))?.drain ?? null
      if (drain && fromMs === 0 && drain.bytesMoved > 0) {
        fromMs = performance.now()
        fromBytes = drain.bytesMoved
      }
      bytes = drain?.bytesMoved ?? bytes
      return drain?.chunksLeft === 0 || drain?.isEmpty === true
    },
    DRAIN_MS_MAX,
  )
  const rate = (bytes - fromBytes) / 2 ** 20 / ((performance.now() - fromMs) / 1000)
  await until('it is empty', async () => (await driveOf(host, id)).drain?.isEmpty === true, 60_000)
  return rate
}

async function beside(host: Host, point: string, socket: string, id: string) {
  const run = (words: readonly string[]) => host.tryRun(...(words as [string]))
  const server = new Postgres(run, join(point, 'data'), socket)
  await server.init()
  await server.start()
  await server.run('pgbench', '-i', '-q', '-s', '10', 'postgres')
  const load = new Pgbench(host, server, CLIENTS)
  await sleep(BASELINE_SECONDS * 1000)
  const fromMs = Date.now()
  const drainMiBps = await drained(host, id)
  const toMs = Date.now()
  await load.end()
  await server.stop('fast')
  return {
    alonePerS: load.meanPerS(0, fromMs),
    besidePerS: load.meanPerS(fromMs, toMs),
    drainMiBps,
  }
}

/** Written to until the pool crosses its mark. @returns seconds from there to the first MiB on a drive that was not there */
async function grown(host: Host, point: string): Promise<number> {
  const before = new Set((await frameDrives(host)).map(({ id }) => id))
  const growAt = 60
  await host.weft(
    ...[
      'policy',
      'set',
      '--on',
      '--grow-at',
      `${growAt}%`,
      '--shrink-at',
      '5%',
      '--reserve',
      'none',
    ],
    ...['--budget', '100/day', '--cool-down', '1s'],
  )
  let crossedMs = 0
  for (let n = 0; ; n++) {
    await fill(host, join(point, `more${n}`), 64)
    const now = await frameDrives(host)
    const old = now.filter(({ id }) => before.has(id))
    const total = old.reduce((sum, { totalBytes }) => sum + totalBytes, 0)
    const free = old.reduce((sum, { freeBytes }) => sum + freeBytes, 0)
    if (crossedMs === 0 && (total - free) / total >= growAt / 100) crossedMs = performance.now()
    const fresh = now.find(({ id }) => !before.has(id))
    if (fresh && fresh.totalBytes - fresh.freeBytes > 0.03 * fresh.totalBytes) {
      return (performance.now() - crossedMs) / 1000
    }
    if (crossedMs > 0 && performance.now() - crossedMs > GROW_MS_MAX) {
      throw new Error(`not grown: ${await host.weft('policy', 'plan')}`)
    }
  }
}

/** @returns per cent of a CPU */
async function atRest(host: Host): Promise<number> {
  await sleep(20_000)
  const { daemon } = await host.ask<{ daemon: { pid: number } }>('/v1/status')
  const ticks = async () => {
    const stat = await host.run('cat', `/proc/${daemon.pid}/stat`)
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return Number(fields[11]) + Number(fields[12])
  }
  const before = await ticks()
  await sleep(REST_SECONDS * 1000)
  return (((await ticks()) - before) / TICKS_PER_S / REST_SECONDS) * 100
}
