import { chmodSync, mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sh } from './node-world.ts'

/**
 * An XFS on a loop device that can lose power: the device's file lies on another XFS, where a copy by reflink is one
 * moment of it. It holds what the filesystem had written out, and nothing that was only in the page cache.
 */
export class LoopDisk {
  /** Where the disk is mounted. */
  readonly at: string
  readonly #dir: string
  readonly #outer: string

  private constructor(dir: string) {
    this.#dir = dir
    this.#outer = join(dir, 'outer')
    this.at = join(dir, 'disk')
  }

  static async make(megabytes = 1024): Promise<LoopDisk> {
    const disk = new LoopDisk(realpathSync(mkdtempSync(join(tmpdir(), 'weft-disk-'))))
    chmodSync(disk.#dir, 0o755)
    mkdirSync(disk.#outer)
    mkdirSync(disk.at)
    try {
      const file = join(disk.#dir, 'outer.img')
      await sh('truncate', ['-s', `${3 * megabytes}M`, file])
      await sh('mkfs.xfs', ['-q', file])
      await sh('mount', ['-o', 'loop', file, disk.#outer])
      await sh('truncate', ['-s', `${megabytes}M`, disk.#image])
      await sh('mkfs.xfs', ['-q', disk.#image])
      await disk.#mount()
      return disk
    } catch (error) {
      await disk.close()
      throw error
    }
  }

  get #image(): string {
    return join(this.#outer, 'disk.img')
  }

  get #moment(): string {
    return join(this.#outer, 'moment.img')
  }

  async #mount(): Promise<void> {
    await sh('mount', ['-o', 'loop,nouuid', this.#image, this.at])
  }

  /** Power goes now; whatever is written later will not have been. */
  async cut(): Promise<void> {
    await sh('cp', ['--reflink=always', this.#image, this.#moment])
  }

  /** The disk as it was at the cut, mounted again. Nothing may use it meanwhile. */
  async powerOn(): Promise<void> {
    await sh('umount', [this.at])
    renameSync(this.#moment, this.#image)
    await this.#mount()
  }

  async close(): Promise<void> {
    await sh('umount', ['-l', this.at]).catch(() => '')
    await sh('umount', ['-l', this.#outer]).catch(() => '')
    rmSync(this.#dir, { recursive: true, force: true })
  }
}
