import type { Staged } from './staging.ts'

/** A range of a file whose newest bytes are in a staged write: file bytes [from, to) start at `skip` in its data. */
export interface Interval {
  from: number
  to: number
  staged: Staged
  skip: number
}

/** The staged ranges of one file, disjoint and in order; later writes cover earlier ones. */
export class Intervals {
  #list: Interval[] = []

  get list(): readonly Interval[] {
    return this.#list
  }

  /** End of the last range: the file is at least this long. 0 when there is none. */
  get end(): number {
    return this.#list.at(-1)?.to ?? 0
  }

  /** Bytes that the ranges hold together. */
  bytes(): number {
    return this.#list.reduce((sum, { from, to }) => sum + (to - from), 0)
  }

  insert(staged: Staged): void {
    const from = staged.offset
    const to = from + staged.length
    if (from === to) return
    const list = this.#list
    const fresh: Interval = { from, to, staged, skip: 0 }
    const last = list.at(-1)
    if (!last || last.to <= from) {
      list.push(fresh)
      return
    }
    const first = this.#firstEndingAfter(from)
    let after = first
    const replacement: Interval[] = []
    for (; after < list.length; after++) {
      const old = list[after] as Interval
      if (old.from >= to) break
      if (old.from < from) replacement.push({ ...old, to: from })
      if (old.to > to) {
        replacement.push(fresh, { ...old, from: to, skip: old.skip + (to - old.from) })
        list.splice(first, after + 1 - first, ...replacement)
        return
      }
    }
    replacement.push(fresh)
    list.splice(first, after - first, ...replacement)
  }

  /** Calls for each piece of [from, to) that is staged, in order. */
  overlapping(from: number, to: number, call: (piece: Interval) => void): void {
    const list = this.#list
    for (let i = this.#firstEndingAfter(from); i < list.length; i++) {
      const interval = list[i] as Interval
      if (interval.from >= to) return
      call(interval)
    }
  }

  /** Forget what records cover by now. True when nothing is left. */
  dropThrough(number: number): boolean {
    const list = this.#list
    let kept = 0
    for (const interval of list) if (interval.staged.number > number) list[kept++] = interval
    list.length = kept
    return kept === 0
  }

  #firstEndingAfter(offset: number): number {
    const list = this.#list
    let low = 0
    let high = list.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((list[middle] as Interval).to > offset) high = middle
      else low = middle + 1
    }
    return low
  }
}
