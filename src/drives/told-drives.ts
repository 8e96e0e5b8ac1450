import { FsError } from '../base/index.ts'
import type { Drive, DriveState } from './drive.ts'
import type { DriveWorld } from './open-drive.ts'
import { type LostDrive, openOr } from './open-each.ts'

/** A drive as the main thread has it. */
interface ToldDrive {
  /** Of the main thread's object, never given twice: a drive that went and came back is another. */
  readonly serial: number
  readonly dir: string
  readonly id: Drive['id']
  readonly state: DriveState
  readonly draining: boolean
  /** Why it fails, in words; '' of one that does not. */
  readonly why: string
}

interface Told {
  readonly number: number
  readonly drives: readonly ToldDrive[]
}

/** Int32: grows with each change, odd while one is written; then the length of the text. */
const NUMBER = 0
const LENGTH = 1
const TEXT_AT = 8
/** Paths of a thousand drives, however long. Pages that are never written to cost no memory. */
const SHARED_BYTES = 8 * 1024 * 1024
const WORDS_MAX = 500

/**
 * Which drives a node has, in memory that its threads share. The main thread alone tells; who looks for a chunk and does not
 * find it, or finds no room, looks here before it says so. Nobody is woken by it.
 */
export class ToldDrives {
  readonly buffer: SharedArrayBuffer
  readonly #cells: Int32Array
  readonly #bytes: Buffer
  readonly #serials = new WeakMap<Drive, number>()
  #lastSerial = 0

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(SHARED_BYTES)) {
    this.buffer = buffer
    this.#cells = new Int32Array(buffer, 0, 2)
    this.#bytes = Buffer.from(buffer)
  }

  /** @throws FsError E2BIG: then they are told as before */
  tell(drives: Iterable<Drive>): void {
    const told = [...drives].map((drive) => this.#told(drive))
    const text = Buffer.from(JSON.stringify(told))
    if (TEXT_AT + text.length > this.#bytes.length) {
      throw new FsError('E2BIG', 'drives', {
        message: `${told.length} drives have longer paths than a node can have; move some to shorter ones`,
      })
    }
    Atomics.add(this.#cells, NUMBER, 1)
    this.#cells[LENGTH] = text.length
    text.copy(this.#bytes, TEXT_AT)
    Atomics.add(this.#cells, NUMBER, 1)
  }

  /** Hot: one load. */
  get number(): number {
    return Atomics.load(this.#cells, NUMBER)
  }

  read(): Told {
    for (;;) {
      const { number } = this
      const text = this.#bytes.toString('utf8', TEXT_AT, TEXT_AT + (this.#cells[LENGTH] as number))
      if (number % 2 === 1 || this.number !== number) continue
      return { number, drives: text === '' ? [] : (JSON.parse(text) as ToldDrive[]) }
    }
  }

  #told(drive: Drive): ToldDrive {
    const { dir, id, state, draining, failure } = drive
    let serial = this.#serials.get(drive)
    if (serial === undefined) {
      serial = ++this.#lastSerial
      this.#serials.set(drive, serial)
    }
    const why = failure instanceof Error ? failure.message : 'it answered an error'
    return { serial, dir, id, state, draining, why: state === 'ok' ? '' : why.slice(0, WORDS_MAX) }
  }
}

/** This process was short of something, not the drive: it is opened at the next look. */
const PASSING = new Set(['EMFILE', 'ENFILE', 'ENOMEM'])

/**
 * One more thread's own objects of the drives that the main thread told. One that cannot be opened is left out: what is on it
 * alone answers EIO, and the others serve what they have.
 */
export class FollowedDrives {
  readonly #told: ToldDrives
  readonly #world: DriveWorld
  #number = -1
  #bySerial = new Map<number, Drive>()
  #lost: readonly LostDrive[] = []

  /** @param buffer of the main thread's ToldDrives */
  constructor(buffer: SharedArrayBuffer, world: DriveWorld = {}) {
    this.#told = new ToldDrives(buffer)
    this.#world = world
    this.look()
  }

  get drives(): readonly Drive[] {
    return [...this.#bySerial.values()]
  }

  /** Told, and not to be opened. One that was not for want of something in this process is none of them. */
  get lost(): readonly LostDrive[] {
    return this.#lost
  }

  /**
   * Have them as they were told last: one that begins to be emptied, or fails, gets nothing new from now on. Hot when nothing
   * was told since.
   * @returns the drives when some have come or gone, else null
   */
  look(): readonly Drive[] | null {
    if (this.#told.number === this.#number) return null
    const before = this.#bySerial
    const { number, drives: told } = this.#told.read()
    const now = new Map<number, Drive>()
    const lost: LostDrive[] = []
    for (const one of told) {
      const known = before.get(one.serial)
      if (!known && one.state === 'gone') continue
      const drive = known ?? openOr(one.dir, { id: one.id }, this.#world, lost)
      if (drive === null) continue
      now.set(one.serial, drive)
      obey(drive, one)
    }
    this.#bySerial = now
    this.#lost = lost.filter(({ error }) => !PASSING.has(error.code))
    this.#number = this.#lost.length < lost.length ? -1 : number
    const isSame = now.size === before.size && [...now.keys()].every((serial) => before.has(serial))
    return isSame ? null : this.drives
  }
}

function obey(drive: Drive, { dir, state, draining, why }: ToldDrive): void {
  drive.draining = draining
  if (state === 'ok') return
  drive.fail(new FsError(state === 'gone' ? 'ENODEV' : 'EIO', 'drive', { dir, message: why }))
}
