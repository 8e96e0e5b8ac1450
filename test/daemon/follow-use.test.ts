import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError, type NodeId, silentLog, type VolumeNumber } from '../../src/base/index.ts'
import { FollowUse } from '../../src/daemon/follow-use.ts'
import type { VolumeRecord } from '../../src/volumes/index.ts'
import { HandClock } from '../cluster/world.ts'
import { sample } from '../volumes/sample-record.ts'

const [SELF, OTHER, THIRD, FAR] = ['a', 'b', 'e', 'f'].map((digit) => digit.repeat(32)) as [
  NodeId,
  NodeId,
  NodeId,
  NodeId,
]
const NUMBER = 7 as VolumeNumber
const copies = [SELF, OTHER, THIRD].map((node) => ({
  id: node.replaceAll(node[0] as string, `${node[0]}1`).slice(0, 32) as never,
  node,
  drive: 'd'.repeat(32) as never,
}))
const record: VolumeRecord = { ...sample, copies, inSync: copies.map(({ id }) => id) }

function using({ is = record, files = 100, refuses = false } = {}) {
  const clock = new HandClock()
  const went: NodeId[] = []
  const follow = new FollowUse({
    node: SELF,
    mayGo: () => ({ record: is, files }),
    isFit: (node) => node !== THIRD,
    handOver: async (_, to) => {
      went.push(to)
      if (refuses) throw new FsError('EBUSY', 'volume.move', { message: 'locked' })
    },
    clock,
    log: silentLog,
  })
  follow.start()
  /** Each of them asks so often in each second. */
  const pass = async (seconds: number, nodes: readonly NodeId[], perSecond = 100) => {
    for (let second = 0; second < seconds; second++) {
      for (let n = 0; n < perSecond; n++) for (const node of nodes) follow.asked(NUMBER, node)
      clock.advance(1000)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return { follow, went, pass }
}

test('a volume goes to the node that alone has used it for ten seconds', async () => {
  const { went, pass } = using()
  await pass(9, [OTHER])
  assert.equal(went, [])
  await pass(3, [OTHER])
  assert.equal(went, [OTHER])
})

test('one of many files goes when it has been used alone for longer, for a move takes longer', async () => {
  const { went, pass } = using({ files: 90_000 })
  await pass(44, [OTHER])
  assert.equal(went, [])
  await pass(20, [OTHER])
  assert.equal(went, [OTHER])
})

test('it stays while its own node, or two others, ask for something in between', async () => {
  for (const nodes of [
    [SELF, OTHER],
    [OTHER, FAR],
  ]) {
    const { went, pass } = using()
    await pass(60, nodes)
    assert.equal(went, [])
  }
  const { went, pass } = using()
  for (let n = 0; n < 10; n++) {
    await pass(8, [OTHER])
    await pass(1, [SELF], 1)
  }
  assert.equal(went, [])
})

test('it stays with a node that has just become the owner', async () => {
  const { follow, went, pass } = using()
  follow.owned(NUMBER)
  await pass(29, [OTHER])
  assert.equal(went, [])
  await pass(15, [OTHER])
  assert.equal(went, [OTHER])
})

test('it goes nowhere without a copy in sync, to no node that drains, and not for a request now and then', async () => {
  const behind = { ...record, inSync: copies.slice(0, 1).map(({ id }) => id) }
  for (const [how, node, perSecond] of [
    [{}, FAR, 100],
    [{}, THIRD, 100],
    [{ is: behind }, OTHER, 100],
    [{}, OTHER, 5],
    [{ files: 1_000_000 }, OTHER, 100],
    [{ is: { ...record, spec: { ...record.spec, ownerStays: true } } }, OTHER, 100],
  ] as const) {
    const { went, pass } = using(how)
    await pass(40, [node], perSecond)
    assert.equal(went, [])
  }
})

test('what could not go is not tried again before a minute is over', async () => {
  const { went, pass } = using({ refuses: true })
  await pass(60, [OTHER])
  assert.equal(went, [OTHER])
  await pass(30, [OTHER])
  assert.equal(went, [OTHER, OTHER])
})

test.run()
