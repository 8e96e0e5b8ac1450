import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { suspendProof, systemClock } from '../../src/base/index.ts'
import { seeded } from '../support/seeded.ts'

/** A clock, the uptime of its machine in steps of 10 ms and its wall clock in whole milliseconds, moved by the test. */
function machine() {
  const at = { ms: 5000, bootMs: 905_000, wallMs: 1_700_000_000_000 }
  let asked = 0
  const clock = { ...systemClock(), monotonicMs: () => at.ms }
  const proof = suspendProof(clock, {
    sinceBootMs: () => {
      asked += 1
      return Math.floor(at.bootMs / 10) * 10
    },
    wallMs: () => Math.floor(at.wallMs),
  })
  const pass = (ms: number) => {
    at.ms += ms
    at.bootMs += ms
    at.wallMs += ms
  }
  const sleep = (ms: number) => {
    at.bootMs += ms
    at.wallMs += ms
  }
  return { at, proof, pass, sleep, asked: () => asked }
}

test('time in suspend counts, to within a step of the uptime', () => {
  const { proof, pass, sleep } = machine()
  const before = proof.monotonicMs()
  pass(3)
  sleep(60_000)
  assert.ok(Math.abs(proof.monotonicMs() - before - 60_003) <= 10)
})

test('uptime is asked when the wall clock has moved, and only then', () => {
  const { at, proof, pass, sleep, asked } = machine()
  const before = proof.monotonicMs()
  for (let round = 0; round < 1000; round++) {
    pass(7.3)
    proof.monotonicMs()
  }
  assert.is(asked(), 1)
  at.wallMs -= 3_600_000
  assert.ok(
    Math.abs(proof.monotonicMs() - before - 7300) <= 10,
    'a clock that is set is no suspend',
  )
  assert.is(asked(), 2)
  sleep(20)
  assert.ok(Math.abs(proof.monotonicMs() - before - 7320) <= 10)
  assert.is(asked(), 3)
})

test('two threads have the same time, whenever they began', () => {
  const { at, proof, pass, sleep } = machine()
  proof.monotonicMs()
  pass(100)
  sleep(5000)
  const clock = { ...systemClock(), monotonicMs: () => at.ms - 5050 }
  const watch = { sinceBootMs: () => at.bootMs, wallMs: () => at.wallMs }
  assert.ok(Math.abs(suspendProof(clock, watch).monotonicMs() - proof.monotonicMs()) <= 10)
})

test('without suspend it runs as the clock it is made of, and never back', () => {
  const { proof, pass } = machine()
  const random = seeded(1)
  const before = proof.monotonicMs()
  let passed = 0
  let last = before
  for (let round = 0; round < 1000; round++) {
    const step = random.below(400) / 100
    pass(step)
    passed += step
    const now = proof.monotonicMs()
    assert.ok(now >= last)
    assert.ok(Math.abs(now - before - passed) <= 10)
    last = now
  }
})

test('a pause between the two looks is not taken for suspend, nor for time that has not passed', () => {
  const at = { ms: 0, bootMs: 0, pauses: 0 }
  const clock = { ...systemClock(), monotonicMs: () => at.ms }
  const proof = suspendProof(clock, {
    wallMs: () => at.bootMs,
    sinceBootMs: () => {
      const { bootMs } = at
      if (at.pauses-- > 0) {
        at.ms += 3000
        at.bootMs += 3000
      }
      return bootMs
    },
  })
  at.pauses = 2
  assert.is(proof.monotonicMs(), 6000)
  at.bootMs += 100
  at.pauses = 1
  assert.is(proof.monotonicMs(), 9100)
})

test('the machine has such an uptime', () => {
  const proof = suspendProof(systemClock())
  const endMs = performance.now() + 50
  const before = proof.monotonicMs()
  while (performance.now() < endMs);
  assert.ok(Math.abs(proof.monotonicMs() - before - 50) < 20)
})

test.run()
