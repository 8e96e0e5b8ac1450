import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'
import { SimulatedDisk } from '../../src/disk/index.ts'
import {
  changeSettings,
  type LogEntry,
  type PolicyWords,
  settingsWords,
  usualSettings,
} from '../../src/provision/index.ts'
import { PolicyLog } from '../../src/provision/policy-log.ts'
import { readSettings, writeSettings } from '../../src/provision/settings-file.ts'
import { UseRates } from '../../src/provision/use-rate.ts'
import { seeded } from '../support/seeded.ts'

test('the settings of the manual are read as they are typed', () => {
  const settings = changeSettings(usualSettings, {
    ...{ enabled: true, growAt: '80%', shrinkAt: '20', reserve: '500G' },
    ...{ maxDrives: '12', budget: '6/day', coolDown: '2h', ready: '2' },
  })
  assert.equal(settings, {
    ...{ enabled: true, dryRun: false, growAtPercent: 80, shrinkAtPercent: 20 },
    ...{
      reserve: 500 * 2 ** 30,
      maxDrives: 12,
      budgetPerDay: 6,
      coolDownMs: 7_200_000,
      readyDrives: 2,
    },
  })
  assert.is(changeSettings(settings, { reserve: 'none' }).reserve, 'none')
  assert.is(changeSettings(settings, {}).coolDownMs, 7_200_000, 'what is not said stays')
  assert.is(
    settingsWords(settings),
    'policy on: grow at 80 %, shrink at 20 %, reserve 500 GiB, at most 12 drives of the frame, 6 a day, cool-down 2 h, 2 of each class ready',
  )
})

test('what is not understood is refused with the option, the text and an example', () => {
  const wrong: [PolicyWords, RegExp][] = [
    [{ growAt: '100%' }, /--grow-at "100%" .* as in --grow-at 75%/],
    [{ growAt: '7.5%' }, /--grow-at/],
    [{ shrinkAt: 'low' }, /--shrink-at "low"/],
    [{ shrinkAt: '70%' }, /too near/],
    [{ reserve: 'two-nodes' }, /--reserve "two-nodes" .*one-node, none, or a size/],
    [{ reserve: '' }, /--reserve/],
    [{ maxDrives: '0' }, /--max-drives "0" .*1 to 1000/],
    [{ budget: '4/week' }, /--budget "4\/week" .*--budget 4\/day/],
    [{ budget: '-1' }, /--budget/],
    [{ coolDown: '30' }, /--cool-down "30" .*s, m, h or d/],
    [{ coolDown: '30d' }, /at most 7d/],
    [{ ready: 'all' }, /--ready "all" .*0 to 16 drives of each class/],
  ]
  for (const [words, message] of wrong) {
    assert.throws(
      () => changeSettings(usualSettings, words),
      (error: unknown) =>
        error instanceof FsError && error.code === 'EINVAL' && message.test(error.message),
      JSON.stringify(words),
    )
  }
})

test('settings survive a power cut, and a damaged file is refused', () => {
  const disk = new SimulatedDisk()
  assert.equal(readSettings(disk, '/policy'), usualSettings)
  writeSettings(disk, '/policy', { ...usualSettings, reserve: 7 })
  disk.powerCut(seeded(1))
  assert.is(readSettings(disk, '/policy').reserve, 7)
  assert.is(JSON.parse(disk.readFile('/policy').toString()).version, 1, 'an older build reads it')
  writeSettings(disk, '/policy', { ...usualSettings, readyDrives: 3 })
  assert.is(JSON.parse(disk.readFile('/policy').toString()).version, 2)
  assert.is(readSettings(disk, '/policy').readyDrives, 3)
  for (const text of ['{', '{}', '{"version":3,"settings":{}}', '{"version":2,"settings":{}}']) {
    disk.replaceFile('/policy', Buffer.from(text))
    assert.throws(() => readSettings(disk, '/policy'), /move it away.*weft policy set/)
  }
})

const entry = (n: number, why = ''): LogEntry => ({
  ...{ atMs: n, what: 'began', act: 'grow', class: 3, drives: 1, ms: null, why, numbers: {} },
})

test('the log keeps what it was told over a power cut, and leaves out a torn line', () => {
  for (let seed = 1; seed < 50; seed++) {
    const disk = new SimulatedDisk()
    const log = new PolicyLog(disk, '/log')
    log.add(entry(1))
    log.add(entry(2))
    disk.powerOffAfter(1)
    assert.throws(() => log.add(entry(3, 'x'.repeat(2000))))
    disk.powerCut(seeded(seed))
    const again = new PolicyLog(disk, '/log')
    assert.equal(again.entries().slice(0, 2), [entry(1), entry(2)])
    again.add(entry(4))
    assert.equal(new PolicyLog(disk, '/log').entries().at(-1), entry(4), `seed ${seed}`)
  }
})

test('the log is bounded: the older half goes', () => {
  const disk = new SimulatedDisk()
  const log = new PolicyLog(disk, '/log')
  for (let n = 0; n < 500; n++) log.add({ ...entry(n, 'x'.repeat(10_000)), what: 'refused' })
  assert.equal(disk.list('/'), ['log', 'log.1'])
  assert.ok((disk.stat('/log')?.bytes ?? 0) <= 2 ** 20)
  const kept = log.entries()
  assert.ok(kept.length >= 104 && kept.length <= 210, `${kept.length}`)
  assert.equal(kept, new PolicyLog(disk, '/log').entries())
  assert.is(kept.at(-1)?.atMs, 499)
})

test('what counts for the budget of the day outlives the file that it was written to', () => {
  const disk = new SimulatedDisk()
  const log = new PolicyLog(disk, '/log')
  const dayMs = 24 * 3_600_000
  const long = 'x'.repeat(10_000)
  log.add(entry(1))
  log.add(entry(dayMs))
  for (let n = 0; n < 500; n++) log.add({ ...entry(dayMs + 1 + n, long), what: 'refused' })
  for (const entries of [log.entries(), new PolicyLog(disk, '/log').entries()]) {
    const begun = entries.filter(({ what }) => what === 'began')
    assert.equal(
      begun.map(({ atMs }) => atMs),
      [dayMs],
    )
  }
})

test('a rate is of the last half hour or the last minutes, whichever is faster', () => {
  const minute = 60_000
  const rates = new UseRates()
  assert.is(rates.bytesPerMs(3), 0)
  for (let at = 0; at <= 60; at++) rates.see(3, at * minute, at * minute)
  assert.is(rates.bytesPerMs(3), 1)
  for (let at = 61; at <= 66; at++) rates.see(3, at * minute, 60 * minute + (at - 60) * 5 * minute)
  assert.is(rates.bytesPerMs(3), 5)
  for (let at = 67; at <= 120; at++) rates.see(3, at * minute, 90 * minute)
  assert.is(rates.bytesPerMs(3), 0)
})

test('a drive that comes back with all that is on it is no burst', () => {
  const rates = new UseRates()
  const minute = 60_000
  for (let at = 0; at <= 10; at++) rates.see(3, at * minute, 1000, 'a b')
  rates.see(3, 11 * minute, 100, 'a')
  rates.see(3, 12 * minute, 1000, 'a b')
  assert.is(rates.bytesPerMs(3), 0)
  assert.is(rates.seenMs(3), 0)
})

test.run()
