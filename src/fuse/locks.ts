import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf, FsError, type Ino, type VolumeNumber } from '../base/index.ts'
import { F_UNLCK, LockTable, type VolumeFs } from '../vfs/index.ts'
import { answerBare } from './answer.ts'
import { type FileLock, type LkIn, withoutResend } from './wire/index.ts'

const FILE = 'locks.json'

interface KeptLock {
  ino: number
  owner: string
  start: string
  end: string
  type: number
  pid: number
  flock: boolean
}

/**
 * Locks of a mount whose kernel asks for them (locks=owner). They are kept on the staging tmpfs, so that they hold
 * through the death of the daemon; a waiting request is sent again by the kernel.
 */
export class Locks {
  readonly #tables = new Map<VolumeNumber, LockTable>()
  readonly #requestFd: () => number

  /** @param requestFd where the request in hand gets its answer */
  constructor(requestFd: () => number) {
    this.#requestFd = requestFd
  }

  test(volume: VolumeFs, ino: Ino, request: LkIn): FileLock {
    const held = this.#table(volume).conflict(lockRequest(ino, request))
    if (!held) return { start: request.start, end: request.end, type: F_UNLCK, pid: 0 }
    return { start: held.start, end: held.end, type: held.type, pid: held.pid }
  }

  /**
   * @returns true when granted; false when the request waits and is answered later
   * @throws FsError EAGAIN when another owner is in the way and the caller does not wait
   */
  set(
    volume: VolumeFs,
    ino: Ino,
    request: LkIn,
    wait: boolean,
    uniqueLo: number,
    uniqueHi: number,
  ): boolean {
    const table = this.#table(volume)
    const lock = lockRequest(ino, request)
    if (table.set(lock)) {
      this.#keep(volume, table)
      return true
    }
    if (!wait) throw new FsError('EAGAIN', 'lock', { ino })
    const fd = this.#requestFd()
    table.wait({
      key: waiterKey(uniqueLo, uniqueHi),
      request: lock,
      answer: (errno) => {
        this.#keep(volume, table)
        answerBare(fd, errno, uniqueLo, uniqueHi)
      },
    })
    return false
  }

  interrupt(uniqueLo: number, uniqueHi: number): void {
    const key = waiterKey(uniqueLo, uniqueHi)
    for (const table of this.#tables.values()) {
      if (table.interrupt(key, -errnoOf('EINTR'))) return
    }
  }

  closed(volume: VolumeFs, ino: Ino, owner: bigint, flock: boolean): void {
    const table = this.#table(volume)
    if (table.release(ino, owner, flock)) this.#keep(volume, table)
  }

  #table(volume: VolumeFs): LockTable {
    const { number } = volume.volume
    let table = this.#tables.get(number)
    if (!table) {
      table = new LockTable()
      const path = join(volume.volume.opening.stagingDirectory, FILE)
      if (existsSync(path)) {
        for (const kept of JSON.parse(readFileSync(path, 'utf8')) as KeptLock[]) {
          const { ino, owner, start, end, ...rest } = kept
          table.restore({
            ...rest,
            ino: ino as Ino,
            owner: BigInt(owner),
            start: BigInt(start),
            end: BigInt(end),
          })
        }
      }
      this.#tables.set(number, table)
    }
    return table
  }

  #keep(volume: VolumeFs, table: LockTable): void {
    const kept = [...table.all()].map(({ ino, owner, start, end, type, pid, flock }) => ({
      ino,
      owner: String(owner),
      start: String(start),
      end: String(end),
      type,
      pid,
      flock,
    }))
    const path = join(volume.volume.opening.stagingDirectory, FILE)
    writeFileSync(`${path}.new`, JSON.stringify(kept), { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }
}

function lockRequest(ino: Ino, { owner, start, end, type, pid, lk_flags }: LkIn) {
  return { ino, owner, start, end, type, pid, flock: (lk_flags & 1) !== 0 }
}

function waiterKey(uniqueLo: number, uniqueHi: number): string {
  return `${withoutResend(uniqueHi)}:${uniqueLo}`
}
