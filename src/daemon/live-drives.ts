import { join } from 'node:path'
import { background, type Clock, isBug, type Log, messageOf, sleep } from '../base/index.ts'
import { systemDisk } from '../disk/index.ts'
import { DRAINING_NAME, type Drive, ToldDrives } from '../drives/index.ts'
import type { ListedDrive } from './drive-list.ts'
import { hasJournals } from './move-journals.ts'
import type { MissingDrive, OpenedDrives } from './open-drives.ts'

export interface LiveDrivesWorld {
  /** Fulfilled when the engine's thread has the drives as they are told now, and no put of it from before is under way. */
  engineLooks(): Promise<unknown>
  /** As RawChunks.settle. */
  settle(): Promise<void>
  /** As Mounts.letGoOfDrives. */
  letGo(): Promise<void>
  readonly clock: Clock
  readonly log: Log
}

/** Threads that let go of a drive's disk are waited for so long: a mount's may wait for its kernel, or a disk that hangs. */
const LET_GO_MS_MAX = 3000

/**
 * The drives of this node, as they come and go in one life of the daemon. Chunks are put by two threads alone, this one and the
 * engine's, which is asked to look, and answers; all others only read, and look by themselves before they call a chunk
 * missing (ToldDrives). Journals are opened, closed and moved at the start of a life: what has to do with one waits for that.
 */
export class LiveDrives {
  readonly told = new ToldDrives()
  readonly #world: LiveDrivesWorld
  readonly #here: Drive[]
  readonly #missing: MissingDrive[]
  #heard: Promise<unknown> = Promise.resolve()

  constructor({ drives, missing }: OpenedDrives, world: LiveDrivesWorld) {
    this.#world = world
    this.#here = [...drives]
    this.#missing = [...missing]
    this.told.tell(this.#here)
  }

  /** One array, as they are now. */
  get here(): readonly Drive[] {
    return this.#here
  }

  get missing(): readonly MissingDrive[] {
    return this.#missing
  }

  /** Every thread that puts chunks knows the drives as they were told last. */
  async heard(): Promise<void> {
    await this.#heard
  }

  /** What is known of one has changed. */
  tell(): void {
    this.told.tell(this.#here)
    this.#heard = this.#world.engineLooks()
    // Whoever waits for it is told too.
    this.#heard.catch(background(this.#world.log, 'drive.tell'))
  }

  /**
   * Take a drive into use that is listed, and open in this thread.
   * @returns false when it has journals, or fails: the next life of the daemon takes it
   */
  async comes(drive: Drive): Promise<boolean> {
    if (drive.state !== 'ok' || hasJournals(drive, systemDisk)) return false
    // Before this thread moves the first chunk to it: whoever looks for that chunk finds the drive.
    this.told.tell([...this.#here, drive])
    this.#here.push(drive)
    const at = this.#missing.findIndex(({ id }) => id === drive.id)
    if (at >= 0) this.#missing.splice(at, 1)
    this.tell()
    await this.#world.settle()
    await this.heard()
    return true
  }

  /** Mark a drive as one that is being emptied, or as one that takes data again. Nothing new goes to it when this returns. */
  async drains(drive: Drive, isDraining: boolean): Promise<void> {
    const mark = join(drive.dir, DRAINING_NAME)
    if (isDraining) systemDisk.replaceFile(mark, Buffer.alloc(0))
    else {
      systemDisk.unlink(mark)
      systemDisk.fsyncDirectory(drive.dir)
    }
    drive.draining = isDraining
    this.tell()
    await this.heard()
    if (isDraining) await drive.untilIdle()
  }

  /** Nothing is put on it any more when this returns, and who looks for a chunk looks on the others alone. */
  async goes(drive: Drive): Promise<void> {
    this.#drop(drive)
    await this.heard()
    await drive.untilIdle()
    if (drive.kind === 'block') await this.#letGo(drive)
  }

  /** One that is gone may come back, and no descriptor keeps its disk from being mounted then, as far as threads answer. */
  async isAway(drive: Drive, listed: ListedDrive): Promise<void> {
    this.#missing.push({ id: drive.id, listed, why: messageOf(drive.failure) })
    this.#drop(drive)
    await this.#letGo(drive)
  }

  #drop(drive: Drive): void {
    const at = this.#here.indexOf(drive)
    if (at >= 0) this.#here.splice(at, 1)
    this.tell()
  }

  /** Whatever comes of it: its disk cannot be unmounted while anything is open on it. */
  async #letGo({ dir }: Drive): Promise<void> {
    const { clock, letGo, log } = this.#world
    const letting = Promise.all([this.heard(), letGo()]).then(
      () => '',
      (error: unknown) => {
        if (isBug(error)) throw error
        return messageOf(error)
      },
    )
    const late = sleep(clock, LET_GO_MS_MAX).then(() => 'some thread does not answer')
    const why = await Promise.race([letting, late])
    if (why !== '') log.warn({ op: 'drive.letGo', dir, why }, 'something may be open on it')
  }
}
