import { createHash } from 'node:crypto'
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Processes that write without pause while a node is killed under them. What step n did follows from name and n alone, so
 * that a count is enough to tell afterwards what must be there. Any call that fails ends the process with an error.
 */
export interface Kind {
  /** Step `n`, complete when it returns. */
  step(at: Writing, n: number): void
  /** @throws Error when what `steps` steps left is not there, or something else is */
  check(at: Writing, steps: number): void
}

export interface Writing {
  readonly dir: string
  readonly name: string
  /** Descriptors kept open over steps. */
  readonly fds: Map<string, number>
}

/** `length` bytes that follow from the words; another n gives other bytes everywhere. */
export function bytesOf(name: string, n: number, length: number): Buffer {
  return Buffer.alloc(length, createHash('sha512').update(`${name} ${n}`).digest())
}

/** A number below `below` that follows from name, n and use. */
export function numberOf(name: string, n: number, use: string, below: number): number {
  return createHash('md5').update(`${name} ${n} ${use}`).digest().readUInt32LE(0) % below
}

function fd(at: Writing, file: string, flags: number): number {
  let open = at.fds.get(file)
  if (open === undefined) {
    open = openSync(join(at.dir, file), flags, 0o644)
    at.fds.set(file, open)
  }
  return open
}

function put(fd: number, bytes: Buffer, offset: number | null): void {
  const n = writeSync(fd, bytes, 0, bytes.length, offset)
  if (n !== bytes.length) throw new Error(`short write: ${n} of ${bytes.length}`)
}

export function same(what: string, got: Buffer, want: Buffer): void {
  if (got.equals(want)) return
  let from = 0
  while (from < Math.min(got.length, want.length) && got[from] === want[from]) from += 1
  let wrong = 0
  for (let i = from; i < Math.max(got.length, want.length); i += 1) {
    if (got[i] !== want[i]) wrong += 1
  }
  const zeros = got.subarray(from, from + 64).every((byte) => byte === 0)
  throw new Error(
    `${what}: ${got.length} bytes, want ${want.length}; ${wrong} differ, the first at ${from}${zeros ? ', zeros there' : ''}`,
  )
}

const small: Kind = {
  step(at, n) {
    const file = openSync(join(at.dir, `${at.name}-${n}`), 'wx', 0o644)
    put(file, bytesOf(at.name, n, numberOf(at.name, n, 'size', 20_000) + 1), 0)
    if (n % 16 === 0) fsyncSync(file)
    closeSync(file)
    if (n % 3 === 2) unlinkSync(join(at.dir, `${at.name}-${n - 1}`))
  },
  check(at, steps) {
    const want = new Set<string>()
    for (let n = 0; n < steps; n += 1) {
      if (n % 3 === 1 && n + 1 < steps) continue
      want.add(`${at.name}-${n}`)
      const bytes = bytesOf(at.name, n, numberOf(at.name, n, 'size', 20_000) + 1)
      same(`${at.name}-${n}`, readFileSync(join(at.dir, `${at.name}-${n}`)), bytes)
    }
    const extra = readdirSync(at.dir).filter(
      (name) => name.startsWith(`${at.name}-`) && !want.has(name),
    )
    if (extra.length > 0) throw new Error(`${at.name}: not expected: ${extra.slice(0, 5)}`)
  },
}

const LOG_LINES = 100_000

/** All writers of this kind share their files; each moves on to the next after as many lines of its own. */
const append: Kind = {
  step(at, n) {
    const { O_APPEND, O_CREAT, O_WRONLY } = constants
    const line = `${at.name} ${n} ${'x'.repeat(n % 100)}\n`
    const log = `log${Math.floor(n / LOG_LINES)}`
    put(fd(at, log, O_APPEND | O_CREAT | O_WRONLY), Buffer.from(line), null)
  },
  check(at, steps) {
    let next = 0
    for (let log = 0; log * LOG_LINES < steps; log += 1) {
      const lines = readFileSync(join(at.dir, `log${log}`), 'latin1').split('\n')
      for (const line of lines) {
        if (!line.startsWith(`${at.name} `)) {
          if (line !== '' && !/^append\w* \d+ x*$/.test(line)) {
            throw new Error(`a line nobody wrote: ${JSON.stringify(line.slice(0, 80))}`)
          }
          continue
        }
        if (line !== `${at.name} ${next} ${'x'.repeat(next % 100)}`) {
          throw new Error(`${at.name}: line ${next} is ${JSON.stringify(line.slice(0, 80))}`)
        }
        next += 1
      }
      const until = Math.min(steps, (log + 1) * LOG_LINES)
      if (next !== until) throw new Error(`${at.name}: ${next} lines in log${log}, want ${until}`)
    }
  },
}

const STREAM_BLOCK = 256 * 1024
const STREAM_BLOCKS = 256

/** Large sequential files of 64 MiB. */
const stream: Kind = {
  step(at, n) {
    const file = `${at.name}-${Math.floor(n / STREAM_BLOCKS)}`
    const at0 = (n % STREAM_BLOCKS) * STREAM_BLOCK
    put(
      fd(at, file, constants.O_CREAT | constants.O_WRONLY),
      bytesOf(at.name, n, STREAM_BLOCK),
      at0,
    )
    if (n % STREAM_BLOCKS !== STREAM_BLOCKS - 1) return
    closeSync(at.fds.get(file) ?? -1)
    at.fds.delete(file)
    // Only the last two are kept: a longer run does not fill the drive.
    const old = `${at.name}-${Math.floor(n / STREAM_BLOCKS) - 2}`
    if (existsSync(join(at.dir, old))) unlinkSync(join(at.dir, old))
  },
  check(at, steps) {
    const last = Math.floor((steps - 1) / STREAM_BLOCKS)
    const block = Buffer.alloc(STREAM_BLOCK)
    for (let file = Math.max(0, last - 1); file <= last; file += 1) {
      const open = openSync(join(at.dir, `${at.name}-${file}`), 'r')
      try {
        const blocks = Math.min(STREAM_BLOCKS, steps - file * STREAM_BLOCKS)
        const { size } = fstatSync(open)
        if (size !== blocks * STREAM_BLOCK) {
          throw new Error(`${at.name}-${file}: ${size} bytes, want ${blocks * STREAM_BLOCK}`)
        }
        for (let i = 0; i < blocks; i += 1) {
          readSync(open, block, 0, STREAM_BLOCK, i * STREAM_BLOCK)
          const n = file * STREAM_BLOCKS + i
          same(`${at.name}-${file} block ${i}`, block, bytesOf(at.name, n, STREAM_BLOCK))
        }
      } finally {
        closeSync(open)
      }
    }
  },
}

const RANDOM_BYTES = 4 * 1024 * 1024

/** Writes at random places of one file, and truncates. */
const random: Kind = {
  step(at, n) {
    const file = fd(at, at.name, constants.O_CREAT | constants.O_RDWR)
    if (n % 64 === 63) {
      ftruncateSync(file, numberOf(at.name, n, 'cut', RANDOM_BYTES))
      return
    }
    const offset = numberOf(at.name, n, 'offset', RANDOM_BYTES - 8192)
    put(file, bytesOf(at.name, n, numberOf(at.name, n, 'length', 8192) + 1), offset)
    if (n % 50 === 0) fsyncSync(file)
  },
  check(at, steps) {
    const want = Buffer.alloc(RANDOM_BYTES)
    let size = 0
    for (let n = 0; n < steps; n += 1) {
      if (n % 64 === 63) {
        const cut = numberOf(at.name, n, 'cut', RANDOM_BYTES)
        if (cut < size) want.fill(0, cut, size)
        size = cut
        continue
      }
      const offset = numberOf(at.name, n, 'offset', RANDOM_BYTES - 8192)
      const bytes = bytesOf(at.name, n, numberOf(at.name, n, 'length', 8192) + 1)
      bytes.copy(want, offset)
      size = Math.max(size, offset + bytes.length)
    }
    same(at.name, readFileSync(join(at.dir, at.name)), want.subarray(0, size))
  },
}

const TARGETS = 8

/** Replaces files as editors do, and makes and removes directories. None of these calls may be executed twice. */
const rename: Kind = {
  step(at, n) {
    const path = (name: string) => join(at.dir, `${at.name}-${name}`)
    const fresh = openSync(path(`new-${n}`), 'wx', 0o644)
    put(fresh, bytesOf(at.name, n, 3000), 0)
    closeSync(fresh)
    renameSync(path(`new-${n}`), path(`target-${n % TARGETS}`))
    mkdirSync(path(`dir-${n}`))
    writeFileSync(join(path(`dir-${n}`), 'a'), `${n}`)
    renameSync(join(path(`dir-${n}`), 'a'), join(path(`dir-${n}`), 'b'))
    unlinkSync(join(path(`dir-${n}`), 'b'))
    renameSync(path(`dir-${n}`), path(`moved-${n}`))
    rmdirSync(path(`moved-${n}`))
  },
  check(at, steps) {
    const targets = Math.min(TARGETS, steps)
    for (let target = 0; target < targets; target += 1) {
      const last = steps - 1 - ((steps - 1 - target) % TARGETS)
      const path = join(at.dir, `${at.name}-target-${target}`)
      same(path, readFileSync(path), bytesOf(at.name, last, 3000))
    }
    const names = readdirSync(at.dir).filter((name) => name.startsWith(`${at.name}-`))
    if (names.length !== targets) throw new Error(`${at.name}: not expected among ${names}`)
  },
}

/** Files that are promised by fsync of file and parent; the count of steps outside is the manifest. */
const promised: Kind = {
  step(at, n) {
    const path = join(at.dir, `${at.name}-${n}`)
    const size = n % 10 === 9 ? 300_000 : numberOf(at.name, n, 'size', 30_000) + 1
    const file = openSync(path, 'wx', 0o644)
    put(file, bytesOf(at.name, n, size), 0)
    fsyncSync(file)
    closeSync(file)
    const parent = openSync(dirname(path), 'r')
    fsyncSync(parent)
    closeSync(parent)
  },
  check(at, steps) {
    for (let n = 0; n < steps; n += 1) {
      const size = n % 10 === 9 ? 300_000 : numberOf(at.name, n, 'size', 30_000) + 1
      same(
        `${at.name}-${n}`,
        readFileSync(join(at.dir, `${at.name}-${n}`)),
        bytesOf(at.name, n, size),
      )
    }
  },
}

const KINDS: Readonly<Record<string, Kind>> = { small, append, stream, random, rename, promised }

/** Name and number of a writer: `append2` is of kind append. */
export function kindOf(name: string): Kind {
  const kind = KINDS[name.replace(/\d+$/, '')]
  if (!kind) throw new Error(`no writer is called ${name}`)
  return kind
}

export const WRITER = fileURLToPath(import.meta.url)

/** Steps that a writer has completed; 0 before its first. */
export function stepsOf(progress: string): number {
  const text = existsSync(progress) ? readFileSync(progress, 'utf8') : ''
  return Number.parseInt(text, 10) || 0
}

/** As a program: `writers.js NAME DIR PROGRESS STOP`, until the file STOP is there. PROGRESS lies outside what is tested. */
function main(name: string, dir: string, progress: string, stop: string): void {
  const kind = kindOf(name)
  const at: Writing = { dir, name, fds: new Map() }
  const counter = openSync(progress, 'w')
  for (let n = 0; !existsSync(stop); n += 1) {
    kind.step(at, n)
    writeSync(counter, `${n + 1}`.padEnd(12), 0)
  }
}

if (process.argv[1] === WRITER) {
  const [name = '', dir = '', progress = '', stop = ''] = process.argv.slice(2)
  main(name, dir, progress, stop)
}
