import { dirname } from 'node:path'
import { z } from 'zod'
import type { Disk } from '../disk/index.ts'
import type { ServiceClass } from '../drives/index.ts'
import { DAY_MS } from './policy.ts'

const WHATS = [
  'began',
  'paused',
  'ended',
  'failed',
  'refused',
  'would',
  'settings',
  'by-hand',
] as const

/** One act of the policy, its end, or a refusal: a JSON line. */
export interface LogEntry {
  /** Wall clock, milliseconds since 1970. */
  readonly atMs: number
  /**
   * 'began' and 'ended' frame an act, with 'paused' where the daemon's restart is in between; 'refused' and 'would' (dry run)
   * changed nothing; 'by-hand' is a person's.
   */
  readonly what: (typeof WHATS)[number]
  /** 'prepare': a drive was made to stand ready. */
  readonly act: 'grow' | 'shrink' | 'prepare' | 'set'
  readonly class: ServiceClass | null
  /** Moved, or to be moved. */
  readonly drives: number
  /** How long it took; null where nothing was done. */
  readonly ms: number | null
  readonly why: string
  readonly numbers: Readonly<Record<string, number>>
}

const entryShape = z.strictObject({
  atMs: z.number(),
  what: z.enum(WHATS),
  act: z.enum(['grow', 'shrink', 'prepare', 'set']),
  class: z.literal([1, 2, 3]).nullable(),
  drives: z.number(),
  ms: z.number().nullable(),
  why: z.string(),
  numbers: z.record(z.string(), z.number()),
})

/** Two files of this size are kept: some thousands of acts. */
const FILE_BYTES_MAX = 1024 * 1024
/** What goes over to a new file is there to be counted: of its words so many go with it. */
const CARRIED_CHARS = 80
const COUNTED: ReadonlySet<LogEntry['what']> = new Set(['began', 'failed', 'by-hand'])
const NEWLINE = Buffer.from('\n')

/**
 * Why the policy did what it did, for a person, and for the policy itself, which counts its budget and learns how long a frame
 * takes. Lines are only ever added; a full file becomes `<path>.1`, in the place of the one before. A line that a crash has
 * torn is left out when reading.
 */
export class PolicyLog {
  readonly #disk: Disk
  readonly #path: string
  #entries: LogEntry[]

  constructor(disk: Disk, path: string) {
    this.#disk = disk
    this.#path = path
    this.#entries = [...readEntries(disk, `${path}.1`), ...readEntries(disk, path)]
    this.#entries.sort((a, b) => a.atMs - b.atMs)
  }

  /** The oldest first. */
  entries(): readonly LogEntry[] {
    return this.#entries
  }

  /** On stable storage when it returns. */
  add(entry: LogEntry): void {
    const line = Buffer.from(`${JSON.stringify(entry)}\n`)
    const bytes = this.#disk.stat(this.#path)?.bytes ?? 0
    if (bytes + line.length > FILE_BYTES_MAX) this.#rotate(entry.atMs)
    append(this.#disk, this.#path, line)
    this.#entries.push(entry)
  }

  /** What counts for the budget of a day goes over from the file that is dropped, before it is. */
  #rotate(nowMs: number): void {
    const dropped = readEntries(this.#disk, `${this.#path}.1`)
    const counted = dropped.filter(({ what, atMs }) => COUNTED.has(what) && nowMs - atMs < DAY_MS)
    const short = counted.map((entry) => ({
      ...entry,
      why: entry.why.slice(0, CARRIED_CHARS),
      numbers: {},
    }))
    const lines = short.map((entry) => `${JSON.stringify(entry)}\n`).join('')
    if (lines !== '') append(this.#disk, this.#path, Buffer.from(lines))
    this.#disk.rename(this.#path, `${this.#path}.1`)
    this.#entries = [...readEntries(this.#disk, `${this.#path}.1`)]
    this.#entries.sort((a, b) => a.atMs - b.atMs)
  }
}

function append(disk: Disk, path: string, line: Buffer): void {
  const isNew = !disk.exists(path)
  const handle = disk.open(path, 'create')
  try {
    const end = disk.size(handle)
    const last = Buffer.alloc(1)
    const isTorn = end > 0 && disk.read(handle, last, 0, 1, end - 1) === 1 && !last.equals(NEWLINE)
    const bytes = isTorn ? Buffer.concat([NEWLINE, line]) : line
    disk.write(handle, bytes, 0, bytes.length, end)
    disk.fdatasync(handle)
  } finally {
    disk.close(handle)
  }
  if (isNew) disk.fsyncDirectory(dirname(path))
}

function readEntries(disk: Disk, path: string): readonly LogEntry[] {
  if (!disk.exists(path)) return []
  const entries: LogEntry[] = []
  for (const line of disk.readFile(path).toString().split('\n')) {
    const entry = entryOf(line)
    if (entry) entries.push(entry)
  }
  return entries
}

/** Null for what is no entry: torn by a crash, or of a newer build. */
function entryOf(line: string): LogEntry | null {
  try {
    return entryShape.parse(JSON.parse(line))
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) return null
    throw error
  }
}
