/**
 * Runs test files so that only a test that ran and passed counts. uvu alone exits 0 when a hook throws, when `.run()` was
 * forgotten and when no file matched, and has no deadline (measured, house-style §5); so each file is one process with a
 * deadline and passes only with exit 0, Total > 0, Passed = Total and no process, mount, loop device, lab or network namespace left.
 *
 * The last line is `N passed, N failed` and nothing else. A file that breaks counts as one failed test.
 * Each file gets its own TMPDIR, a mark in the environment of its processes, and names for its labs by its pid: what it leaves
 * behind is found by these and laid at its door, whoever runs beside it. What bears none of them is looked for when no file runs.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'

const USAGE = `usage: run-tests [--all] [--only TIER[,TIER]] [--deadline SECONDS] [--list] [NAME… | FILE.js…]
  default          every test file but *.slow.test.ts
  --all            the slow ones too
  --only TIER      only files of these tiers: unit, disk, mount, net, netns, crash, slow, or any middle part of the name
  --deadline S     seconds a file may take (default 240); a line "// deadline: 600 s" at its head raises it
  --failed WHAT    a step before the tests that failed: counted as one failure
  --list           print the files and stop
  NAME             only files whose path contains one of the names; a path ending in .js runs as it stands
Files run two at a time beside others of their kind: unit and disk; netns; mount. All others run alone, and so does a file that has a line
"// alone: WHY" at its head, because it measures time or because of what it does to the machine.
What a test leaves in its own directories, or of its labs, is a failure and taken away. What appeared elsewhere meanwhile (mounts of weft,
loop devices, network namespaces) is a note, because others may use the machine; with WEFT_TEST_ALONE=1, as in CI, it is a failure too.`

/**
 * Which files run beside which, in this order; what is in no group runs alone. Files of unit and disk touch nothing of the machine but
 * their own temp dir. Hosts of a lab have namespaces of their own, and mostly wait: for leases, for terms, for each other. What
 * mount files mount is in their own temp dir, and a node tells who else has a copy of its mounts: so a lab, which has for a moment a
 * copy of every mount of the machine, must not come up beside them, nor one of them that makes a mount namespace. Crash files kill at
 * times that they measure, and a keeper holds back a daemon that dies before it has served for a second: they run alone.
 */
const GROUPS: readonly { readonly tiers: ReadonlySet<string>; readonly atOnce: number }[] = [
  { tiers: new Set(['unit', 'disk']), atOnce: 2 },
  { tiers: new Set(['netns']), atOnce: 2 },
  { tiers: new Set(['mount']), atOnce: 2 },
]
const DEADLINE_SECONDS = 240
/** A process that a test ended may need a moment to go; longer than this it was left behind. */
const LEFT_PROCESS_MS = 3000
/** Where labs of tests are, and their images: test/support/hosts.ts. Their names begin with the pid of the test. */
const LAB_DIRECTORIES = ['/run/weft-lab/', '/dev/shm/weft-lab-'] as const
/** Of a failing file's output at most so much is printed: its head and its end. */
const OUTPUT_BYTES_MAX = 256 * 1024

const root = resolve(import.meta.dirname, '../..')
const builtDir = resolve(import.meta.dirname, '..')

interface TestFile {
  readonly name: string
  readonly built: string
  /** The TypeScript source, absent only for a file given by hand that has none. */
  readonly source: string | undefined
  readonly tiers: readonly string[]
}

interface Verdict {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** Empty when the file is green. */
  readonly reasons: readonly string[]
  readonly output: string
  readonly seconds: number
}

interface Options {
  all: boolean
  only: string[]
  deadlineSeconds: number
  list: boolean
  failedBefore: string[]
  names: string[]
}

class UsageError extends Error {}

function parse(args: readonly string[]): Options {
  const options: Options = {
    all: false,
    only: [],
    deadlineSeconds: DEADLINE_SECONDS,
    list: false,
    failedBefore: [],
    names: [],
  }
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? ''
    if (arg === '--all') options.all = true
    else if (arg === '--list') options.list = true
    else if (arg === '--only') {
      const tiers = args[++i]
      if (!tiers) throw new UsageError('--only needs a tier')
      options.only.push(...tiers.split(','))
    } else if (arg === '--failed') {
      options.failedBefore.push(args[++i] ?? 'a step before')
    } else if (arg === '--deadline') {
      options.deadlineSeconds = Number(args[++i])
      if (!(options.deadlineSeconds > 0))
        throw new UsageError('--deadline needs a number of seconds')
    } else if (arg === '--help' || arg === '-h') {
      console.log(USAGE)
      process.exit(0)
    } else if (arg.startsWith('-')) throw new UsageError(`unknown option ${arg}`)
    else options.names.push(arg)
  }
  return options
}

/** `rename.mount.slow.test.ts` → mount, slow; without a middle part: unit. */
function tiersOf(path: string): string[] {
  const parts = basename(path).split('.').slice(1, -2)
  return parts.length === 0 ? ['unit'] : parts
}

/** Files below a folder of the project, as paths from its root. */
function walk(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? walk(path) : [path]
  })
}

/** Sources decide what is run: a file left in dist of a test that is gone is not a test. */
function findFiles(options: Options): TestFile[] {
  const given = options.names.filter((name) => name.endsWith('.js'))
  const names = options.names.filter((name) => !name.endsWith('.js'))
  const files: TestFile[] = given.map((path) => {
    const source = join(root, relative(builtDir, resolve(path))).replace(/\.js$/, '.ts')
    return {
      name: relative(root, resolve(path)),
      built: resolve(path),
      source: existsSync(source) ? source : undefined,
      tiers: tiersOf(path),
    }
  })
  if (given.length > 0 && names.length === 0) return files
  const chosen = walk('test')
    .filter((name) => name.endsWith('.test.ts'))
    .sort()
    .map((name) => ({
      name,
      built: join(builtDir, name).replace(/\.ts$/, '.js'),
      source: join(root, name),
      tiers: tiersOf(name),
    }))
    .filter((file) => names.length === 0 || names.some((name) => file.name.includes(name)))
    .filter((file) =>
      options.only.length > 0
        ? file.tiers.some((tier) => options.only.includes(tier)) &&
          (options.all || options.only.includes('slow') || !file.tiers.includes('slow'))
        : options.all || !file.tiers.includes('slow'),
    )
  return [...files, ...chosen]
}

/** The comments that a source begins with, line by line. */
function headOf(file: TestFile): string[] {
  if (!file.source) return []
  const lines = readFileSync(file.source, 'utf8').split('\n')
  return lines.slice(
    0,
    lines.findIndex((line) => !line.startsWith('//')),
  )
}

function deadlineSecondsOf(file: TestFile, otherwise: number): number {
  const stated = headOf(file)
    .map((line) => /^\/\/ deadline: (\d+) s/.exec(line)?.[1])
    .find(Boolean)
  return stated ? Math.max(otherwise, Number(stated)) : otherwise
}

const isAlone = (file: TestFile) => headOf(file).some((line) => line.startsWith('// alone: '))

/** Files that run beside each other, longest first so that the last ones end together; each that runs alone is by itself. */
function groupsOf(files: readonly TestFile[]): { files: TestFile[]; atOnce: number }[] {
  const left = new Set(files.filter((file) => !isAlone(file)))
  const together = GROUPS.map(({ tiers, atOnce }) => {
    const group = [...left].filter((file) => file.tiers.every((tier) => tiers.has(tier)))
    for (const file of group) left.delete(file)
    const seconds = new Map(group.map((file) => [file, deadlineSecondsOf(file, 0)]))
    group.sort((a, b) => (seconds.get(b) ?? 0) - (seconds.get(a) ?? 0))
    return { files: group, atOnce }
  })
  const alone = files.filter((file) => left.has(file) || isAlone(file))
  const groups = [...together, ...alone.map((file) => ({ files: [file], atOnce: 1 }))]
  return groups.filter((group) => group.files.length > 0)
}

/**
 * Why the built file cannot stand for its source; '' when it can. tsc leaves a file alone whose content it would not change, so a
 * source that git wrote anew may be younger than what it was built to: `dist/built` has the time at which the last whole build began.
 */
function notBuilt(file: TestFile): string {
  if (!existsSync(file.built)) return `${relative(root, file.built)} does not exist: npm run build`
  const whole = statSync(join(builtDir, 'built'), { throwIfNoEntry: false })?.mtimeMs ?? 0
  const built = Math.max(statSync(file.built).mtimeMs, whole)
  if (file.source && statSync(file.source).mtimeMs > built + 1)
    return `${relative(root, file.built)} is older than its source: npm run build`
  return ''
}

interface Machine {
  /** Directories of labs and of their images, and locks. */
  readonly labs: readonly string[]
  /** mount point → type, of mounts that could be weft's or a test's. */
  readonly mounts: ReadonlyMap<string, string>
  readonly loops: ReadonlyMap<string, string>
  readonly namespaces: readonly string[]
}

function lookAtMachine(): Machine {
  const mounts = new Map<string, string>()
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [before = '', after = ''] = line.split(' - ')
    const point = before.split(' ')[4]
    const type = after.split(' ')[0]
    if (point && type) mounts.set(unescapeOctal(point), type)
  }
  const loops = new Map<string, string>()
  for (const name of readdirSync('/sys/block').filter((device) => device.startsWith('loop'))) {
    try {
      const file = readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').trim()
      loops.set(`/dev/${name}`, file)
    } catch {
      // no file behind it: not in use
    }
  }
  const namespaces = existsSync('/run/netns') ? readdirSync('/run/netns') : []
  const labs = LAB_DIRECTORIES.flatMap((beginning) => {
    const directory = dirname(`${beginning}x`)
    const names = existsSync(directory) ? readdirSync(directory) : []
    return names.map((name) => `${directory}/${name}`).filter((path) => path.startsWith(beginning))
  })
  return { mounts, loops, labs, namespaces: namespaces.filter((name) => name.startsWith('weft')) }
}

/** mountinfo writes space, tab, newline and backslash as \ooo. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  )
}

interface Leak {
  readonly what: string
  readonly owned: boolean
  readonly undo: readonly string[]
}

/** What stands now and did not before. `isOwned` tells by a path or name whether it belongs to whom we ask about. */
function leaksSince(before: Machine, isOwned: (name: string) => boolean): Leak[] {
  const now = lookAtMachine()
  const leaks: Leak[] = []
  for (const [point, type] of now.mounts) {
    const owned = isOwned(point)
    if (before.mounts.has(point) || !(owned || type === 'fuse.weft')) continue
    leaks.push({ what: `mount ${point} (${type})`, owned, undo: ['umount', '-l', point] })
  }
  for (const [device, file] of now.loops) {
    const owned = isOwned(file)
    if (before.loops.get(device) === file || !(owned || file.includes('weft'))) continue
    leaks.push({ what: `loop device ${device} on ${file}`, owned, undo: ['losetup', '-d', device] })
  }
  for (const path of now.labs) {
    const owned = isOwned(path)
    if (before.labs.includes(path) || !owned) continue
    leaks.push({ what: `of a lab ${path}`, owned, undo: ['rm', '-r', path] })
  }
  for (const name of now.namespaces) {
    if (before.namespaces.includes(name)) continue
    leaks.push({
      what: `network namespace ${name}`,
      owned: isOwned(name),
      undo: ['ip', 'netns', 'del', name],
    })
  }
  // Innermost mounts and youngest devices first.
  return leaks.reverse()
}

function undo(leak: Leak): void {
  const [command = '', ...args] = leak.undo
  try {
    execFileSync(command, args, { stdio: 'ignore', timeout: 10_000 })
  } catch {
    console.log(`    could not undo: ${leak.undo.join(' ')}`)
  }
}

/** Processes that descend from one file, whatever group or session they moved to: they carry its mark in their environment. */
function processesOf(mark: string): number[] {
  const found: number[] = []
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue
    try {
      const environ = readFileSync(`/proc/${pid}/environ`, 'latin1')
      if (environ.includes(`WEFT_TEST_RUN=${mark}\0`) || environ.includes(`WEFT_TEST_RUN=${mark}>`))
        found.push(Number(pid))
    } catch {
      // gone, or a kernel thread
    }
  }
  return found
}

function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // gone by itself
    }
  }
}

const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms))

const running = new Set<ChildProcess>()

async function runFile(
  file: TestFile,
  runDir: string,
  index: number,
  deadlineSeconds: number,
): Promise<Verdict> {
  const started = performance.now()
  const unbuilt = notBuilt(file)
  if (unbuilt)
    return { passed: 0, failed: 1, skipped: 0, reasons: [unbuilt], output: '', seconds: 0 }

  const tmp = join(runDir, String(index))
  // A runner under test inside a test adds to the outer mark, so that the outer one finds all below it.
  const outer = process.env.WEFT_TEST_RUN
  const mark = `${outer ? `${outer}>` : ''}${basename(runDir)}/${index}`
  mkdirSync(tmp)
  // Tests also act as other users below it.
  chmodSync(tmp, 0o755)
  const outPath = join(runDir, `${index}.out`)
  const out = openSync(outPath, 'w')
  const before = lookAtMachine()
  const child = spawn(process.execPath, ['--enable-source-maps', file.built], {
    cwd: root,
    // Its own process group, so that the deadline ends its children as well.
    detached: true,
    stdio: ['ignore', out, out],
    env: { ...process.env, TMPDIR: tmp, WEFT_TEST_RUN: mark, NO_COLOR: '1', FORCE_COLOR: '0' },
  })
  closeSync(out)
  running.add(child)
  let late = false
  const timer = setTimeout(() => {
    late = true
    endGroup(child)
  }, deadlineSeconds * 1000)
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((done) => {
    child.on('exit', (exitCode, exitSignal) => done([exitCode, exitSignal]))
    child.on('error', () => done([null, null]))
  })
  clearTimeout(timer)
  running.delete(child)

  const reasons: string[] = []
  let left = processesOf(mark)
  if (!late) {
    const untilMs = performance.now() + LEFT_PROCESS_MS
    while (left.length > 0 && performance.now() < untilMs) {
      await sleep(50)
      left = processesOf(mark)
    }
    for (const pid of left) reasons.push(`left a process behind: ${pid} ${commandLine(pid)}`)
  }
  killAll(left)
  const labs = LAB_DIRECTORIES.map((beginning) => `${beginning}test-${child.pid}-`)
  const isOwned = (name: string) =>
    name === tmp || [`${tmp}/`, ...labs].some((beginning) => name.startsWith(beginning))
  for (const leak of leaksSince(before, isOwned)) {
    if (!leak.owned) continue
    if (!late) reasons.push(`left behind: ${leak.what}`)
    undo(leak)
  }

  const output = readOutput(outPath)
  const seen = judge(output, code)
  if (late) reasons.push(`took longer than ${deadlineSeconds} s`)
  else if (signal) reasons.push(`ended by ${signal}`)
  else if (code !== 0) reasons.push(`exit ${code}`)
  reasons.push(...seen.reasons)
  removeTree(tmp)
  rmSync(outPath, { force: true })
  const failedTests = seen.total - seen.passed
  return {
    passed: seen.passed,
    failed: reasons.length > 0 ? Math.max(1, failedTests) : 0,
    skipped: seen.skipped,
    reasons,
    output,
    seconds: (performance.now() - started) / 1000,
  }
}

/** What uvu said about itself at the end of its output. */
function judge(
  output: string,
  exitCode: number | null,
): { passed: number; total: number; skipped: number; reasons: string[] } {
  const numbers = (label: string) =>
    [...output.matchAll(new RegExp(`^ {2}${label}: +(\\d+)$`, 'gm'))].map((match) =>
      Number(match[1]),
    )
  const [total, ...more] = numbers('Total')
  const [passed] = numbers('Passed')
  const [skipped = 0] = numbers('Skipped')
  if (total === undefined || passed === undefined) {
    const reasons = ['ended without a summary: it exited early, or .run() was forgotten']
    return { passed: 0, total: 0, skipped, reasons }
  }
  const reasons: string[] = []
  if (more.length > 0) reasons.push('printed more than one summary: .run() was called too late')
  if (total === 0) reasons.push('ran no test')
  if (passed !== total) reasons.push(`${total - passed} of ${total} tests failed`)
  if (passed !== total && exitCode === 0)
    reasons.push('uvu itself took this for a success: a hook threw; set up inside the test instead')
  return { passed, total, skipped, reasons }
}

function readOutput(path: string): string {
  const text = readFileSync(path, 'utf8')
  if (text.length <= OUTPUT_BYTES_MAX) return text
  const half = OUTPUT_BYTES_MAX / 2
  return `${text.slice(0, half)}\n… ${text.length - 2 * half} characters left out …\n${text.slice(-half)}`
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      .replaceAll(/[\0\n]+/g, ' ')
      .trim()
      .slice(0, 160)
  } catch {
    return ''
  }
}

/** Immutable flags or a mount that would not go can keep a tree; that is no reason to lose the verdict. */
function removeTree(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true })
  } catch (error) {
    console.log(`    could not remove ${path}: ${String(error)}`)
  }
}

function endGroup(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // gone already
  }
}

function report(file: TestFile, verdict: Verdict): void {
  const word = verdict.reasons.length === 0 ? 'ok  ' : 'FAIL'
  const skipped = verdict.skipped > 0 ? `, ${verdict.skipped} skipped` : ''
  const seconds = verdict.seconds.toFixed(1).padStart(6)
  console.log(`${word} ${seconds} s  ${file.name}  ${verdict.passed} passed${skipped}`)
  if (verdict.reasons.length === 0) return
  for (const reason of verdict.reasons) console.log(`    ${reason}`)
  if (verdict.output) console.log(verdict.output.replace(/^/gm, '    | ').trimEnd())
}

async function main(): Promise<number> {
  const options = parse(process.argv.slice(2))
  const files = findFiles(options)
  if (options.list) {
    for (const file of files) console.log(file.name)
    return 0
  }
  if (files.length === 0) {
    console.log('no test file matches: that is a failure, not a success')
    console.log('0 passed, 1 failed')
    return 1
  }
  const runDir = mkdtempSync(join(process.env.TMPDIR ?? '/tmp', 'weft-'))
  chmodSync(runDir, 0o755)
  const before = lookAtMachine()
  // Test harnesses put the run's name (WEFT_TEST_RUN) into names that are no paths below TMPDIR.
  const isOwned = (name: string) => name.includes(basename(runDir))
  let passed = 0
  let failed = options.failedBefore.length
  let skipped = 0
  const startedMs = performance.now()
  const stop = () => {
    for (const child of running) endGroup(child)
    for (const leak of leaksSince(before, isOwned)) if (leak.owned) undo(leak)
    removeTree(runDir)
    console.log('interrupted')
    process.exit(130)
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  try {
    const indexes = new Map(files.map((file, index) => [file, index]))
    const run = async (file: TestFile) => {
      const verdict = await runFile(
        file,
        runDir,
        indexes.get(file) ?? 0,
        deadlineSecondsOf(file, options.deadlineSeconds),
      )
      passed += verdict.passed
      failed += verdict.failed
      skipped += verdict.skipped
      report(file, verdict)
    }
    for (const group of groupsOf(files)) {
      const before = lookAtMachine()
      const queue = [...group.files]
      const lane = async () => {
        for (let file = queue.shift(); file; file = queue.shift()) await run(file)
      }
      await Promise.all(Array.from({ length: group.atOnce }, lane))
      for (const leak of leaksSince(before, isOwned)) {
        const ours = leak.owned || process.env.WEFT_TEST_ALONE === '1'
        const [one, ...more] = group.files.map(({ name }) => name)
        const who =
          more.length === 0 ? one : `${group.files.length} files, ${one} to ${more.at(-1)}`
        console.log(`${ours ? 'FAIL' : 'note'} still standing after ${who}: ${leak.what}`)
        if (ours) {
          failed++
          undo(leak)
        } else
          console.log(
            `    not under ${runDir}, so left alone; if it is yours: ${leak.undo.join(' ')}`,
          )
      }
    }
  } finally {
    removeTree(runDir)
  }
  for (const step of options.failedBefore) console.log(`FAIL before the tests: ${step}`)
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(0)
  console.log(
    `\n${files.length} files, ${seconds} s${skipped > 0 ? `, ${skipped} tests skipped` : ''}`,
  )
  console.log(`${passed} passed, ${failed} failed`)
  return failed > 0 ? 1 : 0
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(`${error.message}\n${USAGE}`)
  process.exitCode = 64
}
