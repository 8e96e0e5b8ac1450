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
  #last: Staged | null = null

  get(ino: Ino): StagedFile | undefined {
    return this.#files.get(ino)
  }

  get count(): number {
    return this.#files.size
  }

  entries(): IterableIterator<[Ino, StagedFile]> {
    return this.#files.entries()
  }

  /** The last write staged, for a request that was executed and whose answer was lost. */
  get last(): Staged | null {
    return this.#last
  }

  /** The last write of a life before, also when a record covers it by now. */
  recall(staged: Staged): void {
    this.#last = staged
  }

  add(staged: Staged): void {
    this.#last = staged
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
