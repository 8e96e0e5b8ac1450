import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Ino } from '../../src/base/index.ts'
import { type Forgetting, GRANT_MS, GRANT_VALID_MS, Grants } from '../../src/fuse/grants.ts'
import { HandClock } from '../cluster/world.ts'

const ino = (number: number) => number as Ino
const LEASE_MS = Number.POSITIVE_INFINITY
const FILE = ino(5)
const DIRECTORY = ino(2)
const A = 1
const B = 2

function world() {
  const clock = new HandClock()
  const asked: { asking: number; session: number; forgetting: Forgetting }[] = []
  const grants = new Grants({
    clock,
    ask: (asking, session, forgetting) => asked.push({ asking, session, forgetting }),
    granting: () => {},
  })
  let again = 0
  const change = (session: number, attributes: Ino[], names: Ino[] = []) =>
    grants.clear(session, { attributes, names }, () => {
      again++
    })
  return { clock, grants, asked, change, again: () => again }
}

test('a change waits until every other kernel has forgotten, and its own may keep what it has', () => {
  const { grants, asked, change, again } = world()
  for (const session of [A, B]) {
    assert.is(grants.attributes(session, FILE, LEASE_MS), GRANT_VALID_MS)
  }
  assert.is(change(A, [FILE]), false)
  assert.equal(asked, [{ asking: 1, session: B, forgetting: { attributes: [FILE], names: false } }])
  assert.is(again(), 0)
  // A second change waits for the same answer.
  assert.is(change(A, [FILE]), false)
  assert.is(asked.length, 1)
  grants.forgot(1)
  assert.is(again(), 2)
  assert.is(change(A, [FILE]), true)
  assert.is(change(B, [FILE]), false, 'the first one has it still')
})

test('what nobody has needs no asking, and names are not attributes', () => {
  const { grants, asked, change } = world()
  grants.attributes(B, DIRECTORY, LEASE_MS)
  assert.is(change(A, [FILE]), true)
  assert.is(change(A, [], [DIRECTORY]), true)
  grants.names(B, DIRECTORY, LEASE_MS)
  assert.is(change(A, [DIRECTORY]), false)
  grants.forgot(1)
  assert.is(change(A, [DIRECTORY]), true)
  assert.is(change(A, [], [DIRECTORY]), false, 'its names were not forgotten with its attributes')
  assert.equal(asked[1]?.forgetting, { attributes: [], names: true })
})

test('no name is granted to a kernel that is just forgetting them all', () => {
  const { grants, change } = world()
  grants.names(B, DIRECTORY, LEASE_MS)
  assert.is(change(A, [], [DIRECTORY]), false)
  assert.is(grants.names(B, FILE, LEASE_MS), 0)
  grants.forgot(1)
  assert.is(grants.names(B, FILE, LEASE_MS), GRANT_VALID_MS)
})

test('without an answer a grant ends by time, and an answer that comes later says nothing of new ones', () => {
  const { clock, grants, change, again } = world()
  grants.attributes(B, FILE, LEASE_MS)
  assert.is(change(A, [FILE]), false)
  clock.advance(GRANT_MS + 2)
  assert.is(again(), 1)
  assert.is(change(A, [FILE]), true)
  assert.is(grants.attributes(B, FILE, LEASE_MS), GRANT_VALID_MS)
  grants.forgot(1)
  assert.is(change(A, [FILE]), false)
})

test('what was changed under a grant is not granted for a while, so that two nodes do not revoke in turn', () => {
  const { clock, grants, change } = world()
  grants.attributes(B, FILE, LEASE_MS)
  change(A, [FILE])
  grants.forgot(1)
  assert.is(grants.attributes(B, FILE, LEASE_MS), 0)
  clock.advance(1001)
  assert.is(grants.attributes(B, FILE, LEASE_MS), GRANT_VALID_MS)
})

test('no grant outlives the lease', () => {
  const { grants } = world()
  assert.is(grants.attributes(A, FILE, 3000), 3000 - (GRANT_MS - GRANT_VALID_MS))
  assert.is(grants.attributes(A, FILE, 900), 0)
  assert.is(grants.attributes(A, FILE, -5000), 0)
})

test('a kernel that may have kept anything is asked once for each inode, until that time is over', () => {
  const { clock, grants, asked, change } = world()
  grants.keepsAny(B, 9000)
  assert.is(change(A, [FILE]), false)
  grants.forgot(1)
  assert.is(change(A, [FILE]), true)
  assert.is(change(A, [DIRECTORY]), false)
  grants.forgot(2)
  clock.advance(9001)
  assert.is(change(A, [ino(77)]), true)
  assert.is(asked.length, 2)
})

test('when another is to answer for the volume everything is forgotten, and nothing granted any more', () => {
  const { grants, asked } = world()
  for (let number = 1; number <= 1500; number++) grants.attributes(A, ino(number), LEASE_MS)
  grants.names(A, DIRECTORY, LEASE_MS)
  let again = 0
  const clearAll = () => grants.clearAll(() => again++)
  assert.is(clearAll(), false)
  assert.is(asked.flatMap(({ forgetting }) => forgetting.attributes).length, 1500)
  assert.is(grants.attributes(B, FILE, LEASE_MS), 0)
  for (const { asking } of asked) grants.forgot(asking)
  assert.is(again, 1)
  assert.is(clearAll(), true)
})

test.run()
