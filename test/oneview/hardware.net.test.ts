import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { codeOf, inFrame, pause } from './asking.ts'
import type { Body } from './fixtures.ts'
import { SAS_SSD, SATA_HDD } from './storing.ts'

type Named = Record<string, string>

test('blades are as many and are called as asked for, each with its profile', () =>
  inFrame(
    {
      blades: [
        { name: 'host1', uuid: 'aaaaaaaa-0000-4000-8000-000000000001', serialNumber: 'S1' },
        { name: 'host2', virtualUuid: 'virtual-uuid', virtualSerialNumber: 'VCG1' },
        { name: 'host3', profile: false },
      ],
    },
    async ({ list, ask }) => {
      const [one, two, three] = (await list('/rest/server-hardware')) as [Body, Body, Body]
      assert.is(one.uuid, 'AAAAAAAA-0000-4000-8000-000000000001')
      assert.is(one.uri, `/rest/server-hardware/${one.uuid}`)
      assert.is(one.serialNumber, 'S1')
      assert.is(three.serverProfileUri, null)
      assert.is(three.state, 'NoProfileApplied')
      const physical = (await ask('GET', String(one.serverProfileUri))).body
      assert.equal([physical.name, physical.serialNumberType], ['host1', 'Physical'])
      assert.equal([physical.uuid, physical.serialNumber], [one.uuid, 'S1'])
      const virtual = (await ask('GET', String(two.serverProfileUri))).body
      assert.equal([virtual.uuid, virtual.serialNumber], ['virtual-uuid', 'VCG1'])
      assert.equal([virtual.serialNumberType, virtual.serverHardwareUri], ['Virtual', two.uri])
      assert.is((await list('/rest/server-profiles')).length, 2)
    },
  ))

test("a blade's SAS ports lead to the interconnects of its frame, where the enclosure is", () =>
  inFrame(
    {
      frames: 2,
      blades: [
        { name: 'a', frame: 2 },
        { name: 'b', cabled: false },
      ],
    },
    async ({ list, ask }) => {
      const portsOf = (hardware: Body) =>
        (
          hardware.portMap as { deviceSlots: { slotNumber: number; physicalPorts: Named[] }[] }
        ).deviceSlots
          .find(({ slotNumber }) => slotNumber === 1)!
          .physicalPorts.map(({ interconnectUri }) => interconnectUri)
      const [a, b] = (await list('/rest/server-hardware')) as [Body, Body]
      const [first, second] = (await list('/rest/drive-enclosures')) as [Body, Body]
      assert.equal(portsOf(a), second.interconnectUri)
      assert.not.equal(portsOf(a), first.interconnectUri)
      assert.equal(portsOf(b), ['', ''])
      const [, sas] = (await list('/rest/sas-logical-interconnects')) as [Body, Body]
      assert.equal(sas.driveEnclosureUris, [second.uri])
      assert.equal(sas.sasInterconnectUris, portsOf(a))
      const one = await ask('GET', String(sas.uri))
      assert.is(one.body.state, 'Redundant')
    },
  ))

test('the hardware type tells what the SAS controller can', () =>
  inFrame(
    { blades: [{ name: 'old' }, { name: 'new', controller: 'P416ie-m' }] },
    async ({ list, ask }) => {
      const modes = async (hardware: Body) => {
        const { body } = await ask('GET', String(hardware.serverHardwareTypeUri))
        const [adapter] = body.adapters as { slot: number; storageCapabilities: Body }[]
        return adapter!.storageCapabilities.controllerModes
      }
      const [old, newer] = (await list('/rest/server-hardware')) as [Body, Body]
      assert.equal(await modes(old), ['RAID', 'HBA'])
      assert.equal(await modes(newer), ['RAID', 'HBA', 'Mixed'])
    },
  ))

test('an enclosure of 40 bays has the drives asked for, and the other bays are empty', () =>
  inFrame(
    {
      drives: [
        { ...SAS_SSD, count: 2 },
        { ...SATA_HDD, serialNumber: 'MINE', wwid: '5000000000000001' },
      ],
    },
    async ({ list }) => {
      const [enclosure] = (await list('/rest/drive-enclosures')) as [Body]
      const bays = enclosure.driveBays as { drive: Named | null; uri: string }[]
      assert.is(bays.length, 40)
      assert.is(bays.filter(({ drive }) => drive !== null).length, 3)
      const third = bays[2]!.drive!
      assert.equal([third.serialNumber, third.wwid], ['MINE', '5000000000000001'])
      assert.equal(
        [third.capacity, third.driveMedia, third.eraseSupport],
        ['500', 'HDD', 'NotSupported'],
      )
      assert.is(third.uri!.startsWith(bays[2]!.uri), true)
    },
  ))

test('by default each frame is full, with drives as captured and no name twice', () =>
  inFrame({ frames: 3 }, async ({ list }) => {
    const enclosures = await list('/rest/drive-enclosures')
    const drives = enclosures.flatMap(({ driveBays }) => driveBays as { drive: Named }[])
    assert.is(drives.length, 120)
    for (const name of ['serialNumber', 'wwid', 'uri'])
      assert.is(new Set(drives.map(({ drive }) => drive[name])).size, 120, name)
    assert.is(drives[0]!.drive.serialNumber, 'S46016710000J4524YPT')
  }))

test('collections come in pages, filtered and in order', () =>
  inFrame(
    { blades: ['c', 'a', 'd', 'b'].map((name) => ({ name })), knobs: { pageMax: 3 } },
    async ({ ask, list }) => {
      const names = async (query: string) =>
        (await list(`/rest/server-profiles?${query}`)).map(({ name }) => name)
      const first = (await ask('GET', '/rest/server-profiles?sort=name:asc&count=-1')).body
      assert.equal([first.count, first.total, first.prevPageUri], [3, 4, null])
      const next = (await ask('GET', String(first.nextPageUri))).body
      assert.equal((next.members as Body[])[0]!.name, 'd')
      assert.equal([next.start, next.nextPageUri], [3, null])
      assert.equal(await names('sort=name:descending&count=2'), ['d', 'c'])
      assert.equal(await names(`filter=${encodeURIComponent(`"name='A'"`)}`), ['a'])
      assert.equal(await names(`filter=${encodeURIComponent("name EQ 'b'")}`), ['b'])
      assert.equal(await names(`filter=${encodeURIComponent("name matches '%'")}&start=3`), ['b'])
      assert.is((await ask('GET', '/rest/server-profiles?count=many')).status, 400)
      assert.is((await ask('GET', '/rest/server-profiles?filter=name')).status, 400)
      assert.is((await ask('GET', '/rest/server-profiles?sort=name')).status, 400)
    },
  ))

test('the index has each drive under the uuid of the enclosure, and can be filtered and paged', () =>
  inFrame({ frames: 2 }, async ({ ask, list, simulator }) => {
    const [, second] = (await list('/rest/drive-enclosures')) as [Body, Body]
    const search = (query: string) =>
      list(`/rest/index/resources?category=drives&count=10000&${query}`)
    const filter = encodeURIComponent(`"driveEnclosureUri:${second.uri}"`)
    const found = await search(`filter=${filter}`)
    const uuids = (second.driveBays as { drive: Named }[]).map(
      ({ drive }) => `/rest/drives/${drive.uri!.split('/').at(-1)}`,
    )
    assert.equal(
      found.map(({ uri }) => uri),
      uuids,
    )
    const user = encodeURIComponent(`'${second.uri} AND available=yes'`)
    assert.is((await search(`userQuery=${user}`)).length, 40)
    const one = await ask('GET', `/rest/index/resources${uuids[0]}`)
    assert.equal(one.body, found[0])
    assert.is((one.body.attributes as Named).available, 'yes')
    simulator.knobs.pageMax = 30
    const page = (await ask('GET', '/rest/index/resources?category=drives&count=10000')).body
    assert.equal([page.count, page.total, page.unFilteredTotal], [30, 80, 80])
    assert.is((await ask('GET', String(page.nextPageUri))).body.start, 30)
  }))

test('a drive that fails or is about to shows in the enclosure, in the index after its lag', () =>
  inFrame({ knobs: { indexLagMs: 800 } }, async ({ list, simulator }) => {
    const [a, b] = simulator.frame.drives
    await pause(5)
    simulator.setHealth(a!.serialNumber, 'PredictiveFail')
    simulator.setHealth(b!.serialNumber, 'Failed')
    const [enclosure] = (await list('/rest/drive-enclosures')) as [Body]
    const bays = enclosure.driveBays as { drive: Named }[]
    assert.equal([bays[0]!.drive.status, bays[1]!.drive.status], ['Warning', 'Critical'])
    const index = async () => {
      const members = await list('/rest/index/resources?category=drives&count=2')
      return members.map(({ status, attributes }) => [
        status,
        (attributes as Named).isPredictiveFailDrive,
      ])
    }
    assert.equal(await index(), [
      ['OK', 'no'],
      ['OK', 'no'],
    ])
    await pause(900)
    assert.equal(await index(), [
      ['Warning', 'yes'],
      ['Critical', 'no'],
    ])
  }))

test('power goes and comes in tasks, and what makes no sense is refused', () =>
  inFrame({}, async ({ simulator, ask, work }) => {
    const { uri } = simulator.frame.blade('blade1')
    const press = (powerState: string, powerControl: string) => ({
      body: { powerState, powerControl },
    })
    const path = `${uri}/powerState`
    const off = await work('PUT', path, press('Off', 'PressAndHold'))
    assert.is(off.taskState, 'Completed')
    assert.is((await ask('GET', uri)).body.powerState, 'Off')
    assert.is((await work('PUT', path, press('Off', 'MomentaryPress'))).taskState, 'Error')
    await work('PUT', path, press('On', 'MomentaryPress'))
    assert.is((await ask('GET', uri)).body.powerState, 'On')
    const bad = await ask('PUT', path, press('Off', 'ColdBoot'))
    assert.equal(
      [bad.status, codeOf(bad)],
      [400, 'INVALID_POWER_CONTROL_REQUEST_POWER_COLDBOOT_OFF'],
    )
  }))

test('a filter may be ignored, so that a client has to look itself', () =>
  inFrame({ blades: [{ name: 'a' }, { name: 'b' }] }, async ({ list, simulator }) => {
    simulator.knobs.filtersIgnored = true
    const path = `/rest/server-profiles?filter=${encodeURIComponent("name='a'")}`
    assert.is((await list(path)).length, 2)
  }))

test.run()
