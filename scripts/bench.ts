/**
 * fsbench on the plain drive, on gocryptfs, and on weft's two kinds of mount, interleaved in one sitting: figures are only good side
 * by side. Every store is XFS on a loop device in memory, so that the programs are measured and not the one shared disk. Also the
 * floor: how fast weft looks up a missing name, beside a C loop that does nothing else. The table goes into docs/bench.md.
 * With --growth other work: see bench-growth.ts. weft is driven through its CLI alone.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, statSync } from 'node:fs'
import { cpus } from 'node:os'
import { join, resolve } from 'node:path'
import { cluster } from './bench-cluster.ts'
import { drives } from './bench-drives.ts'
import { growth } from './bench-growth.ts'
import {
  base,
  daemonPid,
  inMemory,
  inPlace,
  makeDrive,
  memoryStore,
  nodeUp,
  ourMounts,
  root,
  run,
  UsageError,
  weft,
} from './bench-place.ts'
import { repair } from './bench-repair.ts'
import { takeOver } from './bench-take-over.ts'
import { cell, markdown, placeInDocs, printed, ratio, sitting, writeDocs } from './bench-text.ts'
import {
  chosen,
  type Figures,
  fsbench,
  makeTar,
  roundsLine,
  WORK,
  type WorkKey,
} from './bench-work.ts'

const USAGE = `usage: bench [--rounds N] [--quick] [--only NAME[,NAME]] [--no-write]
       bench --cluster [--rounds N] [--quick] [--only NAME[,NAME]] [--no-write]
       bench --growth [--files N] [--scattered SIZE] [--store DIR] [--no-write]
       bench --repair [--no-write]
       bench --take-over [--rounds N] [--no-write]
       bench --drives [--no-write]
  --rounds N        rounds of which the median counts (default 3), after one to warm up that does not
  --quick           one round of less work, none to warm up; to see that it runs, not to compare
  --only            of plain, gocryptfs, weft (all its mounts), namespace, exclusive
  --cluster         weft on three hosts beside GlusterFS and MooseFS; then --only is of gluster, moosefs, weft,
                    namespace, exclusive, other, follows
  --no-write        leave docs/bench.md alone; --quick, --only, --files and --scattered do so too
  --take-over       how long callers wait when the node that owns a volume dies
  --repair          a lost copy made anew on a spare, beside pgbench on the same volume
  --drives          a drive emptied beside pgbench, a pool that grows out of a simulated frame, and drives at rest
  --growth          a directory of many files, memory, and a file after random writes: weft beside itself
  --files N         in that directory (default 1,000,000; at least 20,000)
  --scattered SIZE  of that file, as in 64M (default 1G)
  --store DIR       where the drive's image lies (default /dev/shm); it grows to four times --scattered`

const MARKER = 'scripts/bench'
const driveBytes = 4 * 1024 * 1024 * 1024
const filesMin = 20_000

/** Ratios to gocryptfs that issue 2 asks of each mount. */
const TARGETS: Readonly<Partial<Record<WorkKey, { namespace: number; exclusive: number }>>> = {
  seq_write_fsync_MiBps: { namespace: 1, exclusive: 1 },
  seq_read_cold_MiBps: { namespace: 1.5, exclusive: 1.5 },
  seq_read_warm_MiBps: { namespace: 5, exclusive: 5 },
  rand_read4k_cold_iops: { namespace: 0.9, exclusive: 0.9 },
  rand_write4k_buffered_iops: { namespace: 1.8, exclusive: 6 },
  rand_write4k_fdatasync_iops: { namespace: 0.7, exclusive: 0.7 },
  create4k_per_s: { namespace: 2.2, exclusive: 2.2 },
  stat_cold_per_s: { namespace: 1.1, exclusive: 1.1 },
  ls_l_cold_entries_per_s: { namespace: 1.5, exclusive: 1.5 },
  untar_entries_per_s: { namespace: 1.8, exclusive: 2 },
  rename_per_s: { namespace: 1, exclusive: 1 },
  unlink_per_s: { namespace: 1.3, exclusive: 1.3 },
  rm_rf_entries_per_s: { namespace: 1, exclusive: 1 },
}

/** weft's lookup of a missing name against the C loop. */
const FLOOR_TARGET = 0.85

const CONTENDERS = ['plain', 'gocryptfs', 'namespace', 'exclusive'] as const
type Contender = (typeof CONTENDERS)[number]

interface Options {
  rounds: number
  quick: boolean
  write: boolean
  /** Of --only; empty for all. */
  names: readonly string[]
  cluster: boolean
  repair: boolean
  takeOver: boolean
  drives: boolean
  growth: boolean
  files: number
  scatteredBytes: number
  store: string
}

const MODES = ['--growth', '--cluster', '--repair', '--take-over', '--drives']
/** What --growth takes and the other does not, and the other way round. */
const GROWTH_ONLY = ['--files', '--scattered', '--store']
const ROUNDS_ONLY = ['--rounds', '--quick', '--only']

function parse(args: readonly string[]): Options {
  const options: Options = {
    rounds: 3,
    quick: false,
    write: true,
    names: [],
    cluster: args.includes('--cluster'),
    repair: args.includes('--repair'),
    takeOver: args.includes('--take-over'),
    drives: args.includes('--drives'),
    growth: args.includes('--growth'),
    files: 1_000_000,
    scatteredBytes: 2 ** 30,
    store: memoryStore,
  }
  const misplaced = args.find((arg) => (options.growth ? ROUNDS_ONLY : GROWTH_ONLY).includes(arg))
  if (misplaced)
    throw new UsageError(`${misplaced} is ${options.growth ? 'not for' : 'only for'} --growth`)
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]
    if (arg === '--rounds') options.rounds = wholeNumber(arg, args[++i], 1)
    else if (arg === '--quick') {
      options.quick = true
      options.rounds = 1
      options.write = false
    } else if (arg === '--no-write') options.write = false
    else if (arg === '--only') {
      options.names = (args[++i] ?? '').split(',')
      options.write = false
    } else if (arg === '--files') {
      options.files = wholeNumber(arg, args[++i], filesMin)
      options.write = false
    } else if (arg === '--scattered') {
      options.scatteredBytes = sizeOf(arg, args[++i])
      options.write = false
    } else if (arg === '--store') {
      const dir = args[++i] ?? ''
      if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory())
        throw new UsageError(`--store needs a directory: ${dir}`)
      options.store = resolve(dir)
    } else if (!MODES.includes(arg ?? '')) throw new UsageError(`unknown option ${arg}`)
  }
  const modes = MODES.filter((mode) => args.includes(mode))
  if (modes.length > 1) throw new UsageError(`${modes.join(' or ')}, not both`)
  return options
}

function wholeNumber(option: string, text: string | undefined, least: number): number {
  if (!/^\d+$/.test(text ?? '') || Number(text) < least)
    throw new UsageError(`${option} needs a whole number of at least ${least}`)
  return Number(text)
}

/** `64M` or `1G` in bytes. */
function sizeOf(option: string, text: string | undefined): number {
  const [, count, unit] = /^(\d+)([MG])$/.exec(text ?? '') ?? []
  if (!count || Number(count) === 0) throw new UsageError(`${option} needs a size as in 64M or 1G`)
  return Number(count) * (unit === 'G' ? 2 ** 30 : 2 ** 20)
}

/** Brings one contender up. @returns the directory to work in */
function bringUp(name: Contender): string {
  switch (name) {
    case 'plain':
      return makeDrive('plain', driveBytes)
    case 'gocryptfs': {
      const cipher = join(makeDrive('gocryptfs', driveBytes), 'cipher')
      const dir = join(base, 'gocryptfs')
      mkdirSync(cipher)
      mkdirSync(dir)
      run('gocryptfs', '-q', '-init', '-scryptn', '10', '-extpass', 'echo pw', cipher)
      run('gocryptfs', '-q', '-extpass', 'echo pw', '-allow_other', cipher, dir)
      return dir
    }
    case 'namespace': {
      nodeUp(driveBytes)
      const dir = join(base, 'namespace')
      mkdirSync(dir)
      weft('volume', 'create', 'bench-namespace', '--size', '20G')
      weft('mount', dir)
      return join(dir, 'bench-namespace')
    }
    case 'exclusive': {
      nodeUp(driveBytes)
      const dir = join(base, 'exclusive')
      mkdirSync(dir)
      weft('volume', 'create', 'bench', '--size', '20G')
      weft('attach', 'bench', dir)
      return dir
    }
    default:
      return name satisfies never
  }
}

interface Floor {
  readonly program: string
  readonly dir: string
  readonly server: ChildProcess
}

/** Compiles the C loop and mounts it; undefined without a compiler. */
async function raiseFloor(): Promise<Floor | undefined> {
  const program = join(base, 'fuse-floor')
  try {
    run('gcc', '-O2', '-o', program, join(root, 'scripts/fuse-floor.c'))
  } catch (error) {
    console.log(`the floor is left out: ${error instanceof Error ? error.message : String(error)}`)
    return undefined
  }
  const dir = join(base, 'floor')
  mkdirSync(dir)
  const server = spawn(program, ['serve', dir], { stdio: 'inherit' })
  const untilMs = performance.now() + 5000
  while (!ourMounts().includes(dir)) {
    if (performance.now() > untilMs || server.exitCode !== null)
      throw new Error('fuse-floor does not mount')
    await new Promise((done) => setTimeout(done, 20))
  }
  return { program, dir, server }
}

/**
 * Looks up names that are not there, with client and server each held to a CPU of its own. Left to the scheduler, the same C loop gave
 * 17 k/s or 90 k/s here, by whether both happened to share a CPU (2 cores, Linux 6.18 in a VM, 2026-11-23): no ratio could rest on that.
 */
function statMissing(program: string, dir: string, serverPid: number, count: number): number {
  const last = cpus().length - 1
  const hold = (list: string) => run('taskset', '-acp', list, String(serverPid))
  if (last > 0) hold(String(last))
  try {
    return Number(run('taskset', '-c', '0', program, 'stat', dir, String(count)))
  } finally {
    if (last > 0) hold(`0-${last}`)
  }
}

type Series = Partial<Record<Contender | 'floor', Figures[]>>

const valuesOf = (series: Series, name: Contender | 'floor', key: string): number[] =>
  (series[name] ?? []).map((figures) => figures[key]).filter((value) => value !== undefined)

const KEY_MISSING = 'stat_missing_per_s'

function table(series: Series): string[][] {
  const lines = [
    [
      'work',
      'plain XFS',
      'gocryptfs',
      'weft namespace',
      'weft exclusive',
      'namespace ÷ gocryptfs',
      'exclusive ÷ gocryptfs',
    ],
  ]
  for (const { key, work, unit } of WORK) {
    const of = (name: Contender) => valuesOf(series, name, key)
    lines.push([
      `${work}, ${unit}`,
      ...CONTENDERS.map((name) => cell(of(name))),
      ratio(of('namespace'), of('gocryptfs'), TARGETS[key]?.namespace),
      ratio(of('exclusive'), of('gocryptfs'), TARGETS[key]?.exclusive),
    ])
  }
  return lines
}

function floorLine(series: Series): string {
  const floor = valuesOf(series, 'floor', KEY_MISSING)
  const ours = valuesOf(series, 'namespace', KEY_MISSING)
  if (floor.length === 0 || ours.length === 0) return ''
  return `stat of a missing name, client and server on a CPU each: weft namespace ${cell(ours)}/s, C loop ${cell(floor)}/s, ratio ${ratio(ours, floor, FLOOR_TARGET)}`
}

async function rounds(options: Options): Promise<void> {
  const contenders = chosen(options.names, CONTENDERS, ['namespace', 'exclusive'])
  const tar = makeTar(inMemory('tree.tar'))
  const dirs = new Map(contenders.map((name) => [name, bringUp(name)]))
  const series: Series = {}
  const floor = dirs.has('namespace') ? await raiseFloor() : undefined
  const keep = (name: Contender | 'floor', figures: Figures) => {
    const all = series[name] ?? []
    all.push(figures)
    series[name] = all
  }
  // Round 0 warms up: memory that nobody had yet, code that is not compiled, files that have to grow.
  for (let round = options.quick ? 1 : 0; round <= options.rounds; round++) {
    for (const [name, dir] of dirs) {
      const which = round === 0 ? 'to warm up' : `${round} of ${options.rounds}`
      console.log(`round ${which}: ${name}`)
      const figures = await fsbench(dir, name, { tar, quick: options.quick })
      if (floor && name === 'namespace') {
        const count = options.quick ? 5000 : 30_000
        figures[KEY_MISSING] = statMissing(floor.program, dir, daemonPid(), count)
        const rate = statMissing(floor.program, floor.dir, floor.server.pid ?? 0, count)
        if (round > 0) keep('floor', { [KEY_MISSING]: rate })
      }
      if (round > 0) keep(name, figures)
    }
  }
  const lines = table(series)
  const foot = [floorLine(series), roundsLine(options)]
  console.log(`\n${[printed(lines), ...foot].join('\n\n')}`)
  if (!options.write) return
  const gocryptfs = run('gocryptfs', '-version').split(/[;\n]/)[0]?.trim() ?? 'gocryptfs'
  writeDocs(MARKER, [sitting(gocryptfs), markdown(lines), ...foot])
}

async function main(): Promise<void> {
  const options = parse(process.argv.slice(2))
  if (options.growth) return growth(options)
  if (options.cluster) return cluster(options)
  if (options.repair) return repair(options)
  if (options.takeOver) return takeOver(options)
  if (options.drives) return drives(options)
  if (options.write) placeInDocs(MARKER)
  await inPlace(() => rounds(options))
}

try {
  await main()
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\n${USAGE}` : error)
  process.exitCode = error instanceof UsageError ? 64 : 1
}
