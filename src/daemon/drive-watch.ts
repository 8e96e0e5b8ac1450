import {
  Alarm,
  type Clock,
  codeOf,
  type DriveId,
  isBug,
  type Log,
  messageOf,
} from '../base/index.ts'
import { checkDrives, type Drive, diskSequence, findDisk } from '../drives/index.ts'
import { type DriveOwner, type MissingDrive, usOf } from './open-drives.ts'

export interface DriveWatchWorld {
  readonly owner: DriveOwner
  readonly drives: readonly Drive[]
  readonly missing: readonly MissingDrive[]
  /** A disk is there again: the next life of the daemon opens it. */
  restart(): Promise<void>
  readonly clock: Clock
  readonly log: Log
}

const LOOK_MS = 2000
/** Where no disk has come or gone it is asked for again after this long: a label may have come late. */
const AGAIN_MS = 60_000

/**
 * Looks after the drives while the node runs: a disk that was pulled, or became read-only, is noticed without anybody reading it;
 * one that is put back, or comes late, is taken into use again with all that is on it.
 */
export class DriveWatch {
  readonly #world: DriveWatchWorld
  readonly #alarm: Alarm
  /** Of the disks of this host, when a missing one was looked for last. */
  #seen: string
  #lookedMs: number
  #isClosed = false

  constructor(world: DriveWatchWorld) {
    this.#world = world
    this.#alarm = new Alarm(world.clock)
    // What was there at the start was looked at then.
    this.#seen = diskSequence(world.owner.disks)
    this.#lookedMs = world.clock.monotonicMs()
  }

  async run(): Promise<void> {
    while (!this.#isClosed) {
      await this.#alarm.sleep(LOOK_MS)
      if (!this.#isClosed) await this.#look()
    }
  }

  close(): void {
    this.#isClosed = true
    this.#alarm.ring()
  }

  async #look(): Promise<void> {
    const { owner, drives, missing, clock, log, restart } = this.#world
    checkDrives(drives, owner.disks)
    const pulled = drives.filter(({ kind, state }) => kind === 'block' && state === 'gone')
    const away = [...missing, ...pulled].map(({ id }) => id)
    if (away.length === 0) return
    const sequence = diskSequence(owner.disks)
    const now = clock.monotonicMs()
    if (sequence === this.#seen && now - this.#lookedMs < AGAIN_MS) return
    this.#seen = sequence
    this.#lookedMs = now
    for (const id of away) {
      if (!(await this.#isBack(id))) continue
      log.info({ op: 'drive.back', drive: id }, 'a disk is there again')
      await restart()
      this.close()
      return
    }
  }

  async #isBack(id: DriveId): Promise<boolean> {
    const { owner, log } = this.#world
    try {
      const { standing } = await findDisk(id, usOf(owner), owner.disks)
      return standing.kind === 'drive'
    } catch (error) {
      if (isBug(error)) throw error
      if (codeOf(error) !== 'ENODEV') {
        log.warn({ op: 'drive.back', drive: id, why: messageOf(error) }, 'a disk is not used')
      }
      return false
    }
  }
}
