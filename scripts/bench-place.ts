/**
 * Where benchmarks work: drives (XFS on loop devices), a node of weft on one of them, and the end of it all. Everything stands under
 * one directory and one name prefix, and what is started has WEFT_BENCH in its environment, so that a run finds what a killed one left.
 */
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { basename, join, resolve } from 'node:path'

export const root = resolve(import.meta.dirname, '../..')
export const base = '/tmp/weft-bench'
/** Images of drives lie in memory, so that the programs are measured and not the one shared disk. */
export const memoryStore = '/dev/shm'

/** Name of the network namespace of programs that serve their drives over a network. */
export const network = 'weft-bench'

const program = join(root, 'dist/main.js')
const imagePrefix = 'weft-bench-'
const home = join(base, 'drive-weft/home')
const pidFile = `${base}.pid`
export const environment = { ...process.env, WEFT_BENCH: '1' }
/** Stopping a node that has much to write takes this long at most. */
const runMsMax = 600_000

export class UsageError extends Error {}

/** @throws with what the command printed */
export function run(command: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: runMsMax,
    env: environment,
  })
  if (status === 0) return stdout
  const why = error?.message ?? (stderr.trim() || `exit ${status}`)
  throw new Error(`${command} ${args.join(' ')}: ${why}`)
}

export const weft = (...args: readonly string[]) =>
  run(process.execPath, program, '--home', home, ...args)

/** A path for a file of this run beside the images of drives, in memory. */
export const inMemory = (name: string) => join(memoryStore, `${imagePrefix}${name}`)

/**
 * Makes and mounts a drive.
 * @param store directory of its image, which takes room only for what is written
 * @param options of mount(8); discard: what is deleted gives memory back
 */
export function makeDrive(
  name: string,
  bytes: number,
  store = memoryStore,
  options = 'discard',
): string {
  const image = join(store, `${imagePrefix}${name}`)
  const dir = join(base, `drive-${name}`)
  mkdirSync(dir, { recursive: true })
  run('truncate', '-s', String(bytes), image)
  const device = run('losetup', '-f', '--show', image).trim()
  run('mkfs.xfs', '-q', '-f', device)
  run('mount', '-o', options, device, dir)
  return dir
}

/** Starts a node on a drive of its own, unless it runs. @returns the drive's directory */
export function nodeUp(bytes: number, store = memoryStore): string {
  const dir = join(base, 'drive-weft')
  if (existsSync(home)) return dir
  makeDrive('weft', bytes, store)
  mkdirSync(home, { mode: 0o700 })
  weft('up')
  return dir
}

export function daemonPid(): number {
  return (JSON.parse(weft('status', '--json')) as { daemon: { pid: number } }).daemon.pid
}

/** Bytes in use on the filesystem of a directory. */
export function usedBytes(dir: string): number {
  const { blocks, bfree, bsize } = statfsSync(dir)
  return (blocks - bfree) * bsize
}

/** Mounts below our directory, innermost first. */
export function ourMounts(): string[] {
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
    const [device, image] = line.trim().split(/\s+/)
    if (!device || !image || !basename(image).startsWith(imagePrefix)) continue
    attempt(() => run('losetup', '-d', device))
    rmSync(image, { force: true })
  }
  for (const name of readdirSync(memoryStore))
    if (name.startsWith(imagePrefix)) rmSync(join(memoryStore, name))
  if (existsSync(`/run/netns/${network}`)) attempt(() => run('ip', 'netns', 'del', network))
  // A directory that could not be unmounted must not be emptied through its mount.
  if (ourMounts().length === 0) rmSync(base, { recursive: true, force: true })
  else console.log(`  still mounted: ${ourMounts().join(' ')}`)
}

/** Two runs would measure each other, and clean each other away. */
function refuseSecondRun(): void {
  if (!existsSync(pidFile)) return
  const pid = readFileSync(pidFile, 'utf8').trim()
  let line = ''
  try {
    line = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    // That run is gone; what it left is taken away now.
  }
  if (line.includes('bench.js'))
    throw new UsageError(`process ${pid} is measuring already; wait for it, or end it`)
}

/**
 * Does `work` in a clean place, and cleans up behind it, on Ctrl-C too.
 * @param clear takes away, before and behind the work, what stands elsewhere
 * @throws UsageError without root, or beside another run
 */
export async function inPlace(
  work: () => Promise<void>,
  clear: () => Promise<unknown> = async () => {},
): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new UsageError('bench needs root: it makes drives, mounts them and drops caches')
  refuseSecondRun()
  await clear()
  tearDown()
  mkdirSync(base, { recursive: true })
  writeFileSync(pidFile, String(process.pid))
  let ending: Promise<void> | null = null
  const cleanUp = async () => {
    try {
      await clear()
    } finally {
      tearDown()
      rmSync(pidFile, { force: true })
    }
  }
  // A signal often ends the work as well: both wait for the same end.
  const end = () => {
    ending ??= cleanUp()
    return ending
  }
  const stop = () => {
    end().then(
      () => process.exit(130),
      (error: unknown) => {
        console.error(error)
        process.exit(1)
      },
    )
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  try {
    await work()
  } finally {
    await end()
  }
}
