import { readdirSync, readFileSync } from 'node:fs'
import { type Clock, codeOf, type DriveId, isBug, type Log, messageOf } from '../base/index.ts'
import { checkDrives, type DiskWorld, type Drive, findDisk } from '../drives/index.ts'
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
/** A disk whose names have not changed is asked for again after this long: a label may have come late. */
const AGAIN_MS = 60_000

/**
 * Looks after the drives while the node runs: a disk that was pulled, or became read-only, is noticed without anybody reading it;
 * one that is put back, or comes late, is taken into use again with all that is on it.
 */
export class DriveWatch {
  readonly #world: DriveWatchWorld
  /** Names of the disks of this host, when a missing one was looked for last. */
  #seen: string
  #lookedMs: number
  #cancel: (() => void) | null = null
  #isClosed = false

  constructor(world: DriveWatchWorld) {
    this.#world = world
    // What was there at the start was looked at then.
    this.#seen = disksOf(world.owner.disks)
    this.#lookedMs = world.clock.monotonicMs()
  }

  async run(): Promise<void> {
    const { clock } = this.#world
    while (!this.#isClosed) {
      await new Promise<void>((resolve) => {
        this.#cancel = clock.after(LOOK_MS, resolve)
      })
      if (!this.#isClosed) await this.#look()
    }
  }

  close(): void {
    this.#isClosed = true
    this.#cancel?.()
  }

  async #look(): Promise<void> {
    const { owner, drives, missing, clock, log, restart } = this.#world
    checkDrives(drives, owner.disks)
    const pulled = drives.filter(({ kind, state }) => kind === 'block' && state === 'gone')
    const away = [...missing, ...pulled].map(({ id }) => id)
    if (away.length === 0) return
    const names = disksOf(owner.disks)
    const now = clock.monotonicMs()
    if (names === this.#seen && now - this.#lookedMs < AGAIN_MS) return
    this.#seen = names
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
      const { standing, path } = await findDisk(id, usOf(owner), owner.disks)
      // Where the one that was pulled is still mounted, /proc shows the old device.
      return standing.kind === 'drive' && path !== ''
    } catch (error) {
      if (isBug(error)) throw error
      if (codeOf(error) !== 'ENODEV') {
        log.warn({ op: 'drive.back', drive: id, why: messageOf(error) }, 'a disk is not used')
      }
      return false
    }
  }
}

/**
 * Changes whenever a disk comes, goes, or is another one under its old name. Source: Linux, ABI/testing/sysfs-block: diskseq
 */
function disksOf({ sysDir = '/sys', byIdDir = '/dev/disk/by-id' }: DiskWorld): string {
  const disks = namesIn(`${sysDir}/block`).map((name) => {
    return `${name} ${textIn(`${sysDir}/block/${name}/diskseq`)}`
  })
  return [...disks, ...namesIn(byIdDir)].join('/')
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort()
  } catch {
    return []
  }
}

/** '' of what is not there, or of a kernel before 5.15, which has none. */
function textIn(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}
