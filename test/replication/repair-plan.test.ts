import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { CopyId, NodeId } from '../../src/base/index.ts'
import { type CopyView, nextStep, type RepairView } from '../../src/replication/index.ts'

const GRACE_MS = 120_000

const id = (n: number) => `c${n}` as CopyId
const nodeId = (n: number) => `n${n}` as NodeId

/** A copy on node n, in sync and answering unless said otherwise; each node is a rack of its own. */
function copy(n: number, more: Partial<CopyView> = {}): CopyView {
  return {
    id: id(n),
    node: nodeId(n),
    domain: { region: null, zone: null, rack: `r${n}`, enclosure: null },
    isMember: true,
    isWhole: true,
    isOwn: n === 1,
    silentMs: 0,
    damaged: null,
    isLeaving: false,
    ...more,
  }
}

const view = (copies: CopyView[], more: Partial<RepairView> = {}): RepairView => ({
  copies,
  wanted: 3,
  spread: 'node',
  movingTo: null,
  graceMs: GRACE_MS,
  ...more,
})

const silent = (n: number, silentMs: number) => copy(n, { isMember: false, silentMs })
const joining = (n: number) => copy(n, { isMember: false })
const incomplete = (n: number, more: Partial<CopyView> = {}) => copy(n, { isWhole: false, ...more })

test('while as many are in sync as are wanted there is nothing to do', () => {
  assert.equal(nextStep(view([copy(1), copy(2), copy(3)])), { do: 'nothing' })
})

test('a copy that does not answer has the grace period to come back, then another is made', () => {
  const after = (ms: number) => nextStep(view([copy(1), copy(2), silent(3, ms)]))
  assert.equal(after(5000), { do: 'wait', copy: id(3), ms: GRACE_MS - 5000 })
  assert.equal(after(GRACE_MS - 1), { do: 'wait', copy: id(3), ms: 1 })
  assert.equal(after(GRACE_MS), { do: 'add', on: null })
})

test('while one copy alone is in sync nobody waits', () => {
  const step = nextStep(view([copy(1), silent(2, 10_000), joining(3)], { wanted: 2 }))
  assert.equal(step, { do: 'fill' })
  assert.equal(nextStep(view([copy(1), silent(2, 10_000)], { wanted: 2 })), { do: 'add', on: null })
  assert.equal(nextStep(view([copy(1), copy(2), silent(3, 10_000)])).do, 'wait')
})

test('a damaged copy is replaced at once: it does not come back', () => {
  const damaged = copy(3, { isMember: false, damaged: 'record 7' })
  assert.equal(nextStep(view([copy(1), copy(2), damaged])), { do: 'add', on: null })
})

test('the dead copy stays on record until the spare is in sync, and goes then', () => {
  const dead = silent(3, 10 * GRACE_MS)
  assert.equal(nextStep(view([copy(1), copy(2), dead, joining(4)])), { do: 'fill' })
  const done = nextStep(view([copy(1), copy(2), dead, copy(4)]))
  assert.equal(done, { do: 'release', copies: [id(3)] })
})

test('of a copy that returned and the spare for it the one that is in sync first stays', () => {
  assert.equal(nextStep(view([copy(1), copy(2), joining(3), joining(4)])), { do: 'fill' })
  const returned = nextStep(view([copy(1), copy(2), copy(3), joining(4)]))
  assert.equal(returned, { do: 'release', copies: [id(4)] })
  const both = nextStep(view([copy(1), copy(2), copy(3), copy(4)]))
  assert.equal(both, { do: 'release', copies: [id(4)] }, 'of equals the oldest')
})

test('a copy too near to another goes before one that stands apart, never the own one', () => {
  const near = copy(2, { domain: copy(1).domain })
  const copies = [copy(1), near, copy(3), copy(4)]
  assert.equal(nextStep(view(copies, { spread: 'rack' })), { do: 'release', copies: [id(2)] })
})

test('none is given up before enough are in sync, however many answer', () => {
  const step = nextStep(view([copy(1), copy(2), joining(3), joining(4), joining(5)]))
  assert.equal(step, { do: 'fill' })
})

test('more copies are made one after the other, fewer are given up at once', () => {
  assert.equal(nextStep(view([copy(1), copy(2)])), { do: 'add', on: null })
  const fewer = nextStep(view([copy(1), copy(2), copy(3)], { wanted: 1 }))
  assert.equal(fewer, { do: 'release', copies: [id(2), id(3)] })
})

test('a node is emptied by copying first; the owner moves away before its own copy goes', () => {
  const leaving = (n: number) => copy(n, { isLeaving: true })
  assert.equal(nextStep(view([copy(1), copy(2), leaving(3)])), { do: 'add', on: null })
  assert.equal(nextStep(view([copy(1), copy(2), leaving(3), joining(4)])), { do: 'fill' })
  const moved = nextStep(view([copy(1), copy(2), leaving(3), copy(4)]))
  assert.equal(moved, { do: 'release', copies: [id(3)] })
  const owner = nextStep(view([leaving(1), copy(2), copy(3), copy(4)]))
  assert.equal(owner, { do: 'handOver', to: nodeId(2) })
  assert.equal(nextStep(view([leaving(1), copy(2), copy(3)])), { do: 'add', on: null })
})

test('a volume moves once its copy there is in sync, and gives one up only when it has arrived', () => {
  const to = (copies: CopyView[]) => nextStep(view(copies, { movingTo: nodeId(4) }))
  const three = [copy(1), copy(2), copy(3)]
  assert.equal(to(three), { do: 'add', on: nodeId(4) })
  assert.equal(to([...three, joining(4)]), { do: 'nothing' })
  assert.equal(to([...three, copy(4)]), { do: 'handOver', to: nodeId(4) })
  const arrived = three.map((one) => ({ ...one, isOwn: false })).concat(copy(4, { isOwn: true }))
  assert.equal(nextStep(view(arrived)), { do: 'release', copies: [id(3)] })
})

test('whatever happens, no step leaves fewer in sync than are wanted, and the own copy stays', () => {
  // Every volume of up to five copies, each in one of a few conditions.
  const conditions = [
    {},
    { isMember: false },
    { isMember: false, silentMs: GRACE_MS },
    { isLeaving: true },
    { isMember: false, isLeaving: true },
    { isMember: false, damaged: 'lost' },
  ]
  let looked = 0
  for (let code = 0; code < conditions.length ** 4; code++) {
    const copies = [0, 1, 2, 3].map((n) =>
      copy(n + 2, conditions[Math.floor(code / conditions.length ** n) % conditions.length]),
    )
    for (const wanted of [1, 2, 3]) {
      for (const own of [copy(1), copy(1, { isLeaving: true })]) {
        const all = [own, ...copies]
        const step = nextStep(view(all, { wanted }))
        looked++
        if (step.do !== 'release') continue
        const left = all.filter((one) => !step.copies.includes(one.id) && one.isMember)
        assert.ok(left.length >= wanted, JSON.stringify({ wanted, all, step }))
        assert.not.ok(step.copies.includes(own.id))
      }
    }
  }
  assert.ok(looked > 5000)
})

test('no copy is given up for, and none owns the volume with, a member that lacks chunks', () => {
  const fewer = (third: CopyView) => nextStep(view([copy(1), copy(2), third], { wanted: 2 }))
  assert.equal(fewer(copy(3)), { do: 'release', copies: [id(3)] })
  assert.equal(
    nextStep(view([copy(1, { isLeaving: true }), incomplete(2)], { wanted: 1 })),
    { do: 'fill' },
    'the one that is leaving may have the only good copy',
  )
  assert.equal(nextStep(view([copy(1), incomplete(2), copy(3)], { wanted: 2 })), {
    do: 'release',
    copies: [id(2)],
  })
  assert.equal(nextStep(view([copy(1), incomplete(2)], { wanted: 2, movingTo: nodeId(2) })), {
    do: 'fill',
  })
})

test('an owner whose log is damaged hands over before there is a place for another copy', () => {
  const step = nextStep(view([copy(1, { damaged: 'its log' }), copy(2), copy(3)]))
  assert.equal(step, { do: 'handOver', to: nodeId(2) })
})

test('a member that cannot be given the chunks it lacks is replaced, as one that is damaged', () => {
  const stuck = incomplete(3, { damaged: 'no room' })
  assert.equal(nextStep(view([copy(1), copy(2), incomplete(3)])), { do: 'fill' })
  assert.equal(nextStep(view([copy(1), copy(2), stuck])), { do: 'add', on: null })
  assert.equal(nextStep(view([copy(1), copy(2), stuck, copy(4)])), {
    do: 'release',
    copies: [id(3)],
  })
})

test.run()
