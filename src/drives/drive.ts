import { join } from 'node:path'
import {
  assert,
  type Clock,
  codeOf,
  type DriveId,
  FsError,
  limits,
  type VolumeId,
} from '../base/index.ts'
import type { DriveFiles } from './drive-files.ts'
import { type DriveKind, type DriveLabel, LABEL_NAME, type ServiceClass } from './label.ts'
import { readLabel } from './read-label.ts'

/** 'failing': it answered an error and gets nothing new; 'gone': it does not answer at all. */
export type DriveState = 'ok' | 'failing' | 'gone'

/** Stands at the top of a drive that is being emptied. */
export const DRAINING_NAME = 'draining'

/** statfs is asked again after this long: cheap (2 µs), but not per write. */
const SPACE_MS_MAX = 250
/** Nearer to the headroom than this many headrooms, every question asks statfs: other threads and programs write too. */
const NEARLY_FULL_HEADROOMS = 4
/** A drive under 1 GiB keeps this part of itself instead of limits.driveHeadroomBytes. */
const SMALL_DRIVE_PART = 16

/**
 * One drive, open. Each thread has its own object; `fail` is told to the opener (`onFail`), who
 * tells the other threads. Bytes of puts in flight are set aside by `reserve`, so that several of
 * them cannot all be promised the last free megabyte. `returned` is called by the opener on each
 * thread's object.
 */
export class Drive {
  readonly id: DriveId
  readonly dir: string
  readonly cos: ServiceClass
  readonly kind: DriveKind
  readonly label: DriveLabel
  /** Running credit of pickDrive's weighted round robin. */
  credit = 0
  /**
   * It is being emptied: what it holds is read and deleted as ever, and nothing new goes to it. Known from the mark on it when it
   * is opened; from then on the opener says so to each thread's object.
   */
  draining: boolean
  /**
   * Volumes whose journal on it counts no more, which could not be marked there: it is on another drive, or on its way. Filled
   * by the opener.
   */
  readonly givenUp = new Set<VolumeId>()
  readonly #files: DriveFiles
  readonly #clock: Clock
  readonly #onFail: ((drive: Drive, error: unknown) => void) | null
  #device: number
  #state: DriveState = 'ok'
  #failure: unknown = null
  #freeBytes = 0
  #totalBytes = 0
  #reservedBytes = 0
  /** Who waits for the last put under way. */
  readonly #awaiting: (() => void)[] = []
  #measuredMs = Number.NEGATIVE_INFINITY

  constructor(
    dir: string,
    label: DriveLabel,
    files: DriveFiles,
    clock: Clock,
    onFail: ((drive: Drive, error: unknown) => void) | null,
  ) {
    this.id = label.id
    this.dir = dir
    this.cos = label.class
    this.kind = label.kind
    this.label = label
    this.draining = files.exists(join(dir, DRAINING_NAME))
    this.#device = files.device(dir)
    this.#files = files
    this.#clock = clock
    this.#onFail = onFail
  }

  /** st_dev of its filesystem: directories on one filesystem share its space. */
  get device(): number {
    return this.#device
  }

  get state(): DriveState {
    return this.#state
  }

  /** The first error given to `fail`, null while the drive is ok. */
  get failure(): unknown {
    return this.#failure
  }

  /** Bytes a put may still take, puts in flight deducted; the headroom is part of it. 0 when gone. */
  freeBytes(): number {
    this.#measure()
    return Math.max(0, this.#freeBytes - this.#reservedBytes)
  }

  totalBytes(): number {
    this.#measure()
    return this.#totalBytes
  }

  /** Free bytes kept for deletes, journal and checkpoints. */
  headroomBytes(): number {
    return Math.min(limits.driveHeadroomBytes, Math.floor(this.totalBytes() / SMALL_DRIVE_PART))
  }

  /** Set bytes aside for a put in flight. Every reserve has one release. */
  reserve(bytes: number): void {
    this.#reservedBytes += bytes
  }

  /** @param written true when the bytes are on the drive now; false asks statfs anew */
  release(bytes: number, written: boolean): void {
    this.#reservedBytes -= bytes
    assert(this.#reservedBytes >= 0, 'a drive releases what was reserved')
    if (written) this.#freeBytes -= bytes
    else this.forgetSpace()
    if (this.#reservedBytes > 0) return
    for (const go of this.#awaiting.splice(0)) go()
  }

  /** Fulfilled when no put of this thread is under way to it. One that gets nothing new stays so. */
  async untilIdle(): Promise<void> {
    if (this.#reservedBytes > 0) await new Promise<void>((go) => this.#awaiting.push(go))
  }

  /** The next question asks statfs: after a delete, or an ENOSPC nobody foresaw. */
  forgetSpace(): void {
    this.#measuredMs = Number.NEGATIVE_INFINITY
  }

  /**
   * The drive answered an error: it gets nothing new from now on. Reads are still tried.
   * The device taken away, or the label no longer there (unmounted), means gone.
   */
  fail(error: unknown): void {
    const code = codeOf(error)
    const lost = code === 'ENODEV' || code === 'ENXIO' || !this.present()
    if (this.#state === 'gone' || (this.#state === 'failing' && !lost)) return
    this.#state = lost ? 'gone' : 'failing'
    this.#failure ??= error
    this.#onFail?.(this, error)
  }

  /**
   * Is the label still where it was, on the filesystem it was on? Tells a lost file from a lost drive: a mount point whose
   * disk went away is a directory too, and may even have a label, of another drive.
   */
  present(): boolean {
    try {
      return (
        this.#files.exists(join(this.dir, LABEL_NAME)) &&
        this.#files.device(this.dir) === this.#device
      )
    } catch {
      return false
    }
  }

  /**
   * A drive that was gone is looked for at its place, on whatever device it has come back. When it is there it is ok again,
   * with all it held: what was written elsewhere meanwhile is the caller's to compare. One that is failing stays so.
   * @returns whether it is ok
   * @throws FsError ESTALE when another drive is there; as openDrive when its label cannot be read
   */
  returned(): boolean {
    if (this.#state !== 'gone') return this.#state === 'ok'
    if (!this.#files.exists(join(this.dir, LABEL_NAME))) return false
    const { id } = readLabel(this.dir, this.#files)
    if (id !== this.id) {
      throw new FsError('ESTALE', 'drive.returned', {
        dir: this.dir,
        message: `${this.dir} holds drive ${id}, expected was ${this.id}: mount the right one there`,
      })
    }
    this.#device = this.#files.device(this.dir)
    this.#state = 'ok'
    this.#failure = null
    this.forgetSpace()
    return true
  }

  #measure(): void {
    const now = this.#clock.monotonicMs()
    const nearlyFull =
      this.#freeBytes - this.#reservedBytes < NEARLY_FULL_HEADROOMS * limits.driveHeadroomBytes
    if (now - this.#measuredMs < SPACE_MS_MAX && !nearlyFull) return
    if (this.#state === 'gone') {
      this.#freeBytes = 0
      return
    }
    try {
      this.#totalBytes = this.#files.totalBytes(this.dir)
      this.#freeBytes = this.#files.freeBytes(this.dir)
      this.#measuredMs = now
    } catch (cause) {
      this.#freeBytes = 0
      this.fail(new FsError('EIO', 'drive.space', { drive: this.id, cause }))
    }
  }
}
