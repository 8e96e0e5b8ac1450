/**
 * fsbench on the plain drive, on gocryptfs, and on weft's two kinds of mount, interleaved in one sitting: figures are only good side
 * by side. Every store is XFS on a loop device in memory, so that the programs are measured and not the one shared disk. Also the
 * floor: how fast weft looks up a missing name, beside a C loop that does nothing else. The table goes into docs/bench.md.
 * With --growth other work: see bench-growth.ts. weft is driven through its CLI alone.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join, relative, resolve } from 'node:path'
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
  python,
  root,
  run,
  UsageError,
  weft,
} from './bench-place.ts'
import { cell, markdown, placeInDocs, printed, ratio, sitting, writeDocs } from './bench-text.ts'

const USAGE = `usage: bench [--rounds N] [--quick] [--only NAME[,NAME]] [--no-write]
       bench --growth [--files N] [--scattered SIZE] [--store DIR] [--no-write]
  --rounds N        rounds of which the median counts (default 3), after one to warm up that does not
  --quick           one round of less work, none to warm up; to see that it runs, not to compare
  --only            of plain, gocryptfs, weft (both mounts), namespace, exclusive
  --no-write        leave docs/bench.md alone; --quick, --only, --files and --scattered do so too
  --growth          a directory of many files, memory, and a file after random writes: weft beside itself
  --files N         in that directory (default 1,000,000; at least 20,000)
  --scattered SIZE  of that file, as in 64M (default 1G)
  --store DIR       where the drive's image lies (default /dev/shm); it grows to four times --scattered`

const MARKER = 'scripts/bench'
const driveBytes = 4 * 1024 * 1024 * 1024
/** About what a source release has; shared/bench was measured with 2,365. */
const tarEntriesMax = 2300
const tarFileBytesMax = 64 * 1024
const filesMin = 20_000

/** One row: fsbench's key, its name for people, unit, and the ratio to gocryptfs that issue 2 asks of each mount. */
interface Row {
  readonly key: string
  readonly work: string
  readonly unit: string
  readonly namespace?: number
  readonly exclusive?: number
}

const ROWS: readonly Row[] = [
  {
    key: 'seq_write_fsync_MiBps',
    work: 'sequential write + fsync',
    unit: 'MiB/s',
    namespace: 1,
    exclusive: 1,
  },
  {
    key: 'seq_read_cold_MiBps',
    work: 'sequential read, cold',
    unit: 'MiB/s',
    namespace: 1.5,
    exclusive: 1.5,
  },
  {
    key: 'seq_read_warm_MiBps',
    work: 'sequential read, warm',
    unit: 'MiB/s',
    namespace: 5,
    exclusive: 5,
  },
  {
    key: 'rand_read4k_cold_iops',
    work: 'random 4-KiB read, cold',
    unit: '/s',
    namespace: 0.9,
    exclusive: 0.9,
  },
  {
    key: 'rand_write4k_buffered_iops',
    work: 'random 4-KiB write, buffered',
    unit: '/s',
    namespace: 1.8,
    exclusive: 6,
  },
  {
    key: 'rand_write4k_fdatasync_iops',
    work: 'random 4-KiB write, each fdatasync’d',
    unit: '/s',
    namespace: 0.7,
    exclusive: 0.7,
  },
  { key: 'create4k_per_s', work: 'create 4-KiB files', unit: '/s', namespace: 2.2, exclusive: 2.2 },
  { key: 'create4k_8threads_per_s', work: 'create 4-KiB files, 8 threads', unit: '/s' },
  { key: 'stat_cold_per_s', work: 'stat, cold', unit: '/s', namespace: 1.1, exclusive: 1.1 },
  { key: 'stat_warm_per_s', work: 'stat, warm', unit: '/s' },
  { key: 'read4k_cold_per_s', work: 'open + read 4-KiB files, cold', unit: '/s' },
  {
    key: 'ls_l_cold_entries_per_s',
    work: 'ls -l, cold',
    unit: 'entries/s',
    namespace: 1.5,
    exclusive: 1.5,
  },
  {
    key: 'untar_entries_per_s',
    work: 'untar a source tree',
    unit: 'entries/s',
    namespace: 1.8,
    exclusive: 2,
  },
  { key: 'rename_per_s', work: 'rename', unit: '/s', namespace: 1, exclusive: 1 },
  { key: 'unlink_per_s', work: 'unlink', unit: '/s', namespace: 1.3, exclusive: 1.3 },
  { key: 'rm_rf_entries_per_s', work: 'rm -rf', unit: 'entries/s', namespace: 1, exclusive: 1 },
]

/** weft's lookup of a missing name against the C loop. */
const FLOOR_TARGET = 0.85

const CONTENDERS = ['plain', 'gocryptfs', 'namespace', 'exclusive'] as const
type Contender = (typeof CONTENDERS)[number]
const isContender = (name: string): name is Contender => CONTENDERS.some((one) => one === name)

interface Options {
  rounds: number
  quick: boolean
  write: boolean
  contenders: readonly Contender[]
  growth: boolean
  files: number
  scatteredBytes: number
  store: string
}

/** What --growth takes and the other does not, and the other way round. */
const GROWTH_ONLY = ['--files', '--scattered', '--store']
const ROUNDS_ONLY = ['--rounds', '--quick', '--only']

function parse(args: readonly string[]): Options {
  const options: Options = {
    rounds: 3,
    quick: false,
    write: true,
    contenders: CONTENDERS,
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
      const names = (args[++i] ?? '')
        .split(',')
        .flatMap((name) => (name === 'weft' ? ['namespace', 'exclusive'] : [name]))
      options.contenders = CONTENDERS.filter((name) => names.includes(name))
      if (names.length === 0 || !names.every(isContender))
        throw new UsageError(`--only knows ${CONTENDERS.join(', ')} and weft`)
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
    } else if (arg !== '--growth') throw new UsageError(`unknown option ${arg}`)
  }
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

/** A tar of small source files of our own packages: the same for everybody who has the same lockfile. */
function makeTar(): string {
  const from = join(root, 'node_modules')
  const entries: string[] = []
  const walk = (dir: string) => {
    for (const entry of readdirSync(dir, { withFileTypes: true }).sort((a, b) =>
      a.name < b.name ? -1 : 1,
    )) {
      if (entries.length >= tarEntriesMax || entry.name.startsWith('.')) continue
      const path = join(dir, entry.name)
      if (entry.isDirectory()) {
        entries.push(relative(from, path))
        walk(path)
      } else if (
        /\.(js|ts|json|md|c|h)$/.test(entry.name) &&
        statSync(path).size <= tarFileBytesMax
      )
        entries.push(relative(from, path))
    }
  }
  walk(from)
  const list = inMemory('list')
  const tar = inMemory('tree.tar')
  writeFileSync(list, entries.join('\n'))
  run('tar', 'cf', tar, '-C', from, '--no-recursion', '-T', list)
  return tar
}

type Figures = Record<string, number>

async function fsbench(dir: string, name: Contender, tar: string, quick: boolean) {
  const sizes = quick ? { SIZE_MB: '64', FILES: '800' } : {}
  const answer = await python('fsbench.py', [dir, name], { ...sizes, TAR: tar })
  const { label: _, ...figures } = answer as Figures & { label: unknown }
  return figures as Figures
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
  for (const { key, work, unit, namespace, exclusive } of ROWS) {
    const of = (name: Contender) => valuesOf(series, name, key)
    lines.push([
      `${work}, ${unit}`,
      ...CONTENDERS.map((name) => cell(of(name))),
      ratio(of('namespace'), of('gocryptfs'), namespace),
      ratio(of('exclusive'), of('gocryptfs'), exclusive),
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
  const tar = makeTar()
  const dirs = new Map(options.contenders.map((name) => [name, bringUp(name)]))
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
      const figures = await fsbench(dir, name, tar, options.quick)
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

function roundsLine({ rounds, quick }: Options): string {
  const counted = rounds === 1 ? 'One round' : `Median of ${rounds} rounds (min–max)`
  return quick
    ? `${counted}, none before to warm up.`
    : `${counted}, after one round of every system to warm up, which is not counted.`
}

async function main(): Promise<void> {
  const options = parse(process.argv.slice(2))
  if (options.growth) return growth(options)
  if (options.write) placeInDocs(MARKER)
  await inPlace(() => rounds(options))
}

try {
  await main()
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\n${USAGE}` : error)
  process.exitCode = error instanceof UsageError ? 64 : 1
}
