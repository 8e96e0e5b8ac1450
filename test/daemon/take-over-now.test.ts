import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { CopyId, DriveId, NodeId } from '../../src/base/index.ts'
import { couldOwnNow } from '../../src/daemon/take-over-now.ts'
import { sample } from '../volumes/sample-record.ts'

const node = (n: number) => `${n}`.repeat(32) as NodeId
const [slot] = sample.keys.slots
const copies = [1, 2, 3].map((n) => ({
  id: `${n}`.repeat(32) as CopyId,
  node: node(n),
  drive: 'd'.repeat(32) as DriveId,
}))
/** Nodes 1 and 2 have a key of it. */
const record = {
  ...sample,
  copies,
  minimum: 2,
  keys: { ...sample.keys, slots: [1, 2].map((n) => ({ ...slot, publicKey: `key${n}` })) },
} as typeof sample

const now = (...up: number[]) =>
  couldOwnNow(
    record,
    (id) => up.some((n) => node(n) === id),
    (id) => `key${id[0]}`,
  )

test('a node can own a volume that is up and has a copy and a key, while enough copies are up', () => {
  assert.equal(now(1, 2, 3), [node(1), node(2)])
  assert.equal(now(2, 3), [node(2)])
  assert.equal(now(2), [], 'below the minimum')
  assert.equal(now(3), [])
})

test.run()
