import type { Ino } from '../base/index.ts'
import type { OpenFile } from './worker-protocol.ts'

const O_ACCMODE = 3

/**
 * The descriptors that one kernel has open in one volume, as far as this life of the daemon has seen them opened: a volume
 * with descriptors that write does not change hands, a nameless file that is open is not given back.
 */
export class Opens {
  readonly #files = new Map<Ino, { readers: number; writers: number }>()

  /** @param files as another thread counted them */
  constructor(files: readonly OpenFile[] = []) {
    for (const { ino, readers, writers } of files) {
      this.#files.set(ino, { readers, writers })
    }
  }

  /** @param flags O_ flags of the open */
  count(ino: Ino, flags: number, by: 1 | -1): void {
    let file = this.#files.get(ino)
    if (!file) {
      // Of a life before: it was never counted.
      if (by < 0) return
      file = { readers: 0, writers: 0 }
      this.#files.set(ino, file)
    }
    if ((flags & O_ACCMODE) === 0) {
      file.readers = Math.max(0, file.readers + by)
    } else if (file.writers + by >= 0) {
      file.writers += by
    }
    if (file.readers === 0 && file.writers === 0) this.#files.delete(ino)
  }

  get any(): boolean {
    return this.#files.size > 0
  }

  has(ino: Ino): boolean {
    return this.#files.has(ino)
  }

  writers(ino: Ino): number {
    return this.#files.get(ino)?.writers ?? 0
  }

  list(): OpenFile[] {
    return [...this.#files].map(([ino, { readers, writers }]) => ({ ino, readers, writers }))
  }
}
