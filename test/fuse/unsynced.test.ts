import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Ino } from '../../src/base/index.ts'
import { Unsynced } from '../../src/fuse/index.ts'

const [DIRECTORY, FILE] = [7 as Ino, 8 as Ino]
const [A, B, C] = [100, 200, 300]

class World {
  nowMs = 1_000_000
  readonly dead = new Set<number>()
  readonly unsynced = new Unsynced(
    () => this.nowMs,
    (thread) => !this.dead.has(thread),
  )

  change(ino: Ino, thread: number): void {
    this.unsynced.changed({ ino, thread, atMs: this.nowMs++ })
  }
}

test('each thread that changed something is told once, by its next fsync of that', () => {
  const world = new World()
  const { unsynced } = world
  world.change(DIRECTORY, A)
  world.change(DIRECTORY, B)
  world.change(FILE, A)
  assert.not(unsynced.take(DIRECTORY, A), 'nothing is lost')
  unsynced.lose()
  assert.ok(unsynced.owes)
  assert.ok(unsynced.take(DIRECTORY, A))
  assert.not(unsynced.take(DIRECTORY, A))
  assert.ok(unsynced.take(DIRECTORY, B))
  assert.not(unsynced.take(DIRECTORY, C), 'all have been told')
  assert.ok(unsynced.take(FILE, A))
  assert.not(unsynced.owes)
})

test('who syncs for a thread that did not, or is gone, is told in its stead', () => {
  const world = new World()
  const { unsynced, dead } = world
  world.change(DIRECTORY, A)
  world.change(DIRECTORY, B)
  unsynced.lose()
  dead.add(B)
  assert.ok(unsynced.take(DIRECTORY, C))
  assert.not(unsynced.take(DIRECTORY, C))
  assert.ok(unsynced.take(DIRECTORY, A), 'it lives, and has not been told')
  assert.not(unsynced.owes)
})

test('what was synced is not lost, and what was changed since is', () => {
  const world = new World()
  const { unsynced } = world
  world.change(DIRECTORY, A)
  world.change(FILE, A)
  unsynced.synced(DIRECTORY, unsynced.asked())
  unsynced.lose()
  assert.not(unsynced.take(DIRECTORY, A))
  assert.ok(unsynced.take(FILE, A))
  const asked = unsynced.asked()
  world.change(DIRECTORY, A)
  unsynced.synced(DIRECTORY, asked)
  unsynced.lose()
  assert.ok(unsynced.take(DIRECTORY, A), 'it was changed while the fsync was under way')
  world.change(FILE, B)
  unsynced.synced(null, unsynced.asked())
  unsynced.lose()
  assert.not(unsynced.take(FILE, B))
})

test('a change before an fsync is before it by whatever clock it was noted', () => {
  const { unsynced, nowMs } = new World()
  unsynced.changed({ ino: FILE, thread: A, atMs: nowMs + 10 })
  unsynced.synced(FILE, unsynced.asked())
  const asked = unsynced.asked()
  unsynced.changed({ ino: DIRECTORY, thread: A, atMs: nowMs - 10 })
  unsynced.synced(DIRECTORY, asked)
  unsynced.lose()
  assert.not(unsynced.take(FILE, A))
  assert.ok(unsynced.take(DIRECTORY, A))
})

test('syncfs fails for whatever was lost', () => {
  const world = new World()
  const { unsynced } = world
  world.change(FILE, A)
  assert.not(unsynced.take(null, A))
  unsynced.lose()
  assert.ok(unsynced.take(null, C))
  assert.not(unsynced.take(null, C))
  assert.ok(unsynced.take(null, A))
  assert.not(unsynced.take(null, A))
  assert.ok(unsynced.take(FILE, A), 'an fsync of the file is another question')
})

test('what an owner has had for a minute is committed', () => {
  const world = new World()
  const { unsynced } = world
  world.change(FILE, A)
  world.nowMs += 70_000
  world.change(DIRECTORY, A)
  unsynced.lose()
  assert.not(unsynced.take(FILE, A))
  assert.ok(unsynced.take(DIRECTORY, A))
})

test('what a daemon of before changed is not known: the first fsync of anything fails', () => {
  const world = new World()
  const { unsynced } = world
  unsynced.uncounted(world.nowMs)
  assert.not(unsynced.take(FILE, A))
  unsynced.lose()
  assert.ok(unsynced.owes)
  assert.ok(unsynced.take(FILE, A))
  assert.not(unsynced.take(FILE, B))
  assert.ok(unsynced.take(DIRECTORY, B))
  assert.ok(unsynced.take(null, B))
  assert.not(unsynced.take(null, A))
})

test('a minute after the daemon of before, all of it is committed', () => {
  const world = new World()
  const { unsynced } = world
  unsynced.uncounted(world.nowMs)
  world.nowMs += 70_000
  unsynced.lose()
  assert.not(unsynced.take(FILE, A))
})

test('it keeps no more inodes than what is not committed needs', () => {
  const world = new World()
  for (let ino = 1; ino <= 20_000; ino++) {
    world.change(ino as Ino, A)
    world.nowMs += 20
  }
  assert.ok(world.unsynced.list().length < 10_000, `${world.unsynced.list().length}`)
})

test('of an inode that is never synced those threads are known whose changes may not be committed', () => {
  const world = new World()
  const { unsynced } = world
  for (let thread = 1; thread <= 10_000; thread++) {
    world.change(FILE, thread)
    world.nowMs += 1000
  }
  const known = unsynced.list().map(({ thread }) => thread)
  assert.ok(known.length <= 512, `${known.length} threads`)
  for (let ago = 0; ago < 55; ago++) assert.ok(known.includes(10_000 - ago))
  unsynced.lose()
  assert.ok(unsynced.take(FILE, 9990))
})

test.run()
