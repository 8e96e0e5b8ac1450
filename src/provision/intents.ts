import { z } from 'zod'
import { assert, CorruptError, type DriveId, FsError } from '../base/index.ts'
import type { Disk } from '../disk/index.ts'
import type { ServiceClass } from '../drives/index.ts'

/** Version of the file. */
const FORMAT = 1
/** An entry is under 2 KiB, and a node has some dozens. */
const FILE_BYTES_MAX = 4 * 1024 * 1024
/** Of what went wrong. */
const ERROR_CHARS_MAX = 1000

/** What is about to be done, or was begun. In this order on the way in … */
export const STEPS_IN = ['reserve', 'attach', 'ready', 'wait', 'make', 'settled'] as const
/** … and on the way out. */
export const STEPS_OUT = [
  'drain',
  'verify',
  'takeOut',
  'deleteDevice',
  'detach',
  'release',
  'forget',
] as const
/** The appliance does the next step only with the server off: a person's word is waited for. */
export const NEEDS_POWER_OFF = 'needs-power-off'

const text = z.string().max(4096)
const shape = z.strictObject({
  tag: z.string().regex(/^weft-[0-9a-f]{12}-[0-9a-f]{12}-[0-9a-f]{12}$/),
  place: text,
  name: text,
  class: z.literal([1, 2, 3]),
  serial: text,
  wwid: text,
  sizeBytes: z.int().min(0),
  towards: z.enum(['in', 'ready', 'out']),
  step: z.enum([...STEPS_IN, ...STEPS_OUT, NEEDS_POWER_OFF]),
  driveId: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .nullable(),
  sinceMs: z.int().min(0),
  doubtUntilMs: z.int().min(0).nullable(),
  why: text,
  lastError: text,
})
const fileShape = z.strictObject({ version: z.literal(FORMAT), allocations: z.array(shape) })

/** One drive on its way in, in use, or on its way out. */
export interface Allocation {
  readonly tag: string
  /** As the provisioner names it. */
  readonly place: string
  /** For a person. */
  readonly name: string
  readonly class: ServiceClass
  readonly serial: string
  readonly wwid: string
  readonly sizeBytes: number
  /**
   * `in`: to be a drive here; `ready`: to be before this host and wait there, untouched, until one is wanted, for where the
   * appliance attaches only with the server off; `out`: to be free again.
   */
  readonly towards: 'in' | 'ready' | 'out'
  readonly step: (typeof STEPS_IN)[number] | (typeof STEPS_OUT)[number] | typeof NEEDS_POWER_OFF
  /** On disk before it is formatted, for it is the filesystem's UUID; null as long as nothing of weft can be on it. */
  readonly driveId: DriveId | null
  /** When the way it is on began; milliseconds since 1970. */
  readonly sinceMs: number
  /**
   * A reserve was asked for whose answer nobody has: until then the appliance may still carry it out, so the tag must not be
   * forgotten though nothing is held under it. Null when every answer came.
   */
  readonly doubtUntilMs: number | null
  readonly why: string
  /** '' when the last try went well. */
  readonly lastError: string
}

/**
 * What this node is doing with the drives of a frame, written down before it is done: one file, one entry for each tag, from
 * before the drive is reserved until after it is free again. Each change is on stable storage when the call returns; when it
 * throws, nothing has changed.
 */
export class Intents {
  readonly #disk: Disk
  readonly #path: string
  #allocations: ReadonlyMap<string, Allocation>

  private constructor(disk: Disk, path: string, allocations: readonly Allocation[]) {
    this.#disk = disk
    this.#path = path
    this.#allocations = new Map(allocations.map((one) => [one.tag, one]))
  }

  /**
   * @param path its directory is there; without the file nothing is under way
   * @throws FsError ENOTSUP for a file of a newer build · CorruptError for a damaged one
   */
  static open(disk: Disk, path: string): Intents {
    const allocations = disk.exists(path) ? decode(disk.readFile(path, FILE_BYTES_MAX), path) : []
    return new Intents(disk, path, allocations)
  }

  /** In order of beginning. */
  all(): readonly Allocation[] {
    return [...this.#allocations.values()]
  }

  get(tag: string): Allocation | null {
    return this.#allocations.get(tag) ?? null
  }

  add(allocation: Allocation): void {
    assert(!this.#allocations.has(allocation.tag), 'a tag is used once')
    this.#write(new Map(this.#allocations).set(allocation.tag, allocation))
  }

  change(tag: string, change: Partial<Omit<Allocation, 'tag'>>): Allocation {
    const before = this.#allocations.get(tag)
    assert(before !== undefined, 'an allocation that changes is there')
    const lastError = (change.lastError ?? before.lastError).slice(0, ERROR_CHARS_MAX)
    const after = { ...before, ...change, lastError }
    this.#write(new Map(this.#allocations).set(tag, after))
    return after
  }

  forget(tag: string): void {
    const rest = new Map(this.#allocations)
    assert(rest.delete(tag), 'an allocation that is forgotten is there')
    this.#write(rest)
  }

  #write(allocations: ReadonlyMap<string, Allocation>): void {
    const file = { version: FORMAT, allocations: [...allocations.values()] }
    this.#disk.replaceFile(this.#path, Buffer.from(`${JSON.stringify(file, null, 1)}\n`))
    this.#allocations = allocations
  }
}

function decode(bytes: Buffer, path: string): readonly Allocation[] {
  const damaged = (what: string, cause?: unknown) =>
    new CorruptError(
      `${path}: ${what}, so nothing is taken from the frame or given back; put it back from a backup, or move it away: \`weft synergy reconcile\` then finds the drives in use by their tags, and lists what else is held`,
      { path },
      cause,
    )
  let value: unknown
  try {
    value = JSON.parse(bytes.toString())
  } catch (error) {
    throw damaged('not JSON', error)
  }
  const { version } = (value ?? {}) as { version?: unknown }
  if (typeof version === 'number' && version > FORMAT) {
    throw new FsError('ENOTSUP', 'provision.open', {
      path,
      message: `${path}: written by a newer weft (version ${version}, this build reads ${FORMAT}): run that build`,
    })
  }
  const parsed = fileShape.safeParse(value)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw damaged(`damaged at ${issue?.path.join('.') || 'its head'}: ${issue?.message ?? ''}`)
  }
  const tags = new Set(parsed.data.allocations.map(({ tag }) => tag))
  if (tags.size < parsed.data.allocations.length) throw damaged('a tag stands in it twice')
  return parsed.data.allocations as Allocation[]
}
