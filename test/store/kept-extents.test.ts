import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ChunkId, Ino } from '../../src/base/index.ts'
import { encodeExtent, keys } from '../../src/meta/index.ts'
import type { Entries } from '../../src/store/draft.ts'
import { KeptExtents } from '../../src/store/kept-extents.ts'
import { overlappingPart } from '../../src/store/placed-extents.ts'
import { seeded } from '../support/seeded.ts'

const CHUNK = 'c'.repeat(32) as ChunkId
const INO = 5 as Ino
const PAGES = 200

/** A file's extents without a view: lengths by offset, and how many were read. */
class FakeView implements Entries {
  readonly lengths = new Map<number, number>()
  read = 0

  get(): null {
    return null
  }

  *range(start: Buffer, end: Buffer): Generator<[key: Buffer, value: Buffer]> {
    const offsets = [...this.lengths.keys()].sort((a, b) => a - b)
    for (const offset of offsets) {
      const key = keys.extentKey(INO, offset)
      if (Buffer.compare(key, start) >= 0 && Buffer.compare(key, end) < 0) yield this.#entry(offset)
    }
  }

  floor(key: Buffer): [key: Buffer, value: Buffer] | null {
    const before = [...this.lengths.keys()].filter((offset) => offset <= keys.offsetOfKey(key))
    return before.length > 0 ? this.#entry(Math.max(...before)) : null
  }

  #entry(offset: number): [key: Buffer, value: Buffer] {
    this.read++
    const length = this.lengths.get(offset) ?? 0
    return [
      keys.extentKey(INO, offset),
      encodeExtent({ kind: 'chunk', length, chunk: CHUNK, at: 0 }),
    ]
  }

  /** As a record would: what is told to the view is told to who keeps. */
  set(kept: KeptExtents, offset: number, length: number | null): void {
    const key = keys.extentKey(INO, offset)
    if (length === null) this.lengths.delete(offset)
    else this.lengths.set(offset, length)
    const value = length && encodeExtent({ kind: 'chunk', length, chunk: CHUNK, at: 0 })
    kept.note({ key, value: value || null })
  }

  /** Make [from, to) a hole, as ExtentEditor.carve. */
  carve(kept: KeptExtents, from: number, to: number): void {
    for (const [offset, length] of [...this.lengths]) {
      const end = offset + length
      if (end <= from || offset >= to) continue
      this.set(kept, offset, offset < from ? from - offset : null)
      if (end > to) this.set(kept, to, end - to)
    }
  }

  /** What overlaps [from, to), looked up one by one. */
  overlapping(from: number, to: number): { offset: number; length: number }[] {
    return [...this.lengths]
      .map(([offset, length]) => ({ offset, length }))
      .filter(({ offset, length }) => offset < to && offset + length > from)
      .sort((a, b) => a.offset - b.offset)
  }
}

test('what is kept is what the view has, whatever is written, cut off and asked', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const next = seeded(seed).below
    const view = new FakeView()
    const kept = new KeptExtents()
    for (let step = 0; step < 100; step++) {
      const from = next(PAGES)
      const to = from + 1 + next(20)
      view.carve(kept, from, to)
      if (next(3) > 0) view.set(kept, from, to - from)
      if (next(4) > 0) continue
      const low = next(PAGES)
      const high = low + 1 + next(60)
      const map = kept.load(view, INO, low, high, 1000)
      assert.ok(map)
      assert.equal(
        overlappingPart(map, low, high).map(({ offset, extent }) => ({
          offset,
          length: extent.length,
        })),
        view.overlapping(low, high),
        `seed ${seed}, step ${step}`,
      )
    }
  }
})

test('a second look reads only what the first did not, and another file does not matter', () => {
  const view = new FakeView()
  const kept = new KeptExtents()
  for (let page = 0; page < PAGES; page++) view.set(kept, page, 1)
  kept.load(view, INO, 50, 100, 1000)
  const once = view.read
  view.set(kept, 60, null)
  kept.note({ key: keys.extentKey(6 as Ino, 60), value: null })
  assert.is(
    kept.load(view, INO, 50, 100, 1000)?.find(({ offset }) => offset === 60),
    undefined,
  )
  assert.is(view.read, once)
  kept.load(view, INO, 45, 110, 1000)
  assert.ok(view.read <= once + 20, 'the sides alone')
  kept.clear()
  kept.load(view, INO, 50, 100, 1000)
  assert.ok(view.read >= 2 * once, 'all of it once more')
})

test('too much to read is not read, and what is kept by then is not lost', () => {
  const view = new FakeView()
  const kept = new KeptExtents()
  for (let page = 0; page < PAGES; page++) view.set(kept, page, 1)
  assert.is(kept.load(view, INO, 0, PAGES, 50), null)
  assert.ok(kept.load(view, INO, 0, 40, 50))
  assert.is(kept.load(view, INO, 0, PAGES, 50), null)
  assert.ok(kept.load(view, INO, 0, 40, 0), 'nothing has to be read for these')
})

test.run()
