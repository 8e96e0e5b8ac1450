import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { DriveId, NodeId } from '../../src/base/index.ts'
import {
  type Decision,
  type FreeDrive,
  type NodeRoom,
  type PolicySettings,
  type PoolDrive,
  usualSettings,
} from '../../src/provision/index.ts'
import { decide, type PolicyView } from '../../src/provision/policy.ts'
import { type Seeded, seeded } from '../support/seeded.ts'

const MINUTE_MS = 60_000
const NOW_MS = 1_700_000_000_000
const NODE = 'aa'.repeat(16) as NodeId
const settings: PolicySettings = { ...usualSettings, enabled: true, reserve: 'none' }

const drive = (n: number, more: Partial<PoolDrive> = {}): PoolDrive => {
  const one = { sizeBytes: 1000, usedBytes: 500, tag: `tag${n}`, ...more }
  return {
    ...{ id: `d${n}` as DriveId, serial: `S${n}`, class: 3, state: 'ok' },
    ...{ freeBytes: one.sizeBytes - one.usedBytes, moveBytes: one.usedBytes, ...one },
  }
}
const free = (n: number, sizeBytes = 1000): FreeDrive => ({
  ...{ place: `p${n}`, name: `bay ${n}`, class: 3, sizeBytes, serial: `S${n}`, wwid: '' },
})
const other = (n: number, domain: string, usedBytes: number): NodeRoom => ({
  ...{ node: `n${n}` as NodeId, domain, class: 3, sizeBytes: 10_000, usedBytes },
})
const view = (more: Partial<PolicyView> = {}): PolicyView => ({
  ...{ nowMs: NOW_MS, node: NODE, drives: [drive(1)], others: [], free: [free(1), free(2)] },
  ...{ ready: [], silent: [], failureOf: () => null },
  ...{
    rateOf: () => 0,
    seenMs: () => Number.POSITIVE_INFINITY,
    growMs: 10 * MINUTE_MS,
    heldDrives: 1,
    acts: [],
    blocked: '',
    demand: null,
  },
  ...more,
})
/** The decision for class 3. */
const decision = (more: Partial<PolicyView>, changed: Partial<PolicySettings> = {}): Decision => {
  const found = decide(view(more), { ...settings, ...changed }).find((one) => one.class === 3)
  if (!found) throw new Error('nothing was decided')
  return found
}
const refusal = (one: Decision) => (one.do === 'refused' ? `${one.wanted} ${one.because}` : one.do)

test('between the marks nothing is done, and it says so', () => {
  const one = decision({})
  assert.is(one.do, 'none')
  assert.match(one.why, /50 % of 1000 bytes used, between shrink-at 35 % and grow-at 75 %/)
})

test('at its mark a class grows by as many drives as bring it below', () => {
  assert.is(decision({ drives: [drive(1, { usedBytes: 749 })] }).do, 'none')
  const one = decision({ drives: [drive(1, { usedBytes: 750 })] })
  assert.ok(one.do === 'grow' && one.drives === 1)
  assert.match(one.why, /750 bytes of 1000 bytes used, grow-at is 75 %: take 1 drive/)
  const two = decision({
    drives: [drive(1, { usedBytes: 1000 })],
    free: [free(1, 200), free(2, 200)],
  })
  assert.ok(two.do === 'grow' && two.drives === 2)
})

test('it grows below its mark when it would be full before the frame has given a drive', () => {
  const drives = [drive(1, { usedBytes: 600 })]
  // 20 bytes a minute for twice the ten minutes that the frame takes: 400 bytes, which just fit.
  const rate = (perMinute: number) => ({ drives, rateOf: () => perMinute / MINUTE_MS })
  assert.is(decision(rate(20)).do, 'none')
  const one = decision(rate(21))
  assert.is(one.do, 'grow')
  assert.match(one.why, /that come in while the frame gives a drive, it would be full/)
  assert.is(
    decision({ ...rate(21), growMs: 5 * MINUTE_MS }).do,
    'none',
    'a quick frame is asked later',
  )
})

test('room is kept for this node’s share of what the largest other domain holds', () => {
  const others = [other(1, 'rack 1', 300), other(2, 'rack 1', 300), other(3, 'rack 2', 500)]
  const drives = [drive(1, { usedBytes: 650 })]
  // Rack 1 holds 600, and two nodes are left to make it again: 300 each.
  assert.is(decision({ drives, others }).do, 'none')
  const one = decision({ drives, others }, { reserve: 'one-node' })
  assert.is(one.do, 'none')
  assert.is(one.numbers.reserveBytes, 300)
  const short = decision(
    { drives: [drive(1, { usedBytes: 701 })], others },
    { reserve: 'one-node' },
  )
  assert.is(short.do, 'grow')
  assert.is(decision({ drives }, { reserve: 351 }).do, 'grow')
  assert.is(decision({ drives }, { reserve: 350 }).do, 'none')
})

test('nodes without the class keep nothing free for it, and share in nothing', () => {
  const plain = { ...other(9, 'rack 9', 0), class: 1 } as const
  const others = [other(1, 'rack 1', 600), other(2, 'rack 2', 0), plain]
  const one = decision({ others }, { reserve: 'one-node' })
  // Of rack 1, this node and the one of rack 2 make 300 each.
  assert.is(one.numbers.reserveBytes, 300)
})

test('a class of which nothing stays here, and that nobody waits for, is kept no room: nothing is bought for it', () => {
  const others = [other(1, 'rack 1', 600)]
  const gone = drive(2, { class: null, state: 'gone', sizeBytes: 0, usedBytes: 0 })
  const late = decide(view({ drives: [drive(1), gone], others }), {
    ...settings,
    reserve: 'one-node',
  })
  assert.equal(
    late.map((one) => [one.class, one.do]),
    [[3, 'grow']],
  )
  const known = decide(view({ drives: [{ ...gone, class: 1 }], others }), settings)
  assert.equal(known, [], 'one that is gone is no class')
  const failing = [drive(1, { state: 'failing', usedBytes: 0 })]
  assert.is(decision({ drives: failing, others }, { reserve: 'one-node' }).do, 'none')
  const filled = [drive(1, { state: 'failing', usedBytes: 10 })]
  assert.is(decision({ drives: filled, others }, { reserve: 'one-node' }).do, 'grow')
})

test('while a drive is gone that may be of the class nothing of it is given back', () => {
  const two = [drive(1, { usedBytes: 100 }), drive(2, { usedBytes: 100 })]
  for (const cos of [3, null] as const) {
    const gone = drive(3, { class: cos, state: 'gone', sizeBytes: 0, usedBytes: 0 })
    assert.is(refusal(decision({ drives: [...two, gone] })), 'shrink busy')
  }
  const other = drive(3, { class: 1, state: 'gone', sizeBytes: 0, usedBytes: 0 })
  assert.is(decision({ drives: [...two, other] }).do, 'shrink')
})

test('while a node is silent nothing is given back that may have to be kept for it', () => {
  const two = { drives: [drive(1, { usedBytes: 100 }), drive(2, { usedBytes: 100 })] }
  const one = decision({ ...two, silent: ['node2'] }, { reserve: 'one-node' })
  assert.is(refusal(one), 'shrink silent')
  assert.match(one.why, /node2 did not answer: how much has to stay free/)
  assert.is(decision({ ...two, silent: ['node2'] }).do, 'shrink', 'nothing is to be kept')
})

test('a class whose last drives a person has emptied does not grow again for what is on them', () => {
  const leaving = drive(1, { state: 'draining', usedBytes: 500 })
  assert.is(decision({ drives: [leaving] }).do, 'none')
  assert.is(decision({ drives: [leaving], demand: { class: 3, bytes: 10 } }).do, 'grow')
  assert.is(decision({ drives: [leaving, drive(2, { usedBytes: 300 })] }).do, 'grow')
})

test('after a try that failed it rests, whoever is urgent but somebody who waits', () => {
  const full = { drives: [drive(1, { usedBytes: 999 })], rateOf: () => 900 / MINUTE_MS }
  const failureOf = () => ({ why: 'the profile is locked', waitMs: 2 * MINUTE_MS })
  const one = decision({ ...full, failureOf })
  assert.is(refusal(one), 'grow failed')
  assert.match(one.why, /it is tried again in 2 min: the profile is locked/)
  assert.is(decision({ ...full, failureOf, demand: { class: 3, bytes: 1 } }).do, 'grow')
})

test('what lies on drives that fail or leave counts as used, and their room does not', () => {
  const failing = drive(2, { state: 'failing', usedBytes: 300 })
  const one = decision({ drives: [drive(1), failing] })
  assert.is(one.do, 'grow')
  assert.equal([one.numbers.usedBytes, one.numbers.sizeBytes], [800, 1000])
})

test('each thing that holds growth back is named', () => {
  const full = { drives: [drive(1, { usedBytes: 900 })] }
  const act = (minutesAgo: number, drives = 1) => ({
    atMs: NOW_MS - minutesAgo * MINUTE_MS,
    drives,
  })
  assert.is(refusal(decision(full, { enabled: false })), 'grow off')
  assert.is(refusal(decision({ ...full, blocked: 'the power' })), 'grow blocked')
  assert.is(refusal(decision({ ...full, heldDrives: 40 })), 'grow max-drives')
  assert.is(refusal(decision({ ...full, acts: [act(1400, 4)] })), 'grow budget')
  assert.is(refusal(decision({ ...full, acts: [act(1441, 4)] })), 'grow')
  assert.is(refusal(decision({ ...full, acts: [act(10)] })), 'grow cool-down')
  assert.is(refusal(decision({ ...full, free: [] })), 'grow none-free')
  const words = decision({ ...full, acts: [act(1400, 4)] }).why
  assert.match(words, /does not grow: the budget of 4 drives a day is used up; more from 2023-11-1/)
  assert.match(decision({ ...full, acts: [act(10)] }).why, /cooling down for another 20 min/)
})

test('the cool-down does not let a pool fill up, nor somebody wait', () => {
  const acts = [{ atMs: NOW_MS - 10 * MINUTE_MS, drives: 1 }]
  const full = { drives: [drive(1, { usedBytes: 900 })], acts }
  assert.is(decision({ ...full, rateOf: () => 3 / MINUTE_MS }).do, 'grow')
  assert.is(decision({ ...full, demand: { class: 3, bytes: 10 } }).do, 'grow')
})

test('budget and max-drives bound one act too', () => {
  const full = {
    drives: [drive(1, { usedBytes: 1000 })],
    free: [1, 2, 3, 4, 5, 6].map((n) => free(n, 60)),
  }
  const grown = (changed: Partial<PolicySettings>) => {
    const one = decision(full, changed)
    return one.do === 'grow' ? one.drives : 0
  }
  assert.is(grown({}), 4)
  assert.is(grown({ budgetPerDay: 2 }), 2)
  assert.is(grown({ maxDrives: 4 }), 3)
})

test('what stands ready is taken first, also while the frame gives nothing', () => {
  const full = { drives: [drive(1, { usedBytes: 900 })], ready: [free(9, 500)] }
  for (const more of [{}, { blocked: 'the power' }, { heldDrives: 40 }, { free: [] }]) {
    const one = decision({ ...full, ...more })
    assert.ok(one.do === 'grow' && one.drives === 1)
    assert.match(one.why, /take 1 drive of those that stand ready/)
  }
  assert.is(
    refusal(decision({ ...full, ready: [{ ...free(9), class: 1 }], free: [] })),
    'grow none-free',
  )
})

test('a class without drives grows when somebody waits for it', () => {
  const one = decision({ drives: [], demand: { class: 3, bytes: 1200 } })
  assert.ok(one.do === 'grow' && one.drives === 2)
})

test('below its mark the emptiest drive of the frame goes, and none that a person added', () => {
  const three = [
    drive(1, { usedBytes: 10, tag: null }),
    drive(2, { usedBytes: 300 }),
    drive(3, { usedBytes: 200 }),
  ]
  const one = decision({ drives: three })
  assert.ok(one.do === 'shrink' && one.tag === 'tag3')
  assert.match(one.why, /17 % of 2.9 KiB used, below shrink-at 35 %: give back drive d3/)
  const fixed = decision({ drives: three.map((each) => ({ ...each, tag: null })) })
  assert.is(fixed.do, 'none')
  assert.match(fixed.why, /no drive of the frame/)
})

test('each thing that holds shrinking back is named', () => {
  const two = [drive(1, { usedBytes: 100 }), drive(2, { usedBytes: 100 })]
  const acts = [{ atMs: NOW_MS - 10 * MINUTE_MS, drives: 1 }]
  assert.is(decision({ drives: two }).do, 'shrink')
  assert.is(refusal(decision({ drives: two }, { enabled: false })), 'shrink off')
  assert.is(refusal(decision({ drives: two, acts })), 'shrink cool-down')
  assert.is(refusal(decision({ drives: two, acts }, { budgetPerDay: 1 })), 'shrink budget')
  assert.is(refusal(decision({ drives: two }, { reserve: 900 })), 'shrink needed')
  assert.is(
    refusal(decision({ drives: [drive(1, { usedBytes: 0 })] })),
    'shrink needed',
    'the last',
  )
  const leaving = [...two, drive(3, { state: 'draining', usedBytes: 0 })]
  assert.is(refusal(decision({ drives: leaving })), 'shrink busy')
})

/** Any pool, any settings. */
function anyView(random: Seeded): { view: PolicyView; settings: PolicySettings } {
  const below = (end: number) => random.below(end)
  const drives = Array.from({ length: 1 + below(6) }, (_, n) => {
    const sizeBytes = 100 * (1 + below(20))
    const usedBytes = Math.floor((sizeBytes * below(100)) / (100 * (1 + below(4))))
    return drive(n, { sizeBytes, usedBytes, tag: below(4) === 0 ? null : `tag${n}` })
  })
  const others = Array.from({ length: below(5) }, (_, n) =>
    other(n, `rack ${below(3)}`, below(900)),
  )
  const rate = below(3) === 0 ? below(20) / MINUTE_MS : 0
  const growAtPercent = 30 + below(65)
  return {
    view: view({
      ...{ drives, others, rateOf: () => rate, growMs: below(60) * MINUTE_MS },
      free: Array.from({ length: below(6) }, (_, n) => free(n, 100 * (1 + below(40)))),
    }),
    settings: {
      ...settings,
      growAtPercent,
      shrinkAtPercent: below(growAtPercent - 9),
      reserve: (['none', 'one-node', below(500)] as const)[below(3)] ?? 'none',
      coolDownMs: below(60) * MINUTE_MS,
    },
  }
}

/** Without this drive, and with what was on it on the others. */
function without(drives: readonly PoolDrive[], id: DriveId): PoolDrive[] {
  const gone = drives.find((one) => one.id === id)
  const [first, ...rest] = drives.filter((one) => one.id !== id)
  if (!first || !gone) return []
  return [{ ...first, usedBytes: first.usedBytes + gone.usedBytes }, ...rest]
}

test('after a shrink it does not want to grow before the cool-down is over, whatever the pool', () => {
  let shrunk = 0
  for (let seed = 1; seed <= 20_000; seed++) {
    const random = seeded(seed)
    const before = anyView(random)
    const [one] = decide(before.view, before.settings)
    if (one?.do !== 'shrink') continue
    shrunk++
    const rate = before.view.rateOf(3)
    for (const part of [0, 0.5, 1]) {
      const ms = before.settings.coolDownMs * part
      const [first, ...rest] = without(before.view.drives, one.drive)
      if (!first) throw new Error(`seed ${seed}: the last drive went`)
      const drives = [{ ...first, usedBytes: first.usedBytes + rate * ms }, ...rest]
      const [next] = decide({ ...before.view, drives }, before.settings)
      const wants = next?.do === 'refused' ? next.wanted : next?.do
      assert.is.not(wants, 'grow', `seed ${seed}: ${one.why}; then: ${next?.why}`)
    }
  }
  assert.ok(shrunk > 1000, `${shrunk} shrank`)
})

test('after a growth it does not want to give back what it took, whatever the pool', () => {
  let grown = 0
  for (let seed = 1; seed <= 20_000; seed++) {
    const before = anyView(seeded(seed))
    const [one] = decide(before.view, before.settings)
    if (one?.do !== 'grow') continue
    grown++
    const biggest = Math.max(...before.view.free.map(({ sizeBytes }) => sizeBytes))
    const fresh = drive(99, { sizeBytes: biggest, usedBytes: 0 })
    const after = { ...before.view, drives: [...before.view.drives, fresh] }
    const [next] = decide(after, before.settings)
    assert.not.ok(next?.do === 'shrink' && next.drive === fresh.id, `seed ${seed}: ${next?.why}`)
  }
  assert.ok(grown > 1000, `${grown} grew`)
})

test('a burst is not taken for the rate of an hour, and a pool that was just begun to be watched does not shrink', () => {
  const drives = [drive(1, { sizeBytes: 1000, usedBytes: 100 }), drive(2, { sizeBytes: 1000 })]
  const fast = { drives, rateOf: () => 600 / MINUTE_MS, growMs: 20 * MINUTE_MS }
  assert.is(decision({ ...fast, seenMs: () => MINUTE_MS / 12 }).do, 'refused')
  assert.is(decision({ ...fast, seenMs: () => 5 * MINUTE_MS }).do, 'grow')
  const calm = { drives, rateOf: () => 0 }
  assert.match(decision({ ...calm, seenMs: () => MINUTE_MS }).why, /watched for another 4 min/)
  assert.is(decision({ ...calm, seenMs: () => 6 * MINUTE_MS }).do, 'shrink')
})

test.run()
