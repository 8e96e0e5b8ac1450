import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { DriveId } from '../../src/base/index.ts'
import type { Allocation, HeldDrive, PoolDrive } from '../../src/provision/index.ts'
import { type AllocationView, nextStep } from '../../src/provision/next-step.ts'

const tag = 'weft-c1c1c1c1c1c1-abababababab-0000000000aa'
const disk = { place: '/bays/1', name: 'bay 1', serial: 'S1', wwid: '', sizeBytes: 100 }
const allocation: Allocation = {
  ...{ ...disk, tag, class: 3, towards: 'in', step: 'reserve', driveId: null },
  ...{ sinceMs: 0, doubtUntilMs: null, why: '', lastError: '' },
}
const reserved: HeldDrive = {
  ...disk,
  tag,
  class: 3,
  state: 'reserved',
  isHere: false,
  trouble: '',
}
const attached: HeldDrive = { ...reserved, state: 'attached', isHere: true }
const drive: PoolDrive = {
  ...{ id: 'd1' as DriveId, tag, serial: 'S1', class: 3, state: 'ok' },
  ...{ sizeBytes: 100, usedBytes: 10, freeBytes: 90, moveBytes: 10 },
}
const drained: PoolDrive = { ...drive, state: 'drained' }

const next = (towards: Allocation['towards'], more: Partial<AllocationView>) =>
  nextStep({
    ...{ held: null, drive: null, verified: false, deviceGone: false, nowMs: 1000 },
    allocation: { ...allocation, towards },
    ...more,
  }).do

test('in: what appliance and host say decides, not the step that was recorded', () => {
  assert.is(next('in', {}), 'reserve')
  assert.is(next('in', { held: reserved }), 'attach')
  assert.is(next('in', { held: { ...reserved, state: 'changing' } }), 'attach')
  assert.is(next('in', { held: attached }), 'make')
  assert.is(next('in', { held: attached, drive }), 'settle')
  assert.is(next('in', { held: { ...attached, trouble: 'predictive failure' } }), 'turnBack')
  assert.is(next('ready', { held: attached }), 'ready')
})

test('out: nothing is detached before it is drained, verified in this life, taken out and let go of', () => {
  const verified = true
  assert.is(next('out', { held: attached, drive }), 'drain')
  assert.is(next('out', { held: attached, drive, verified }), 'drain', 'it is in use again')
  assert.is(next('out', { held: attached, drive: drained }), 'verify')
  assert.is(next('out', { held: attached, drive: drained, verified }), 'takeOut')
  assert.is(next('out', { held: attached, deviceGone: true }), 'verify')
  assert.is(next('out', { held: attached, verified }), 'deleteDevice')
  assert.is(next('out', { held: attached, verified, deviceGone: true }), 'detach')
  assert.is(next('out', { held: reserved }), 'verify', 'it is erased when released')
  assert.is(next('out', { held: reserved, verified }), 'release')
  assert.is(next('out', {}), 'forget')
})

test('out: of every state that can be, detach is only asked for with nothing left on the way', () => {
  const yesNo = [false, true]
  for (const verified of yesNo) {
    for (const deviceGone of yesNo) {
      for (const held of [null, reserved, attached]) {
        for (const one of [null, drive, drained]) {
          const step = next('out', { held, drive: one, verified, deviceGone })
          if (step !== 'detach' && step !== 'release') continue
          assert.ok(verified && one === null && held !== null)
        }
      }
    }
  }
})

test('a drive before another host is left alone, on either way', () => {
  const elsewhere = { ...attached, isHere: false }
  for (const towards of ['in', 'ready', 'out'] as const) {
    assert.is(next(towards, { held: elsewhere, verified: true }), 'rest')
  }
})

test('a tag is not forgotten while an answer is outstanding', () => {
  const doubtful = { ...allocation, towards: 'out', doubtUntilMs: 1001 } as const
  assert.is(next('out', { allocation: doubtful }), 'rest')
  assert.is(next('out', { allocation: doubtful, nowMs: 1001 }), 'forget')
  assert.is(next('out', { allocation: doubtful, held: reserved, verified: true }), 'release')
})

test('what needs the power off is asked once, and is done when the appliance shows it done', () => {
  const stopped = { ...allocation, step: 'needs-power-off' } as const
  assert.is(next('in', { allocation: stopped, held: reserved }), 'rest')
  assert.is(next('in', { allocation: stopped, held: attached }), 'make')
  const leaving = { ...stopped, towards: 'out' } as const
  const done = { verified: true, deviceGone: true }
  assert.is(next('out', { allocation: leaving, held: attached, ...done }), 'rest')
  assert.is(next('out', { allocation: leaving, held: reserved, ...done }), 'release')
})

test.run()
