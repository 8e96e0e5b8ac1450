import type { Clock, VolumeNumber } from '../base/index.ts'
import type { Caller, VolumeFs } from '../vfs/index.ts'
import type { Attr } from './wire/index.ts'
import type { AbsentVolume } from './worker-protocol.ts'

/** What a person does at the root; the main thread does it and answers the kernel. */
export interface RootRequests {
  /** A name nobody here knows: another node may have made it a moment ago. @returns false when that was looked at already */
  look(name: string, frame: Uint8Array): boolean
  mkdir(name: string, mode: number, caller: Caller, uniqueLo: number, uniqueHi: number): void
  rmdir(name: string, uniqueLo: number, uniqueHi: number): void
}

/**
 * The root of the namespace: one directory per volume, from memory, whatever state the volumes are in. Its inode has
 * volume number 0 and number 1.
 */
export class Namespace {
  readonly #volumes: ReadonlyMap<VolumeNumber, VolumeFs>
  readonly #absent: ReadonlyMap<VolumeNumber, AbsentVolume>
  readonly #requests: RootRequests
  readonly #clock: Clock
  /** When a volume last came or went: the kernel keeps a listing of the root while its mtime is the same. */
  #since: { sec: number; nsec: number }

  constructor(
    volumes: ReadonlyMap<VolumeNumber, VolumeFs>,
    absent: ReadonlyMap<VolumeNumber, AbsentVolume>,
    requests: RootRequests,
    clock: Clock,
  ) {
    this.#volumes = volumes
    this.#absent = absent
    this.#requests = requests
    this.#clock = clock
    this.#since = clock.now()
  }

  /** A volume has come or gone, without the kernel's doing. Source: linux fs/fuse/readdir.c, fuse_readdir_cached. */
  changed(): void {
    this.#since = this.#clock.now()
  }

  find(name: Buffer): VolumeFs | AbsentVolume | undefined {
    const text = name.toString('latin1')
    for (const volume of this.#volumes.values()) if (volume.volume.name === text) return volume
    for (const volume of this.#absent.values()) if (volume.name === text) return volume
    return undefined
  }

  /** Entries behind a cookie: `.` 1, `..` 2, then a volume's number and two. */
  *entries(after: number): Generator<{ cookie: number; number: number; name: Buffer }> {
    if (after < 1) yield { cookie: 1, number: 0, name: Buffer.from('.') }
    if (after < 2) yield { cookie: 2, number: 0, name: Buffer.from('..') }
    const names = new Map<VolumeNumber, string>()
    for (const [number, { volume }] of this.#volumes) names.set(number, volume.name)
    for (const [number, { name }] of this.#absent) names.set(number, name)
    for (const [number, name] of [...names].sort(([a], [b]) => a - b)) {
      if (number + 2 > after) yield { cookie: number + 2, number, name: Buffer.from(name) }
    }
  }

  look(name: Buffer, frame: Uint8Array): boolean {
    return this.#requests.look(name.toString('latin1'), frame)
  }

  mkdir(name: Buffer, mode: number, caller: Caller, uniqueLo: number, uniqueHi: number): void {
    this.#requests.mkdir(name.toString('latin1'), mode, caller, uniqueLo, uniqueHi)
  }

  rmdir(name: Buffer, uniqueLo: number, uniqueHi: number): void {
    this.#requests.rmdir(name.toString('latin1'), uniqueLo, uniqueHi)
  }

  fill(attr: Attr): void {
    this.#fillDirectory(attr, 0, 2 + this.#volumes.size + this.#absent.size)
  }

  /** A locked or failed volume is visible; below its root everything answers with the reason. */
  fillAbsent(number: VolumeNumber, attr: Attr): void {
    this.#fillDirectory(attr, number, 2)
  }

  /** statfs of the root: the drives' room, from the shared state of any volume. */
  figures(): { sizeBytes: number; usedBytes: number; freeBytes: number; inodes: number } {
    let free = 0
    let used = 0
    let inodes = 0
    for (const { volume } of this.#volumes.values()) {
      free = Math.max(free, volume.shared.freeBytes)
      used += volume.shared.usedBytes
      inodes += volume.shared.inodes
    }
    return { sizeBytes: used + free, usedBytes: used, freeBytes: free, inodes }
  }

  #fillDirectory(attr: Attr, number: number, nlink: number): void {
    const { sec, nsec } = this.#since
    Object.assign(attr, { volume: number, ino: 1, size: 4096, blocks: 0, rdev: 0, blksize: 4096 })
    Object.assign(attr, { mode: 0o040755, nlink, uid: 0, gid: 0 })
    Object.assign(attr, { atime: sec, atimensec: nsec, mtime: sec, mtimensec: nsec })
    Object.assign(attr, { ctime: sec, ctimensec: nsec, btime: sec, btimensec: nsec })
  }
}
