import type { Ino } from '../base/index.ts'
import { Intervals, type Staged } from '../store/index.ts'

/** What staged writes say of one file beyond what records say. */
export interface StagedFile {
  intervals: Intervals
  /** Newest staged write: its number and time. */
  last: Staged
}

/** Files with staged writes, as this thread knows them; rebuilt from the staging log after a restart. */
export class StagedFiles {
  readonly #files = new Map<Ino, StagedFile>()
  /** By the mount whose request it was. */
  readonly #lastOf = new Map<number, Staged>()

  get(ino: Ino): StagedFile | undefined {
    return this.#files.get(ino)
  }

  get count(): number {
    return this.#files.size
  }

  entries(): IterableIterator<[Ino, StagedFile]> {
    return this.#files.entries()
  }

  /**
   * The last write of a mount, for its request that was executed and whose answer was lost: of each kernel one change is under
   * way at a time, but those of others come between.
   */
  lastOf(mount: number): Staged | null {
    return this.#lastOf.get(mount) ?? null
  }

  /** The last write of a mount in a life before, also when a record covers it by now. */
  recall(staged: Staged): void {
    this.#lastOf.set(staged.mount, staged)
  }

  add(staged: Staged): void {
    this.#lastOf.set(staged.mount, staged)
    let file = this.#files.get(staged.ino)
    if (!file) {
      file = { intervals: new Intervals(), last: staged }
      this.#files.set(staged.ino, file)
    }
    file.intervals.insert(staged)
    file.last = staged
  }

  /** Forget what records cover by now; the view must have been refreshed after `committed` was read. */
  dropThrough(committed: number): void {
    for (const [ino, file] of this.#files) {
      if (file.last.number <= committed) this.#files.delete(ino)
      else file.intervals.dropThrough(committed)
    }
  }

  forget(ino: Ino): void {
    this.#files.delete(ino)
  }
}
