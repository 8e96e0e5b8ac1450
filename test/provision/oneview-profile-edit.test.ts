import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { entryOf, withEntry, withoutEntry } from '../../src/provision/oneview/profile-edit.ts'
import { thrownBy } from '../support/thrown.ts'
import { fixture } from './fixture.ts'

const entry = {
  deviceSlot: 'Mezz 1',
  name: 'weft-a',
  driveMinSizeGB: 100,
  driveMaxSizeGB: 100,
  driveTechnology: 'SataSsd',
  eraseData: true,
  sasLogicalJBODUri: '/rest/sas-logical-jbods/a',
}
const text = (value: unknown) => JSON.stringify(value)

test('a JBOD is appended under the next id, and every other byte of the profile is as it was read', () => {
  const profile = fixture('ServerProfile')
  const before = text(profile)
  const edited = withEntry(profile, entry)
  assert.is(text(profile), before, 'the profile read is not changed')
  const added = { id: 3, ...entry, numPhysicalDrives: 1, persistent: true }
  assert.is(text(edited), before.replace('],"controllers"', `,${text(added)}],"controllers"`))
})

test('fields that nobody knows and the order of keys survive', () => {
  const profile = { zeta: { b: 1, a: [null, 2.5] }, ...fixture('ServerProfile') }
  profile.localStorage.alien = { y: 1, x: 2 }
  profile.localStorage.sasLogicalJBODs[0].alien = 'kept'
  const edited = withEntry(profile, entry)
  assert.is(text(withoutEntry(edited, entry.sasLogicalJBODUri)), text(profile))
})

test('a JBOD added and taken away leaves each profile as it was', () => {
  for (const profile of [fixture('ServerProfile'), fixture('ServerProfileList')[0]]) {
    const edited = withEntry(profile, entry)
    assert.is(
      edited.localStorage?.sasLogicalJBODs?.at(-1)?.sasLogicalJBODUri,
      entry.sasLogicalJBODUri,
    )
    assert.is(text(withoutEntry(edited, entry.sasLogicalJBODUri)), text(profile))
  }
})

test('the next id is above the largest, where others left gaps and an order of their own', () => {
  const profile = fixture('ServerProfileList')[1]
  const { localStorage } = profile
  localStorage.sasLogicalJBODs = localStorage.sasLogicalJBODs.filter(
    ({ id }: { id: number }) => id > 2,
  )
  const ids: number[] = localStorage.sasLogicalJBODs.map(({ id }: { id: number }) => id)
  assert.ok(ids.length > 2 && ids[0] !== Math.min(...ids), 'the fixture has an order of its own')
  const edited = withEntry(profile, entry)
  assert.is(entryOf(edited, entry.sasLogicalJBODUri)?.id, Math.max(...ids) + 1)
  assert.equal(edited.localStorage?.sasLogicalJBODs?.slice(0, -1), localStorage.sasLogicalJBODs)
})

test('a profile without local storage gets one that manages no controller', () => {
  const { localStorage } = withEntry({ ...fixture('ServerProfile'), localStorage: null }, entry)
  assert.equal(localStorage?.controllers, [])
  assert.is(localStorage?.sasLogicalJBODs?.[0]?.id, 1)
})

test('ids above the one taken away move down, and the RAID drives that name them with them', () => {
  const profile = fixture('ServerProfile')
  const [first, second] = profile.localStorage.sasLogicalJBODs
  const added = { ...second, id: 3, name: 'third', sasLogicalJBODUri: '/rest/sas-logical-jbods/c' }
  // The order in the list is free.
  profile.localStorage.sasLogicalJBODs = [added, first, second]
  profile.localStorage.controllers = [
    {
      deviceSlot: 'Mezz 1',
      mode: 'Mixed',
      logicalDrives: [
        { name: 'boot', sasLogicalJBODId: 3 },
        { name: 'embedded', sasLogicalJBODId: null },
        { name: 'first', sasLogicalJBODId: 1 },
      ],
    },
    { deviceSlot: 'Embedded', mode: 'HBA', logicalDrives: null },
  ]
  const { localStorage } = withoutEntry(profile, second.sasLogicalJBODUri)
  assert.equal(localStorage?.sasLogicalJBODs, [{ ...added, id: 2 }, first])
  assert.equal(
    localStorage?.controllers?.[0]?.logicalDrives?.map((drive) => drive.sasLogicalJBODId),
    [2, null, 1],
  )
})

test('the last JBOD taken away leaves an empty list, not none', () => {
  const profile = { ...fixture('ServerProfile'), localStorage: null }
  const edited = withoutEntry(withEntry(profile, entry), entry.sasLogicalJBODUri)
  assert.equal(edited.localStorage?.sasLogicalJBODs, [])
})

test('a JBOD on which somebody made a RAID drive is not taken away', async () => {
  const profile = withEntry(fixture('ServerProfile'), entry)
  profile.localStorage?.controllers?.push({
    deviceSlot: 'Mezz 1',
    mode: 'Mixed',
    logicalDrives: [{ name: 'boot', sasLogicalJBODId: 3 }],
  })
  const error = await thrownBy(() => withoutEntry(profile, entry.sasLogicalJBODUri))
  assert.is(error.code, 'EBUSY')
  assert.match(error.message, /logical drive boot of server profile Apache_Primary/)
})

test.run()
