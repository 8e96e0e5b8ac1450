import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ChunkId, Clock, Ino } from '../../src/base/index.ts'
import { encodeExtent, keys } from '../../src/meta/index.ts'
import { REGION_BYTES, REGION_EXTENTS_MAX, Scattered } from '../../src/store/scattered.ts'

const CHUNK = 'c'.repeat(32) as ChunkId
const PAGE = 4096
const [A, B] = [5 as Ino, 6 as Ino]

function world(): { scattered: Scattered; clock: { ms: number } } {
  const at = { ms: 0 }
  const clock: Clock = {
    now: () => ({ sec: 0, nsec: 0 }),
    monotonicMs: () => at.ms,
    after: () => () => {},
  }
  return { scattered: new Scattered(clock), clock: at }
}

function put(scattered: Scattered, ino: Ino, offset: number, length = PAGE): void {
  const value = encodeExtent({ kind: 'chunk', length, chunk: CHUNK, at: 0 })
  scattered.note({ key: keys.extentKey(ino, offset), value })
}

function fill(
  scattered: Scattered,
  ino: Ino,
  region: number,
  count = REGION_EXTENTS_MAX + 1,
): void {
  for (let n = 0; n < count; n++) put(scattered, ino, region * REGION_BYTES + (2 * n + 1) * PAGE)
}

test('a region with many small extents is told once its file rests', () => {
  const { scattered, clock } = world()
  fill(scattered, A, 3)
  assert.is(scattered.take(), null)
  assert.is(scattered.restMs(), 1000)
  clock.ms = 600
  put(scattered, A, 9 * REGION_BYTES + PAGE)
  clock.ms = 1200
  assert.is(scattered.restMs(), 400)
  assert.is(scattered.take(), null, 'the file is being written')
  clock.ms = 1600
  assert.is(scattered.restMs(), 0)
  assert.equal(scattered.take(), { ino: A, offset: 3 * REGION_BYTES })
  assert.is(scattered.take(), null)
  assert.is(scattered.restMs(), null)
})

test('few, large, zero and first extents are no reason', () => {
  const { scattered, clock } = world()
  fill(scattered, A, 0, REGION_EXTENTS_MAX)
  for (let n = 0; n < 100; n++) put(scattered, B, n * PAGE, 1024 * 1024)
  for (let n = 0; n < 100; n++) put(scattered, (10 + n) as Ino, 0)
  const value = encodeExtent({ kind: 'zero', length: PAGE })
  for (let n = 0; n < 100; n++) scattered.note({ key: keys.extentKey(B, n * PAGE), value })
  clock.ms = 5000
  assert.is(scattered.ready, 0)
  assert.is(scattered.take(), null)
})

test('a region put back is told again; that of a deleted file is not', () => {
  const { scattered, clock } = world()
  fill(scattered, A, 1)
  fill(scattered, B, 1)
  clock.ms = 5000
  const first = scattered.take()
  assert.equal(first, { ino: A, offset: REGION_BYTES })
  if (first) scattered.putBack(first)
  scattered.note({ key: keys.inodeKey(B), value: null })
  assert.is(scattered.ready, 1)
  assert.equal(scattered.take(), { ino: A, offset: REGION_BYTES })
  assert.is(scattered.take(), null)
})

test('what finds no place makes the keys be looked at again, and memory stays bounded', () => {
  const { scattered, clock } = world()
  // Regions of few extents give way.
  for (let n = 0; n < 70_000; n++) put(scattered, A, n * REGION_BYTES + PAGE)
  fill(scattered, B, 2)
  assert.is(scattered.ready, 1)
  for (let n = 0; n < 70_000; n++) scattered.putBack({ ino: A, offset: n * REGION_BYTES })
  assert.is(scattered.ready, 65_536)
  clock.ms = 5000
  while (scattered.take()) assert.ok(scattered.ready < 65_536)
  assert.ok(scattered.surveying)
})

test.run()
