import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { suspendProof, systemClock } from '../../src/base/index.ts'
import { seeded } from '../support/seeded.ts'

/** A clock, and the uptime of its machine in steps of 10 ms, both moved by the test. */
function machine() {
  const at = { ms: 5000, bootMs: 905_000 }
  const clock = { ...systemClock(), monotonicMs: () => at.ms }
  const proof = suspendProof(clock, () => Math.floor(at.bootMs / 10) * 10)
  const pass = (ms: number) => {
    at.ms += ms
    at.bootMs += ms
  }
  return { at, proof, pass }
}

test('time in suspend counts, to within a step of the uptime', () => {
  const { at, proof, pass } = machine()
  const before = proof.monotonicMs()
  pass(3)
  at.bootMs += 60_000
  assert.ok(Math.abs(proof.monotonicMs() - before - 60_003) <= 10)
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

test('a pause between the two looks is not taken for suspend', () => {
  const at = { ms: 0, pauseMs: 0 }
  const clock = { ...systemClock(), monotonicMs: () => at.ms }
  const proof = suspendProof(clock, () => {
    const bootMs = at.ms
    at.ms += at.pauseMs
    return bootMs
  })
  const before = proof.monotonicMs()
  at.pauseMs = 3000
  proof.monotonicMs()
  at.pauseMs = 0
  assert.is(proof.monotonicMs() - before, 3000)
})

test('the machine has such an uptime', () => {
  const proof = suspendProof(systemClock())
  const endMs = performance.now() + 50
  const before = proof.monotonicMs()
  while (performance.now() < endMs);
  assert.ok(Math.abs(proof.monotonicMs() - before - 50) < 20)
})

test.run()
