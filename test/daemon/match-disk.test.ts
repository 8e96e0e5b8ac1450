import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { DriveId } from '../../src/base/index.ts'
import { isHalfMade, matching, mustBeUsable } from '../../src/daemon/match-disk.ts'
import type { BlockDisk, Standing } from '../../src/drives/index.ts'

const TB = 1e12
const DRIVE = '0123456789abcdef0123456789abcdef' as DriveId
const meant = {
  ...{ serial: 'S4EVNF0M7006782A0001', wwid: '5002538a4894f5a0', sizeBytes: TB },
  drive: null as DriveId | null,
}

function disk(serial: string, wwn: string, standing: Standing = { kind: 'free' }): BlockDisk {
  const path = `/dev/${serial || wwn}`
  const rest = {
    model: '',
    transport: 'sas',
    media: 'ssd' as const,
    links: [],
    name: path.slice(5),
  }
  return { ...rest, path, serial, wwn, sizeBytes: TB, standing }
}

test('a disk is told by its serial number, of which the host may show a part', () => {
  const others = [disk('S4EVNF0M7006782A0002', meant.wwid), disk('', '5002538a4894f5b0')]
  assert.equal(matching(meant, [...others, disk(meant.serial, 'x')]).length, 1)
  assert.equal(
    matching(meant, [...others, disk('S4EVNF0M7006782A0001', '')])[0]?.serial,
    meant.serial,
  )
  assert.equal(matching(meant, [disk('S4EVNF0M70', '')]).length, 1)
  assert.equal(matching(meant, [disk('S4EV', '')]), [], 'too short to tell')
  assert.equal(matching(meant, others), [])
})

test('one without a serial number is told by its WWN, whose last digit may differ', () => {
  assert.equal(matching(meant, [disk('', '5002538a4894f5a3')]).length, 1)
  assert.equal(matching(meant, [disk('', '5002538a4894f5b0')]), [])
  assert.equal(matching(meant, [disk('OTHERSERIAL1', '5002538a4894f5a3')]), [])
})

test('a disk of another size, in use, or with something on it is the wrong one', () => {
  const usable = disk(meant.serial, meant.wwid)
  mustBeUsable(usable, meant)
  mustBeUsable({ ...usable, sizeBytes: 0.94 * TB }, meant)
  assert.throws(() => mustBeUsable({ ...usable, sizeBytes: 2 * TB }, meant), /about 1000000000000/)
  const signature = { type: 'ext4', offsetBytes: 1080, label: 'letters', uuid: '' }
  const standing = {
    kind: 'unusable',
    code: 'EEXIST',
    why: 'signature found: ext4 "letters"',
    isForceable: true,
    signatures: [signature],
  } as const
  assert.throws(() => mustBeUsable(disk(meant.serial, '', standing), meant), /ext4 "letters"/)
  assert.not(isHalfMade(disk(meant.serial, '', standing), DRIVE))
})

test('one that weft formatted as this drive and did not label goes on being made; as another drive it is refused', () => {
  const uuid = '01234567-89AB-cdef-0123-456789abcdef'
  const signatures = [{ type: 'xfs', offsetBytes: 0, label: 'weft', uuid }]
  const standing = {
    kind: 'unusable',
    code: 'EEXIST',
    why: `formatted as drive ${DRIVE}, but its label is of a newer weft`,
    isForceable: true,
    signatures,
  } as const
  const half = disk(meant.serial, '', standing)
  assert.ok(isHalfMade(half, DRIVE))
  mustBeUsable(half, { ...meant, drive: DRIVE })
  // Somebody's drive whose label cannot be read here looks the same, but for its id.
  const other = DRIVE.replace('0', 'f') as DriveId
  for (const drive of [null, other]) {
    assert.not(isHalfMade(half, drive))
    assert.throws(() => mustBeUsable(half, { ...meant, drive }), /its label is of a newer weft/)
  }
})

test.run()
