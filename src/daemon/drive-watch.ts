import {
  Alarm,
  type Clock,
  codeOf,
  type DriveId,
  isBug,
  type Log,
  messageOf,
} from '../base/index.ts'
import {
  checkDrives,
  type Drive,
  diskSequence,
  findDisk,
  tryDrive,
  unmountDisk,
} from '../drives/index.ts'
import { forgetFailure, type ListedDrive, readDriveList } from './drive-list.ts'
import { type DriveOwner, type MissingDrive, openListed, PULLED_MS, usOf } from './open-drives.ts'

export interface DriveWatchWorld {
  readonly owner: DriveOwner
  readonly drives: readonly Drive[]
  readonly missing: readonly MissingDrive[]
  /** As Drive's world: told when one that has come begins to fail. */
  onFail(drive: Drive, error: unknown): void
  /** As LiveDrives.comes. */
  comes(drive: Drive): Promise<boolean>
  /** As LiveDrives.isAway. */
  isAway(drive: Drive, listed: ListedDrive): Promise<void>
  /** A disk is there again, and the next life of the daemon uses it. */
  restart(): Promise<void>
  readonly clock: Clock
  readonly log: Log
}

const LOOK_MS = 2000
/** Where no disk has come or gone it is asked for again after this long: a label may have come late. */
const AGAIN_MS = 60_000

/**
 * Looks after the drives while the node runs: a disk that was pulled, or became read-only, is noticed without anybody reading it;
 * one that is put back, or comes late, is taken into use again with all that is on it; a restart is needed where journals are
 * on it, or somebody has something open on it still. One that failed without having been pulled stays failing
 * (ListedDrive.failed); if it answers no more, one restart makes readable what can still be read of it.
 */
export class DriveWatch {
  readonly #world: DriveWatchWorld
  readonly #alarm: Alarm
  /** Of the disks of this host, when a missing one was looked for last. */
  #seen: string
  #lookedMs: number
  /** Failed in an earlier life: this one began with what a restart can do for them. */
  readonly #failedBefore: ReadonlySet<Drive>
  /** When each began to fail in this life, and its state and the disks of the host when it was asked whether it had been pulled. */
  readonly #failing = new Map<Drive, { readonly sinceMs: number; asked: string }>()
  /** Why a disk is not used, as told last. */
  readonly #told = new Map<DriveId, string>()
  #isClosed = false

  constructor(world: DriveWatchWorld) {
    this.#world = world
    this.#alarm = new Alarm(world.clock)
    // What was there at the start was looked at then.
    this.#seen = this.#sequence()
    this.#lookedMs = world.clock.monotonicMs()
    this.#failedBefore = new Set(world.drives.filter(({ state }) => state !== 'ok'))
  }

  async run(): Promise<void> {
    while (!this.#isClosed) {
      await this.#alarm.sleep(LOOK_MS)
      if (this.#isClosed) return
      try {
        await this.#look()
      } catch (error) {
        if (isBug(error)) throw error
        this.#world.log.warn(
          { op: 'drive.watch', error: messageOf(error) },
          'looked at again later',
        )
      }
    }
  }

  /** A drive was taken in: the disks that are there now are known. */
  looked(): void {
    this.#seen = this.#sequence()
  }

  close(): void {
    this.#isClosed = true
    this.#alarm.ring()
  }

  async #look(): Promise<void> {
    const { owner, drives, missing, clock, log, comes, onFail } = this.#world
    checkDrives(drives, owner.disks)
    const now = clock.monotonicMs()
    const failing = drives.filter(
      (drive) => drive.kind === 'block' && drive.state !== 'ok' && !this.#failedBefore.has(drive),
    )
    if (failing.length + missing.length === 0) return
    const sequence = this.#sequence()
    for (const drive of failing) await this.#clear(drive, sequence, now)
    const gone = failing.filter(({ state }) => state === 'gone')
    if (gone.length + missing.length === 0) return
    if (sequence === this.#seen && now - this.#lookedMs < AGAIN_MS) return
    this.#seen = sequence
    this.#lookedMs = now
    for (const { id, listed } of [...missing]) {
      const drive = await this.#tried(id, () => openListed(listed, owner, { onFail }))
      if (!drive) continue
      log.info({ op: 'drive.back', drive: id }, 'a disk is there')
      if (!(await comes(drive))) return await this.#restart()
    }
    const { node, cluster, keys, disks } = owner
    for (const drive of gone) {
      const { id } = drive
      const isBack = await this.#tried(id, async () => {
        await tryDrive(id, usOf(owner), { nodeId: node, cluster, keys }, disks)
        return true
      })
      if (!isBack) continue
      log.info({ op: 'drive.back', drive: id }, 'a disk is there again')
      if (!(await this.#takenBack(drive))) return await this.#restart()
    }
  }

  /** What this life has open on the disk of before keeps it from being mounted anew. */
  async #takenBack(drive: Drive): Promise<boolean> {
    const { owner, comes, isAway, onFail } = this.#world
    const listed = readDriveList(owner.home)?.drives.find(({ dir }) => dir === drive.dir)
    // One that failed is not taken back, only read.
    if (!listed || listed.failed !== null) return false
    await isAway(drive, listed)
    const back = await this.#tried(drive.id, async () => {
      // What the kernel has read of it before would do for the label.
      await unmountDisk(drive.dir, owner.disks)
      return await openListed(listed, owner, { onFail })
    })
    return back !== null && (await comes(back))
  }

  #sequence(): string {
    return diskSequence(this.#world.owner.disks)
  }

  async #restart(): Promise<void> {
    await this.#world.restart()
    this.close()
  }

  /** One that was pulled has not failed: its first errors came from the pulling. */
  async #clear(drive: Drive, sequence: string, now: number): Promise<void> {
    const { owner, log } = this.#world
    const known = this.#failing.get(drive) ?? { sinceMs: now, asked: '' }
    this.#failing.set(drive, known)
    // Each step of a drive, to failing and to gone, is noted by itself.
    const asked = `${drive.state} ${sequence}`
    if (known.asked === asked || now - known.sinceMs > PULLED_MS) return
    known.asked = asked
    if (!(await this.#isPulled(drive)) || !forgetFailure(owner.home, drive.dir)) return
    log.info({ op: 'drive.pulled', drive: drive.id }, 'a disk was pulled')
  }

  /** Its disk is not here, or here again as another device than the one it is mounted from. */
  async #isPulled({ id }: Drive): Promise<boolean> {
    const { owner } = this.#world
    try {
      const { standing } = await findDisk(id, usOf(owner), owner.disks)
      return standing.kind === 'drive' && standing.mountedAt === null
    } catch (error) {
      if (isBug(error)) throw error
      return codeOf(error) === 'ENODEV'
    }
  }

  /**
   * Null when it cannot be mounted, or has a label that is refused: a restart would help nobody. What keeps it from that is told
   * once.
   */
  async #tried<T>(id: DriveId, attempt: () => Promise<T>): Promise<T | null> {
    const { log } = this.#world
    try {
      return await attempt()
    } catch (error) {
      if (isBug(error)) throw error
      const why = messageOf(error)
      if (codeOf(error) !== 'ENODEV' && this.#told.get(id) !== why) {
        this.#told.set(id, why)
        log.warn({ op: 'drive.back', drive: id, why }, 'a disk is not used')
      }
      return null
    }
  }
}
