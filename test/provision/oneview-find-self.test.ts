import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  findSelf,
  inReach,
  isSameUuid,
  mustShowDisks,
  sasSlotOf,
} from '../../src/provision/oneview/find-self.ts'
import { thrownBy } from '../support/thrown.ts'
import { fixture } from './fixture.ts'

const profiles = [fixture('ServerProfile'), ...fixture('ServerProfileList')]
const hardware = fixture('ServerHardwareList')
const OWN_HARDWARE = '/rest/server-hardware/30303437-3034-4D32-3230-313130304752'

test('a machine with virtual ids is known by its profile', () => {
  const byUuid = findSelf(
    { uuid: 'B425802B-A6A5-4941-8885-AAB68DFA2EE2', serial: '' },
    profiles,
    hardware,
  )
  assert.is(byUuid.profile.name, 'Apache_Primary')
  assert.is(byUuid.hardware.uri, OWN_HARDWARE)
  const bySerial = findSelf({ uuid: '', serial: 'VCGU6DA002 ' }, profiles, hardware)
  assert.is(bySerial.hardware.uri, OWN_HARDWARE)
  assert.is(bySerial.by, 'profile serial number')
})

test('a machine with the ids it was made with is known by its hardware, in both byte orders', () => {
  for (const uuid of [
    '30303437-3034-4D32-3230-313130304752',
    '37343030-3430-324d-3230-313130304752',
  ]) {
    const self = findSelf({ uuid, serial: 'unknown' }, profiles, hardware)
    assert.is(self.hardware.name, '0000A66101, bay 5')
    assert.is(self.profile.name, 'Apache_Primary')
  }
  assert.is(
    findSelf({ uuid: '', serial: '2M201100GR' }, profiles, hardware).by,
    'hardware serial number',
  )
})

test('virtual ids of the hardware are the last resort', () => {
  const own = {
    ...hardware.find(({ uri }: { uri: string }) => uri === OWN_HARDWARE),
    virtualSerialNumber: 'VC1',
  }
  assert.is(findSelf({ uuid: '', serial: 'VC1' }, profiles, [own]).by, 'virtual id of the hardware')
})

test('empty and made-up ids fit nothing', async () => {
  assert.not(isSameUuid('', ''))
  assert.not(isSameUuid(null, 'Not Settable'))
  assert.not(
    isSameUuid('00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000'),
  )
  const error = await thrownBy(() => findSelf({ uuid: 'x', serial: '' }, profiles, hardware))
  assert.is(error.code, 'ENODEV')
  assert.match(error.message, /no server of the appliance has the uuid x/)
})

test('two servers that fit, and a server without a profile, are refused in words', async () => {
  const twin = { ...hardware[0], uri: '/rest/server-hardware/TWIN', name: 'twin' }
  const serial = hardware[0].serialNumber
  const both = await thrownBy(() => findSelf({ uuid: '', serial }, profiles, [...hardware, twin]))
  assert.is(both.code, 'EEXIST')
  assert.match(both.message, /twin/)
  const bare = await thrownBy(() => findSelf({ uuid: '', serial }, profiles, hardware))
  assert.is(bare.code, 'ENODEV')
  assert.match(bare.message, /has no server profile/)
})

test('the SAS controller is the mezzanine slot whose ports lead somewhere', async () => {
  const { deviceSlot, interconnectUris } = sasSlotOf(fixture('ServerHardware'))
  assert.is(deviceSlot, 'Mezz 1')
  assert.is(interconnectUris.size, 2)
  const nowhere = hardware.find(({ name }: { name: string }) => name === '0000A66102, bay 5')
  const error = await thrownBy(() => sasSlotOf(nowhere))
  assert.is(error.code, 'ENODEV')
  assert.match(error.message, /no SAS controller that leads to a SAS interconnect/)
})

test('a controller in RAID mode is refused, HBA and Mixed and one the profile leaves alone are not', async () => {
  const profile = fixture('ServerProfile')
  mustShowDisks(profile, 'Mezz 1')
  for (const mode of ['HBA', 'Mixed']) {
    profile.localStorage.controllers = [{ deviceSlot: 'Mezz 1', mode }]
    mustShowDisks(profile, 'Mezz 1')
  }
  profile.localStorage.controllers = [{ deviceSlot: 'Mezz 1', mode: 'RAID' }]
  assert.is((await thrownBy(() => mustShowDisks(profile, 'Mezz 1'))).code, 'EINVAL')
  mustShowDisks(profile, 'Mezz 2')
})

test('enclosures are reached over shared interconnects, or over the group that has both', () => {
  const enclosures = fixture('DriveEnclosureList')
  const slot = {
    deviceSlot: 'Mezz 1',
    interconnectUris: new Set(['/rest/sas-interconnects/2M220100SL']),
  }
  const names = (groups: Parameters<typeof inReach>[2]) =>
    inReach(enclosures, slot, groups).map(({ serialNumber }) => serialNumber)
  assert.equal(names([]), ['SN123100'])
  enclosures[0].interconnectUri = null
  assert.equal(names([]), [])
  const group = {
    uri: '/rest/sas-logical-interconnects/a',
    sasInterconnectUris: [...slot.interconnectUris],
    driveEnclosureUris: ['/rest/drive-enclosures/SN123100'],
  }
  assert.equal(names([group]), ['SN123100'])
})

test.run()
