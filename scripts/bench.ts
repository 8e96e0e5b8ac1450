/**
 * fsbench on the plain drive, on gocryptfs, and on weft's two kinds of mount, interleaved in one sitting: figures are only good side
 * by side. Every store is XFS on a loop device in memory, so that the programs are measured and not the one shared disk. Also the
 * floor: how fast weft looks up a missing name, beside a C loop that does nothing else. The table goes into docs/bench.md.
 *
 * weft is driven through its CLI alone. Everything stands under one directory and one name prefix, and is taken away at the end;
 * what a killed run left is taken away at the next start.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join, relative, resolve } from 'node:path'

const USAGE = `usage: bench [--rounds N] [--quick] [--only NAME[,NAME]] [--no-write]
  --rounds N   rounds of which the median counts (default 3)
  --quick      one round of less work; to see that it runs, not to compare
  --only       of plain, gocryptfs, weft (both mounts), namespace, exclusive
  --no-write   leave docs/bench.md alone; --quick and --only do so too`

const root = resolve(import.meta.dirname, '../..')
const weftProgram = join(root, 'dist/main.js')
const base = '/tmp/weft-bench'
const drivePrefix = '/dev/shm/weft-bench-'
const home = join(base, 'drive-weft/home')
const driveBytes = 4 * 1024 * 1024 * 1024
/** About what a source release has; shared/bench was measured with 2,365. */
const tarEntriesMax = 2300
const tarFileBytesMax = 64 * 1024

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
}

class UsageError extends Error {}

function parse(args: readonly string[]): Options {
  const options: Options = { rounds: 3, quick: false, write: true, contenders: CONTENDERS }
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]
    if (arg === '--rounds') {
      options.rounds = Number(args[++i])
      if (!Number.isInteger(options.rounds) || options.rounds < 1)
        throw new UsageError('--rounds needs a whole number above 0')
    } else if (arg === '--quick') {
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
    } else throw new UsageError(`unknown option ${arg}`)
  }
  return options
}

/** @throws with what the command printed */
function run(command: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: 120_000,
    env: { ...process.env, WEFT_BENCH: '1' },
  })
  if (status !== 0)
    throw new Error(
      `${command} ${args.join(' ')}: ${error?.message ?? stderr.trim() ?? `exit ${status}`}`,
    )
  return stdout
}

const weft = (...args: readonly string[]) =>
  run(process.execPath, weftProgram, '--home', home, ...args)

function drive(name: string): string {
  const image = `${drivePrefix}${name}`
  const dir = join(base, `drive-${name}`)
  mkdirSync(dir, { recursive: true })
  run('truncate', '-s', String(driveBytes), image)
  const device = run('losetup', '-f', '--show', image).trim()
  run('mkfs.xfs', '-q', '-f', device)
  // discard: what is deleted gives memory back.
  run('mount', '-o', 'discard', device, dir)
  return dir
}

/** Brings one contender up. @returns the directory to work in */
function bringUp(name: Contender): string {
  switch (name) {
    case 'plain':
      return drive('plain')
    case 'gocryptfs': {
      const cipher = join(drive('gocryptfs'), 'cipher')
      const dir = join(base, 'gocryptfs')
      mkdirSync(cipher)
      mkdirSync(dir)
      run('gocryptfs', '-q', '-init', '-scryptn', '10', '-extpass', 'echo pw', cipher)
      run('gocryptfs', '-q', '-extpass', 'echo pw', '-allow_other', cipher, dir)
      return dir
    }
    case 'namespace': {
      nodeUp()
      const dir = join(base, 'namespace')
      mkdirSync(dir)
      weft('volume', 'create', 'bench-namespace', '--size', '20G')
      weft('mount', dir)
      return join(dir, 'bench-namespace')
    }
    case 'exclusive': {
      nodeUp()
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

function nodeUp(): void {
  if (existsSync(home)) return
  drive('weft')
  mkdirSync(home, { mode: 0o700 })
  weft('up')
}

/** Mounts below our directory, innermost first. */
function ourMounts(): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((point) => point.startsWith(`${base}/`))
    .reverse()
}

function attempt(what: () => unknown): void {
  try {
    what()
  } catch (error) {
    console.log(`  while cleaning: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** Takes away all that stands, whichever run it is from. */
function tearDown(): void {
  if (existsSync(home)) attempt(() => weft('down'))
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    if (Number(pid) === process.pid) continue
    try {
      if (readFileSync(`/proc/${pid}/environ`, 'latin1').includes('WEFT_BENCH=1\0'))
        process.kill(Number(pid), 'SIGKILL')
    } catch {
      // gone, or a kernel thread
    }
  }
  for (const point of ourMounts()) attempt(() => run('umount', '-l', point))
  for (const line of run('losetup', '-nO', 'NAME,BACK-FILE').split('\n')) {
    const [device, file] = line.trim().split(/\s+/)
    if (device && file?.startsWith(drivePrefix)) attempt(() => run('losetup', '-d', device))
  }
  for (const name of readdirSync('/dev/shm'))
    if (join('/dev/shm', name).startsWith(drivePrefix)) rmSync(join('/dev/shm', name))
  // A directory that could not be unmounted must not be emptied through its mount.
  if (ourMounts().length === 0) rmSync(base, { recursive: true, force: true })
  else console.log(`  still mounted: ${ourMounts().join(' ')}`)
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
  const list = `${drivePrefix}list`
  const tar = `${drivePrefix}tree.tar`
  writeFileSync(list, entries.join('\n'))
  run('tar', 'cf', tar, '-C', from, '--no-recursion', '-T', list)
  return tar
}

type Figures = Record<string, number>

function fsbench(dir: string, name: Contender, tar: string, quick: boolean): Promise<Figures> {
  const sizes = quick ? { SIZE_MB: '64', FILES: '800' } : {}
  const child = spawn('/usr/bin/python3', [join(root, 'scripts/fsbench.py'), dir, name], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...sizes, TAR: tar, WEFT_BENCH: '1' },
  })
  return new Promise((done, fail) => {
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (piece: string) => {
      text += piece
    })
    child.on('error', fail)
    child.on('close', (code) => {
      if (code !== 0) return fail(new Error(`fsbench on ${name} ended with ${code}`))
      const { label: _, ...figures } = JSON.parse(text) as Figures & { label: unknown }
      done(figures)
    })
  })
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

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const high = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? high)) / 2
}

type Series = Partial<Record<Contender | 'floor', Figures[]>>

const valuesOf = (series: Series, name: Contender | 'floor', key: string): number[] =>
  (series[name] ?? []).map((figures) => figures[key]).filter((value) => value !== undefined)

function cell(values: readonly number[]): string {
  if (values.length === 0) return ''
  const text = Math.round(median(values)).toLocaleString('en')
  return values.length === 1
    ? text
    : `${text} (${Math.round(Math.min(...values)).toLocaleString('en')}–${Math.round(Math.max(...values)).toLocaleString('en')})`
}

/** Ratio of medians with its target: `1.23 ≥ 1 ✓`. */
function ratio(
  values: readonly number[],
  against: readonly number[],
  target: number | undefined,
): string {
  if (values.length === 0 || against.length === 0) return ''
  const got = median(values) / median(against)
  const text = got >= 10 ? got.toFixed(0) : got.toFixed(2)
  return target === undefined ? text : `${text} ≥ ${target} ${got >= target ? '✓' : '✗'}`
}

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

function printed(lines: readonly string[][]): string {
  const widths = (lines[0] ?? []).map((_, column) =>
    Math.max(...lines.map((line) => line[column]?.length ?? 0)),
  )
  return lines
    .map((line) =>
      line
        .map((text, i) => (i === 0 ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0)))
        .join('  '),
    )
    .join('\n')
}

function markdown(lines: readonly string[][]): string {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const [head = [], ...body] = lines
  return [row(head), row(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...body.map(row)].join(
    '\n',
  )
}

function sitting(rounds: number): string {
  const git = (...args: readonly string[]) =>
    execFileSync('git', ['-C', root, ...args], { encoding: 'utf8' }).trim()
  const changed = git('status', '--porcelain', '--untracked-files=no') === '' ? '' : ' with changes'
  return [
    `${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    `commit ${git('rev-parse', '--short', 'HEAD')}${changed}`,
    `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown CPU'}`,
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    `Linux ${release()}`,
    `Node ${process.version}`,
    run('gocryptfs', '-version').split(/[;\n]/)[0]?.trim() ?? 'gocryptfs',
    `median of ${rounds} rounds (min–max)`,
  ].join(' · ')
}

const BEGIN = '<!-- scripts/bench writes below -->'
const END = '<!-- scripts/bench writes above -->'

function writeDocs(lines: readonly string[][], floor: string, rounds: number): void {
  const path = join(root, 'docs/bench.md')
  const old = existsSync(path)
    ? readFileSync(path, 'utf8')
    : `# How fast\n\nMeasured by \`scripts/bench\`; figures are only good side by side, from one machine in one sitting.\n\n${BEGIN}\n${END}\n`
  const from = old.indexOf(BEGIN)
  const to = old.indexOf(END)
  if (from < 0 || to < from) throw new Error(`${path} has lost its markers: ${BEGIN} … ${END}`)
  const text = [sitting(rounds), markdown(lines), floor].filter((part) => part !== '').join('\n\n')
  writeFileSync(path, `${old.slice(0, from + BEGIN.length)}\n\n${text}\n\n${old.slice(to)}`)
  console.log(`\nwritten to ${relative(root, path)}`)
}

async function main(): Promise<void> {
  const options = parse(process.argv.slice(2))
  if (process.getuid?.() !== 0)
    throw new UsageError('bench needs root: it makes drives, mounts them and drops caches')
  refuseSecondRun()
  tearDown()
  mkdirSync(base, { recursive: true })
  writeFileSync(`${base}.pid`, String(process.pid))
  const stop = () => {
    tearDown()
    rmSync(`${base}.pid`, { force: true })
    process.exit(130)
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  try {
    const tar = makeTar()
    const dirs = new Map(options.contenders.map((name) => [name, bringUp(name)]))
    const series: Series = {}
    const floor = dirs.has('namespace') ? await raiseFloor() : undefined
    for (let round = 1; round <= options.rounds; round++) {
      for (const [name, dir] of dirs) {
        console.log(`round ${round} of ${options.rounds}: ${name}`)
        const figures = await fsbench(dir, name, tar, options.quick)
        if (floor && name === 'namespace') {
          const count = options.quick ? 5000 : 30_000
          const { daemon } = JSON.parse(weft('status', '--json')) as { daemon: { pid: number } }
          figures[KEY_MISSING] = statMissing(floor.program, dir, daemon.pid, count)
          const rate = statMissing(floor.program, floor.dir, floor.server.pid ?? 0, count)
          series.floor ??= []
          series.floor.push({ [KEY_MISSING]: rate })
        }
        const all = series[name] ?? []
        all.push(figures)
        series[name] = all
      }
    }
    const lines = table(series)
    const line = floorLine(series)
    console.log(`\n${printed(lines)}\n\n${line}`)
    if (options.write) writeDocs(lines, line, options.rounds)
  } finally {
    tearDown()
    rmSync(`${base}.pid`, { force: true })
  }
}

/** Two runs would measure each other, and clean each other away. */
function refuseSecondRun(): void {
  if (!existsSync(`${base}.pid`)) return
  const pid = readFileSync(`${base}.pid`, 'utf8').trim()
  try {
    if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('bench.js'))
      throw new UsageError(`process ${pid} is measuring already; wait for it, or end it`)
  } catch (error) {
    if (error instanceof UsageError) throw error
  }
}

try {
  await main()
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\n${USAGE}` : error)
  process.exitCode = error instanceof UsageError ? 64 : 1
}
