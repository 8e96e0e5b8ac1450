import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Change, Entry } from '../../src/coordinator/index.ts'
import { Watched } from '../../src/coordinator/watched.ts'
import { seeded } from '../support/seeded.ts'

const value = Buffer.from('v')
const set = (key: string, version: number): Entry => ({ key, value, version })
const gone = (key: string, version: number): Change => ({ key, value: null, version })

test('a comparison tells what changed, came and went, in the order of versions', () => {
  const watched = new Watched([set('same', 1), set('changed', 2), set('gone', 3)])
  const found = watched.compare([set('changed', 9), set('new', 7), set('same', 1)])
  assert.equal(
    found.map(({ key, version }) => [key, version]),
    [
      ['new', 7],
      ['changed', 9],
      ['gone', 9],
    ],
  )
  assert.is(found[2]?.value, null)
  assert.equal(watched.compare([set('changed', 9), set('new', 7), set('same', 1)]), [])
})

test('the version of a deletion found so is above its key’s last, and the revision where there is one', () => {
  assert.is(new Watched([set('k', 5)]).compare([])[0]?.version, 6)
  assert.is(new Watched([set('k', 5)]).compare([], 40)[0]?.version, 40)
})

test('what a comparison has told is not told again by the stream that overlaps it', () => {
  const watched = new Watched([set('k', 1)])
  watched.compare([set('other', 8)])
  assert.not.ok(watched.take(set('k', 4)), 'set and deleted before the list was made')
  assert.not.ok(watched.take(gone('k', 5)))
  assert.not.ok(watched.take(set('other', 8)))
  assert.ok(watched.take(set('k', 9)))
  assert.ok(watched.take(gone('k', 10)))
  assert.not.ok(watched.take(gone('k', 11)), 'a deletion of what is absent is none')
})

test('whatever is lost and overlaps, a watcher ends with what stands, and versions never go back', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seeded(seed)
    const stands = new Map<string, Entry>()
    const told = new Map<string, number>()
    const history: Change[] = []
    const watched = new Watched([])
    let last = 0
    let streamed = 0
    const tell = (change: Change) => {
      assert.ok(
        change.version >= last,
        `seed ${seed}: ${change.key} ${change.version} after ${last}`,
      )
      last = change.version
      if (change.value === null) assert.ok(told.delete(change.key), `seed ${seed}: deleted twice`)
      else told.set(change.key, change.version)
    }
    for (let version = 1; version < 60; version++) {
      const key = `k${random.below(4)}`
      if (stands.has(key) && random.below(3) === 0) {
        stands.delete(key)
        history.push(gone(key, version))
      } else {
        stands.set(key, set(key, version))
        history.push(set(key, version))
      }
      if (random.below(4) === 0) {
        // A break: the stream goes on from somewhere before the list that is compared.
        streamed = Math.max(streamed, history.length - random.below(6))
        for (const change of watched.compare([...stands.values()])) tell(change)
      } else if (random.below(2) === 0) {
        for (const change of history.slice(streamed)) if (watched.take(change)) tell(change)
        streamed = history.length
      }
    }
    for (const change of history.slice(streamed)) if (watched.take(change)) tell(change)
    assert.equal(
      told,
      new Map([...stands].map(([key, { version }]) => [key, version])),
      `seed ${seed}`,
    )
  }
})

test.run()
