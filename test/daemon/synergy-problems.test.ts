import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { synergyProblems } from '../../src/daemon/synergy-problems.ts'
import {
  type Allocation,
  type ProvisioningStatus,
  usualSettings,
} from '../../src/provision/index.ts'

const TAG = 'weft-aaaaaaaaaaaa-bbbbbbbbbbbb-000000000001'

function allocation(more: Partial<Allocation>): Allocation {
  return {
    ...{ tag: TAG, place: '/rest/bay/1', name: 'Frame1, bay 3, drive 12', class: 2 },
    ...{ serial: 'S', wwid: '', sizeBytes: 1, towards: 'in', step: 'settled', driveId: null },
    ...{ sinceMs: 0, doubtUntilMs: null, why: '', lastError: '' },
    ...more,
  }
}

function known(more: Partial<ProvisioningStatus>): ProvisioningStatus {
  return {
    ...{ kind: 'oneview', underWay: null, allocations: [], settings: usualSettings, growMs: 1 },
    reconciled: null,
    ...more,
  }
}

test('a frame whose drives are in use is no problem, and neither is no frame', () => {
  const status = known({ allocations: [allocation({})] })
  assert.equal(synergyProblems({ isConnected: true, known: status, trouble: '' }), [])
  assert.equal(synergyProblems({ isConnected: false, known: null, trouble: '' }), [])
})

test('what waits for the server to be off, what is stuck and an orphan are said with the command that helps', () => {
  const status = known({
    allocations: [
      allocation({ step: 'needs-power-off', lastError: 'only with the server off' }),
      allocation({
        tag: `${TAG.slice(0, -1)}2`,
        step: 'release',
        towards: 'out',
        lastError: 'EIO',
      }),
    ],
    reconciled: {
      atMs: 0,
      findings: [
        { is: 'orphan', tag: `${TAG.slice(0, -1)}3`, words: 'nobody knows of it' },
        { is: 'abandoned', tag: `${TAG.slice(0, -1)}5`, words: 'its node is no member' },
        { is: 'under-way', tag: `${TAG.slice(0, -1)}6`, words: 'at step release' },
        { is: 'needs-power-off', tag: TAG, words: 'said already' },
        { is: 'finished', tag: `${TAG.slice(0, -1)}4`, words: 'in use' },
      ],
    },
  })
  const found = synergyProblems({ isConnected: true, known: status, trouble: '' })
  assert.equal(
    found.map(({ severity, what }) => `${severity}: ${what}`),
    [
      'warning: Frame1, bay 3, drive 12 waits for this server to be switched off',
      'warning: Frame1, bay 3, drive 12 is not given back yet, at step release',
      `note: drive ${TAG.slice(0, -1)}3 of the frame: orphan`,
      `note: drive ${TAG.slice(0, -1)}5 of the frame: abandoned`,
    ],
  )
  assert.match(found[0]?.next ?? '', /weft synergy reconcile --retry-power; .*weft synergy release/)
  assert.is(found[2]?.next, 'weft synergy reconcile --release-orphans')
  assert.is(found[3]?.next, `weft synergy release ${TAG.slice(0, -1)}5`)
  for (const { why, next } of found) assert.ok(why && next)
})

test('an appliance that cannot be asked, and drives of a frame that was forgotten, are said', () => {
  const trouble = 'the password does not open'
  const [away] = synergyProblems({ isConnected: true, known: null, trouble })
  assert.is(away?.why, trouble)
  const left = known({ kind: 'fixed', allocations: [allocation({})] })
  const [orphaned] = synergyProblems({ isConnected: false, known: left, trouble: '' })
  assert.match(orphaned?.what ?? '', /1 drives? .*not connected/)
})

test.run()
