/**
 * fsbench on GlusterFS replica 3, on MooseFS goal 3, and on weft with three copies on the hosts of a lab, interleaved in one sitting. All of
 * them run on this one machine, their drives are XFS on loop devices in memory. weft has four mounts: the namespace on the node that
 * owns the volume, an exclusive one, the namespace on another node while the owner stays, and on one that the volume has come to
 * because it alone uses it (that is so after the round to warm up). A ratio is to the better of the two peers.
 */
import type { ChildProcessByStdio } from 'node:child_process'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { Lab } from '../test/support/hosts.ts'
import type { Host } from '../test/support/lab-host.ts'
import { peersPlace, peerVersions, raiseGluster, raiseMooseFs } from './bench-peers.ts'
import { base, inPlace } from './bench-place.ts'
import {
  cell,
  markdown,
  median,
  placeInDocs,
  printed,
  ratio,
  sitting,
  writeDocs,
} from './bench-text.ts'
import {
  chosen,
  type Figures,
  fsbench,
  makeTar,
  roundsLine,
  type Start,
  WORK,
  type WorkKey,
} from './bench-work.ts'

const MARKER = 'scripts/bench --cluster'
const LAB = 'bench'
const DRIVE_GIB = 3
const PEERS = ['gluster', 'moosefs'] as const
const OURS = ['namespace', 'exclusive', 'other', 'follows'] as const
const CONTENDERS = [...PEERS, ...OURS] as const
type Contender = (typeof CONTENDERS)[number]
const HEADS: Readonly<Record<Contender, string>> = {
  gluster: 'GlusterFS',
  moosefs: 'MooseFS',
  namespace: 'weft namespace, owner',
  exclusive: 'weft exclusive',
  other: 'weft namespace, other node, owner=stays',
  follows: 'weft namespace, other node',
}

/** Ratios to the better peer that issue 3 asks for on the owner; the exclusive mount differs in one. */
const OWNER: Readonly<Partial<Record<WorkKey, number>>> = {
  seq_write_fsync_MiBps: 1.2,
  seq_read_cold_MiBps: 1.3,
  rand_read4k_cold_iops: 1.3,
  rand_write4k_buffered_iops: 1.6,
  rand_write4k_fdatasync_iops: 1,
  create4k_per_s: 3,
  stat_cold_per_s: 1.3,
  stat_warm_per_s: 10,
  ls_l_cold_entries_per_s: 2,
  untar_entries_per_s: 2,
  rename_per_s: 1,
  unlink_per_s: 1.2,
  rm_rf_entries_per_s: 1.2,
}
const EXCLUSIVE = { ...OWNER, rand_write4k_buffered_iops: 4 }
const OTHER: Readonly<Partial<Record<WorkKey, number>>> = {
  create4k_per_s: 1.2,
  untar_entries_per_s: 1,
}
/** On a node that is not the owner no row may be below this. */
const OTHER_LEAST = 0.7

function target(name: (typeof OURS)[number], key: WorkKey): number | undefined {
  if (name === 'namespace') return OWNER[key]
  if (name === 'exclusive') return EXCLUSIVE[key]
  return OTHER[key] ?? OTHER_LEAST
}

interface Place {
  readonly dir: string
  /** Where the work runs; absent for this machine. */
  readonly start?: Start
}

/** Work in a host of the lab, whose mounts nobody outside sees. */
function startIn(host: Host): Start {
  return (words, env) =>
    host.spawn(words, { stdio: ['ignore', 'pipe', 'inherit'], env }) as ChildProcessByStdio<
      null,
      Readable,
      null
    >
}

/** weft's places on a lab of three hosts; a mount that cannot be used is left out, and why is said. */
async function raiseWeft(wanted: ReadonlySet<Contender>): Promise<Map<Contender, Place>> {
  const places = new Map<Contender, Place>()
  if (!OURS.some((name) => wanted.has(name))) return places
  const lab = await Lab.up(3, {
    name: LAB,
    size: `${DRIVE_GIB}G`,
    progress: (line) => console.log(`· ${line}`),
  })
  const [owner, other] = [lab.host(1), lab.host(2)]
  const volume = ['--size', '20G', '--repl', '3']
  if (wanted.has('namespace') || wanted.has('other')) {
    await owner.weft('volume', 'create', 'owner=stays,name=shared', ...volume)
    const dir = join(owner.mnt, 'shared')
    // Who uses it first owns it.
    await owner.run('sh', '-euc', `echo >${dir}/first; sync ${dir}/first`)
    if (wanted.has('namespace')) places.set('namespace', { dir, start: startIn(owner) })
    if (wanted.has('other')) {
      const tried = await other.tryRun('sh', '-euc', `echo >${dir}/second; sync ${dir}/second`)
      if (tried.code === 0) places.set('other', { dir, start: startIn(other) })
      else console.log(`the mount on another node is left out: ${tried.stderr.trim()}`)
    }
  }
  if (wanted.has('follows')) {
    await owner.weft('volume', 'create', 'follows', ...volume)
    const dir = join(other.mnt, 'follows')
    await other.run('sh', '-euc', `echo >${dir}/first; sync ${dir}/first`)
    places.set('follows', { dir, start: startIn(other) })
  }
  if (wanted.has('exclusive')) {
    const dir = '/run/exclusive'
    await owner.weft('volume', 'create', 'alone', ...volume)
    await owner.run('mkdir', dir)
    await owner.weft('attach', 'alone', dir)
    places.set('exclusive', { dir, start: startIn(owner) })
  }
  return places
}

async function raise(wanted: ReadonlySet<Contender>): Promise<Map<Contender, Place>> {
  const places = new Map<Contender, Place>()
  if (PEERS.some((name) => wanted.has(name))) peersPlace(DRIVE_GIB * 2 ** 30)
  if (wanted.has('gluster')) places.set('gluster', { dir: await raiseGluster() })
  if (wanted.has('moosefs')) {
    places.set('moosefs', { dir: await raiseMooseFs(DRIVE_GIB * 2 ** 30) })
  }
  for (const [name, place] of await raiseWeft(wanted)) places.set(name, place)
  return places
}

type Series = Map<Contender, Figures[]>

function table(series: Series): string[][] {
  const names = CONTENDERS.filter((name) => series.has(name))
  const ours = OURS.filter((name) => series.has(name))
  const valuesOf = (name: Contender, key: WorkKey) =>
    (series.get(name) ?? []).map((figures) => figures[key]).filter((value) => value !== undefined)
  const better = (key: WorkKey) =>
    PEERS.map((name) => valuesOf(name, key)).reduce((best, values) =>
      values.length > 0 && !(median(best) >= median(values)) ? values : best,
    )
  return [
    ['work', ...names.map((name) => HEADS[name]), ...ours.map((name) => `${name} ÷ better peer`)],
    ...WORK.map(({ key, work, unit }) => [
      `${work}, ${unit}`,
      ...names.map((name) => cell(valuesOf(name, key))),
      ...ours.map((name) => ratio(valuesOf(name, key), better(key), target(name, key))),
    ]),
  ]
}

export interface ClusterOptions {
  readonly rounds: number
  readonly quick: boolean
  readonly write: boolean
  readonly names: readonly string[]
}

/** @throws UsageError for a contender that is none; then what failed, everything being taken away */
export async function cluster(options: ClusterOptions): Promise<void> {
  const wanted = new Set(chosen(options.names, CONTENDERS, OURS))
  if (options.write) placeInDocs(MARKER)
  const clear = async () => {
    await Lab.end(LAB)
  }
  await inPlace(() => rounds(options, wanted), clear)
}

async function rounds(options: ClusterOptions, wanted: ReadonlySet<Contender>): Promise<void> {
  // Hosts of a lab have a /dev/shm of their own.
  const tar = makeTar(join(base, 'tree.tar'))
  const places = await raise(wanted)
  const series: Series = new Map()
  // Round 0 warms up: memory that nobody had yet, code that is not compiled, files that have to grow.
  for (let round = options.quick ? 1 : 0; round <= options.rounds; round++) {
    for (const [name, { dir, ...where }] of places) {
      const which = round === 0 ? 'to warm up' : `${round} of ${options.rounds}`
      console.log(`round ${which}: ${HEADS[name]}`)
      const figures = await fsbench(dir, name, { tar, quick: options.quick, ...where })
      if (round > 0) series.set(name, [...(series.get(name) ?? []), figures])
    }
  }
  const lines = table(series)
  const foot = roundsLine(options)
  console.log(`\n${printed(lines)}\n\n${foot}`)
  if (options.write) writeDocs(MARKER, [sitting(peerVersions()), markdown(lines), foot])
}
