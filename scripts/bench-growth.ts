/**
 * What becomes of weft as a directory, its memory and a file's extents grow: `scripts/bench --growth`. Everything is on the namespace
 * mount; ratios are to weft itself when it is small or fresh.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { base, daemonPid, inPlace, nodeUp, usedBytes, weft } from './bench-place.ts'
import { cell, markdown, placeInDocs, ratio, sitting, whole, writeDocs } from './bench-text.ts'
import { python } from './bench-work.ts'

export interface GrowthOptions {
  /** In one directory; at least 20,000, because rates are of 10,000 each. */
  readonly files: number
  /** Size of the file that is written at random; whole MiB. */
  readonly scatteredBytes: number
  /** Directory of the drive's image. */
  readonly store: string
  readonly write: boolean
}

const MARKER = 'scripts/bench --growth'
const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB

// What issue 2 asks.
const CREATE_RATIO = 0.8
const READ_RATIO = 0.8
const IDLE_BYTES_MAX = 150 * MIB
const TOUCHED_BYTES_MAX = 400 * MIB
/** `ls -f` keeps a buffer, the daemon a page of names: a million names would be more than this in either. */
const LIST_BYTES_MAX = 64 * MIB

/** Of the drive: for a file's journal records, index and checkpoints, with room. */
const BYTES_PER_FILE = 6 * KIB
/** Old and new bytes of the scattered file, and what reclaim is about to give back. */
const SCATTERED_COPIES = 4

/** Created first, in another directory: else number 10,000 is slow because the code is not compiled yet, and any end looks good. */
const WARM_FILES = 20_000
const SETTLE_MS = 5000
/** Reclaim has come to rest when in so long the daemon used next to no CPU and the drive's use stayed. */
const QUIET_MS = 10_000
const QUIET_MS_MIN = 20_000
const QUIET_MS_MAX = 1_800_000
const QUIET_CPU_MS = 500

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms))

interface Memory {
  /** Heap, stacks, buffers: what cannot be given back. */
  readonly anonymous: number
  readonly rss: number
  /** Of rss: pages of LMDB files, which are page cache that happens to be mapped. */
  readonly view: number
}

/** @throws when a kernel of another kind does not give the figure */
function bytesOf(text: string, key: string): number {
  const kib = new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]
  if (kib === undefined) throw new Error(`/proc does not tell ${key}`)
  return KIB * Number(kib)
}

function memoryOf(pid: number): Memory {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  // One block a mapping: a line with its path, then lines of figures.
  const views = readFileSync(`/proc/${pid}/smaps`, 'utf8')
    .split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
    .filter((block) => /\.mdb(?: \(deleted\))?$/.test(block.slice(0, block.indexOf('\n'))))
  return {
    anonymous: bytesOf(rollup, 'Anonymous'),
    rss: bytesOf(rollup, 'Rss'),
    view: views.reduce((sum, block) => sum + bytesOf(block, 'Rss'), 0),
  }
}

/** The most anonymous memory while `work` goes on, looked at each second. */
async function withPeak<T>(pid: number, work: Promise<T>): Promise<[T, number]> {
  let peak = 0
  const look = () => {
    peak = Math.max(peak, bytesOf(readFileSync(`/proc/${pid}/status`, 'utf8'), 'RssAnon'))
  }
  const timer = setInterval(look, 1000)
  try {
    const answer = await work
    look()
    return [answer, peak]
  } finally {
    clearInterval(timer)
  }
}

function cpuMs(pid: number): number {
  // Fields behind the name, which may hold blanks: user and system time in ticks of 10 ms.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return 10 * (Number(fields[11]) + Number(fields[12]))
}

/** Waits until reclaim has come to rest. @returns seconds waited, and whether it did come to rest */
async function untilQuiet(
  pid: number,
  drive: string,
): Promise<{ seconds: number; quiet: boolean }> {
  const since = performance.now()
  for (;;) {
    const before = { cpu: cpuMs(pid), used: usedBytes(drive) }
    await sleep(QUIET_MS)
    const waited = performance.now() - since
    const moved = Math.abs(usedBytes(drive) - before.used) > before.used / 100
    const quiet = !moved && cpuMs(pid) - before.cpu < QUIET_CPU_MS && waited >= QUIET_MS_MIN
    if (quiet || waited > QUIET_MS_MAX) return { seconds: Math.round(waited / 1000), quiet }
  }
}

type Line = [what: string, figure: string, wanted: string]

const mib = (bytes: number) => `${whole(bytes / MIB)} MiB`
const below = (bytes: number, most: number) =>
  `${mib(bytes)} < ${mib(most)} ${bytes < most ? '✓' : '✗'}`

function memoryLine(what: string, memory: Memory, most: number, peak = memory.anonymous): Line {
  const peakText = peak > memory.anonymous ? ` (most: ${mib(peak)})` : ''
  return [
    `daemon's memory, ${what}`,
    `${mib(memory.anonymous)}${peakText} anonymous; ${mib(memory.rss)} resident, of it ${mib(memory.view)} mapped view`,
    below(Math.max(memory.rss - memory.view, peak), most),
  ]
}

interface Created {
  readonly early_per_s: number
  readonly last_per_s: number
  readonly seconds: number
}

interface Listed {
  readonly entries: number
  readonly seconds: number
  readonly first_ms: number
  readonly ls_bytes: number
  readonly daemon_growth_bytes: number
}

/** One directory with many files. */
async function directory(mount: string, pid: number, files: number): Promise<Line[]> {
  const dir = join(mount, 'growth/many')
  const warm = join(mount, 'growth/warm')
  for (const made of [dir, warm]) mkdirSync(made)
  console.log(`creating ${whole(WARM_FILES)} files elsewhere, to warm up`)
  await python('fsgrowth.py', ['create', warm, String(WARM_FILES)])
  const count = String(files)
  console.log(`creating ${whole(files)} files`)
  const [created, peak] = await withPeak(pid, python('fsgrowth.py', ['create', dir, count]))
  const { early_per_s, last_per_s, seconds } = created as Created
  console.log('listing them')
  const listed = (await python('fsgrowth.py', ['list', dir, String(pid)])) as Listed
  if (listed.entries !== files)
    throw new Error(`ls -f gave ${listed.entries} names of ${files} files`)
  console.log('looking at each')
  const [, statPeak] = await withPeak(pid, python('fsgrowth.py', ['stat', dir, count]))
  const listBytes = Math.max(listed.ls_bytes, listed.daemon_growth_bytes)
  return [
    [
      `create empty files, number 5,000 to 15,000 against the last 10,000 of ${whole(files)}`,
      `${whole(early_per_s)} against ${whole(last_per_s)}/s; all in ${whole(seconds)} s`,
      ratio([last_per_s], [early_per_s], CREATE_RATIO),
    ],
    [
      `ls -f of ${whole(files)} files, cold`,
      `${whole(listed.entries / listed.seconds)} entries/s, the first after ${whole(listed.first_ms)} ms; ls has ${mib(listed.ls_bytes)}, the daemon grows by ${mib(listed.daemon_growth_bytes)}`,
      below(listBytes, LIST_BYTES_MAX),
    ],
    memoryLine(
      `${whole(files)} files created, listed and looked at`,
      memoryOf(pid),
      TOUCHED_BYTES_MAX,
      Math.max(peak, statPeak),
    ),
  ]
}

/** One file, read fresh, written all over at random, and read again. */
async function scattered(
  mount: string,
  drive: string,
  pid: number,
  bytes: number,
): Promise<Line[]> {
  const file = join(mount, 'growth/scattered')
  const read = async () =>
    ((await python('fsgrowth.py', ['read', file])) as { MiBps: number[] }).MiBps
  console.log(`writing a file of ${mib(bytes)}, reading it`)
  await python('fsgrowth.py', ['write', file, String(bytes / MIB)])
  await untilQuiet(pid, drive)
  const freshBytes = usedBytes(drive)
  const fresh = await read()
  console.log('writing it at random')
  const { per_s } = (await python('fsgrowth.py', ['scatter', file])) as { per_s: number }
  const fullBytes = usedBytes(drive)
  console.log('waiting for reclaim')
  const { seconds, quiet } = await untilQuiet(pid, drive)
  const after = await read()
  return [
    [
      `sequential read of ${mib(bytes)}, cold: fresh, and after ${whole(bytes / 4096)} random 4-KiB writes`,
      `${cell(fresh)} and ${cell(after)} MiB/s; writes ${whole(per_s)}/s`,
      ratio(after, fresh, READ_RATIO),
    ],
    [
      `drive's use: fresh, behind the writes, after reclaim`,
      `${mib(freshBytes)}, ${mib(fullBytes)}, ${mib(usedBytes(drive))}`,
      quiet ? `quiet after ${whole(seconds)} s` : `not quiet after ${whole(seconds)} s ✗`,
    ],
  ]
}

export async function growth(options: GrowthOptions): Promise<void> {
  const { files, scatteredBytes, store, write } = options
  if (write) placeInDocs(MARKER)
  const driveBytes = GIB + files * BYTES_PER_FILE + SCATTERED_COPIES * scatteredBytes
  await inPlace(async () => {
    const drive = nodeUp(driveBytes, store)
    const mount = join(base, 'namespace')
    mkdirSync(mount)
    weft('mount', mount)
    const pid = daemonPid()
    await sleep(SETTLE_MS)
    const idle = memoryLine('idle, no volume', memoryOf(pid), IDLE_BYTES_MAX)
    weft('volume', 'create', 'growth', '--size', String(GIB + 2 * scatteredBytes))
    const lines: Line[] = [
      ['what', 'measured', 'to reach'],
      idle,
      ...(await directory(mount, pid, files)),
      ...(await scattered(mount, drive, pid, scatteredBytes)),
    ]
    if (daemonPid() !== pid) throw new Error('the daemon was started anew meanwhile: see its log')
    for (const [what, figure, wanted] of lines.slice(1))
      console.log(`\n${what}\n  ${figure}\n  ${wanted}`)
    if (write) writeDocs(MARKER, [sitting(), markdown(lines, 3)])
  })
}
