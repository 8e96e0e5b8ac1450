import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { codeOf, inFrame, type World } from './asking.ts'
import type { Body } from './fixtures.ts'
import type { SimulatorOptions } from './simulator.ts'
import { entryOf, newJbod, profileUri, putEntries, SAS_SSD, withEntries } from './storing.ts'

const ONLINE: SimulatorOptions = {
  drives: [{ ...SAS_SSD, count: 6 }],
  knobs: { jbodEditPower: 'online' },
}

const NEW_ENTRY = {
  id: 1,
  deviceSlot: 'Mezz 1',
  name: 'by-profile',
  numPhysicalDrives: 2,
  driveMinSizeGB: '800',
  driveMaxSizeGB: '800',
  driveTechnology: 'SasSsd',
  eraseData: false,
  sasLogicalJBODUri: null,
}

async function entriesOf({ ask }: World, uri: string): Promise<Body[]> {
  const { body } = await ask('GET', uri)
  return (body.localStorage as { sasLogicalJBODs: Body[] }).sasLogicalJBODs
}

async function fails(world: World, entries: readonly Body[], message: RegExp): Promise<void> {
  const task = await putEntries(world, entries)
  assert.is(task.taskState, 'Error')
  assert.match(String((task.taskErrors as Body[])[0]!.message), message)
  assert.is(task.taskStatus, 'Unable to edit server profile: blade1.')
  assert.is((await world.ask('GET', profileUri(world))).body.state, 'Normal')
}

test('an entry that names a JBOD attaches it, and an attachment ties it to blade and profile', () =>
  inFrame(ONLINE, async (world) => {
    const { list, simulator } = world
    const jbod = await newJbod(world, 'mine', [2])
    await newJbod(world, 'spare', [0])
    const task = await putEntries(world, [entryOf(1, jbod)])
    assert.is(task.taskState, 'Completed')
    const [entry] = await entriesOf(world, profileUri(world))
    assert.equal([entry!.sasLogicalJBODUri, entry!.status], [jbod.uri, 'OK'])
    const [attachment] = (await list('/rest/sas-logical-jbod-attachments')) as [Body]
    const blade = simulator.frame.blade('blade1')
    assert.is(attachment.sasLogicalJBODUri, jbod.uri)
    assert.is(attachment.serverHardwareUri, blade.uri)
    assert.is(attachment.serverProfileUri, blade.profile!.uri)
    assert.is(attachment.mezzSlotNumber, 1)
    const [spare, , claim] = simulator.frame.audit()
    assert.equal([spare!.jbods, spare!.blades, spare!.seenBy], [['spare'], [], []])
    assert.equal(claim, {
      serialNumber: simulator.frame.drives[2]!.serialNumber,
      frame: 1,
      bay: 3,
      jbods: ['mine'],
      blades: ['blade1'],
      seenBy: ['blade1'],
    })
  }))

test('an entry without a JBOD makes one, which goes with the entry unless it is persistent', () =>
  inFrame(ONLINE, async (world) => {
    const { list, simulator } = world
    await putEntries(world, [NEW_ENTRY, { ...NEW_ENTRY, id: 2, name: 'stays', persistent: true }])
    const made = await entriesOf(world, profileUri(world))
    assert.equal(
      made.map(({ persistent, driveMinSizeGB }) => [persistent, driveMinSizeGB]),
      [
        [false, 800],
        [true, 800],
      ],
    )
    assert.is((await list('/rest/sas-logical-jbods')).length, 2)
    await putEntries(world, [])
    const [left, ...others] = await list('/rest/sas-logical-jbods')
    assert.equal([left!.name, others.length], ['stays', 0])
    assert.is(simulator.frame.attachments.size, 0)
  }))

test('when the drives for one entry are missing nothing of the request is done', () =>
  inFrame(ONLINE, async (world) => {
    const { simulator } = world
    await fails(
      world,
      [NEW_ENTRY, { ...NEW_ENTRY, id: 2, numPhysicalDrives: 5 }],
      /not enough drives/,
    )
    assert.is(simulator.frame.jbods.size, 0)
    assert.equal(await entriesOf(world, profileUri(world)), [])
  }))

test('under power a change of local storage fails, and the error names it', () =>
  inFrame({ drives: [{ ...SAS_SSD, count: 6 }] }, async (world) => {
    const { ask, work, simulator } = world
    const jbod = await newJbod(world, 'mine', [0])
    const failed = await putEntries(world, [entryOf(1, jbod)])
    assert.is(codeOf(failed), 'ServerNotOffWithCauseForNoServerChange')
    const { uri, hardwareName } = simulator.frame.blade('blade1')
    const { message } = (failed.taskErrors as Body[])[0]!
    const where = JSON.stringify({ name: hardwareName, uri }).replace(',', ', ')
    assert.is(
      message,
      `The requested changes cannot be applied because ${where} is powered on and the changes made to the following sections can only be applied when the power is off: \n* Local storage`,
    )
    const power = { powerState: 'Off', powerControl: 'PressAndHold' }
    await work('PUT', `${uri}/powerState`, { body: power })
    assert.is((await putEntries(world, [entryOf(1, jbod)])).taskState, 'Completed')
    const { body } = await ask('GET', profileUri(world))
    const same = await work('PUT', profileUri(world), { body })
    assert.is(same.taskState, 'Completed')
  }))

test('under power a profile can be put back as it was read, with another description', () =>
  inFrame({}, async (world) => {
    const { body } = await world.ask('GET', profileUri(world))
    const changed = { ...body, description: 'new' }
    assert.is(
      (await world.work('PUT', profileUri(world), { body: changed })).taskState,
      'Completed',
    )
    assert.is((await world.ask('GET', profileUri(world))).body.description, 'new')
  }))

test('even where JBODs come online, other sections need power off, and a section left out is a change', () =>
  inFrame(ONLINE, async (world) => {
    const { body } = await world.ask('GET', profileUri(world))
    const { firmware, bios: _, ...rest } = body
    const changed = { ...rest, firmware: { ...(firmware as Body), forceInstallFirmware: true } }
    const task = await world.work('PUT', profileUri(world), { body: changed })
    const { message } = (task.taskErrors as Body[])[0]!
    assert.match(String(message), /power is off: \n\* Firmware\n\* BIOS$/)
  }))

test('PUT replaces: without localStorage the JBODs are gone, without the list they stay', () =>
  inFrame(ONLINE, async (world) => {
    const { work, ask, simulator } = world
    simulator.frame.blade('blade1').power = 'Off'
    const jbod = await newJbod(world, 'mine', [0])
    await putEntries(world, [entryOf(1, jbod)])
    const uri = profileUri(world)
    const { localStorage, ...without } = (await ask('GET', uri)).body
    const { sasLogicalJBODs: _, ...unsaid } = localStorage as Body
    await work('PUT', uri, { body: { ...without, localStorage: unsaid } })
    assert.is(simulator.frame.attachments.size, 1)
    await work('PUT', uri, { body: without, headers: { 'If-Match': '*' } })
    assert.is(simulator.frame.attachments.size, 0)
    assert.is((await ask('GET', uri)).body.localStorage, null)
    assert.is((await ask('GET', String(jbod.uri))).status, 200)
  }))

test('ids go from 1 without a gap, in any order', () =>
  inFrame(ONLINE, async (world) => {
    const [a, b] = [await newJbod(world, 'a', [0]), await newJbod(world, 'b', [1])]
    const sequence = /ID for JBOD \[\d\] is not in sequence/
    await fails(world, [entryOf(2, a)], sequence)
    await fails(world, [entryOf(1, a), entryOf(1, b)], sequence)
    await fails(world, [entryOf(1, a), entryOf(3, b)], sequence)
    assert.is((await putEntries(world, [entryOf(2, a), entryOf(1, b)])).taskState, 'Completed')
    await fails(world, [entryOf(2, a)], sequence)
    assert.is((await putEntries(world, [entryOf(1, a)])).taskState, 'Completed')
  }))

test('a JBOD is attached once: not twice in a profile, and not to two', () =>
  inFrame({ ...ONLINE, blades: [{ name: 'blade1' }, { name: 'blade2' }] }, async (world) => {
    const jbod = await newJbod(world, 'mine', [0])
    await fails(world, [entryOf(1, jbod), entryOf(2, jbod)], /is named twice/)
    await putEntries(world, [entryOf(1, jbod)], 'blade2')
    await fails(world, [entryOf(1, jbod)], /is assigned to server profile blade2/)
  }))

test('of two profiles that want the same JBOD at once one gets it', () =>
  inFrame({ ...ONLINE, blades: [{ name: 'blade1' }, { name: 'blade2' }] }, async (world) => {
    const jbod = await newJbod(world, 'mine', [0])
    const tasks = await Promise.all(
      ['blade1', 'blade2'].map((blade) => putEntries(world, [entryOf(1, jbod)], blade)),
    )
    assert.equal(tasks.map(({ taskState }) => taskState).sort(), ['Completed', 'Error'])
    assert.is(world.simulator.frame.audit()[0]!.blades.length, 1)
  }))

test('a JBOD of another frame is out of reach, and a blade without cables reaches none', () =>
  inFrame(
    {
      ...ONLINE,
      frames: 2,
      blades: [
        { name: 'blade1', frame: 2 },
        { name: 'blade2', cabled: false },
      ],
    },
    async (world) => {
      const jbod = await newJbod(world, 'mine', [0])
      await fails(world, [entryOf(1, jbod)], /cannot be reached/)
      const task = await putEntries(world, [entryOf(1, jbod)], 'blade2')
      assert.match(String((task.taskErrors as Body[])[0]!.message), /integrated SAS controller/)
    },
  ))

test('a wrong slot, technology or number of drives is an error', () =>
  inFrame(ONLINE, async (world) => {
    const jbod = await newJbod(world, 'mine', [0])
    await fails(world, [entryOf(1, jbod, { deviceSlot: 'Embedded' })], /integrated SAS controller/)
    await fails(world, [entryOf(1, jbod, { driveTechnology: 'Auto' })], /no drive technology/)
    await fails(world, [entryOf(1, jbod, { numPhysicalDrives: 2 })], /another number/)
  }))

test('a controller in mode RAID takes no raw JBOD, and its logical drives name entries that are there', () =>
  inFrame({ ...ONLINE, blades: [{ name: 'blade1', mode: 'RAID' }] }, async (world) => {
    const { simulator } = world
    simulator.frame.blade('blade1').power = 'Off'
    const jbod = await newJbod(world, 'mine', [0])
    await fails(world, [entryOf(1, jbod)], /has no logical drive/)
    const controllers = (mode: string, sasLogicalJBODId: number) => [
      {
        deviceSlot: 'Mezz 1',
        mode,
        logicalDrives: [{ name: 'l', raidLevel: 'RAID0', sasLogicalJBODId }],
      },
    ]
    const put = async (mode: string, id: number) => {
      const { localStorage, ...rest } = await withEntries(world, [entryOf(1, jbod)])
      const storage = { ...(localStorage as Body), controllers: controllers(mode, id) }
      return codeOf(
        await world.work('PUT', profileUri(world), { body: { ...rest, localStorage: storage } }),
      )
    }
    assert.is(await put('RAID', 2), 'JBOD_ID_UNKNOWN')
    assert.is(await put('HBA', 1), 'HBA_WITH_LOGICAL_DRIVES')
    assert.is(await put('Mixed', 1), 'INVALID_CONTROLLER_MODE')
    assert.is(await put('RAID', 1), 'undefined', 'it is taken')
  }))

test('without controllers in the profile a raw JBOD is fine', () =>
  inFrame({ ...ONLINE, blades: [{ name: 'blade1', mode: null }] }, async (world) => {
    const jbod = await newJbod(world, 'mine', [0])
    assert.is((await putEntries(world, [entryOf(1, jbod)])).taskState, 'Completed')
  }))

test('unknown fields, a type of another version and a JBOD that is not there are refused with 400', () =>
  inFrame(ONLINE, async (world) => {
    const jbod = await newJbod(world, 'mine', [0])
    const good = await withEntries(world, [entryOf(1, jbod)])
    const refusal = async (body: Body) => {
      const answer = await world.ask('PUT', profileUri(world), { body })
      assert.is(answer.status, 400)
      return codeOf(answer)
    }
    const inEntry = await withEntries(world, [entryOf(1, jbod, { size: 3 })])
    assert.is(await refusal({ ...good, size: 3 }), 'UNRECOGNIZED_JSON_FIELD')
    assert.is(await refusal(inEntry), 'UNRECOGNIZED_JSON_FIELD')
    assert.is(await refusal({ ...good, type: 'ServerProfileV9' }), 'INVALID_TYPE')
    const lost = await withEntries(world, [entryOf(1, { ...jbod, uri: '/rest/none' })])
    assert.is(await refusal(lost), 'REFERENCE_NOT_FOUND')
    await refusal({ ...good, serverHardwareUri: null })
  }))

test('the eTag in the header or in the body has to be that of the profile', () =>
  inFrame(ONLINE, async (world) => {
    const { ask, work } = world
    const uri = profileUri(world)
    const read = (await ask('GET', uri)).body
    const put = (body: Body, ifMatch?: string) =>
      ask('PUT', uri, { body, headers: { 'If-Match': ifMatch } })
    const { eTag, ...bare } = read
    assert.is((await put(bare)).status, 403)
    assert.is((await put({ ...bare, eTag: 'old' })).status, 412)
    assert.is((await put(read, 'old')).status, 412)
    await work('PUT', uri, { body: bare, headers: { 'If-Match': String(eTag) } })
    assert.is((await put(read)).status, 412, 'it has changed since')
    await work('PUT', uri, { body: bare, headers: { 'If-Match': '*' } })
  }))

test('while a task changes a profile it is locked, and so is the power of its blade', () =>
  inFrame({ ...ONLINE, knobs: { ...ONLINE.knobs, taskStepMs: 100 } }, async (world) => {
    const { ask, ended, simulator } = world
    const uri = profileUri(world)
    const { body } = await ask('GET', uri)
    const first = await ask('PUT', uri, { body })
    const busy = (await ask('GET', uri)).body
    assert.equal([busy.inProgress, busy.state, busy.taskUri], [true, 'Updating', first.body.uri])
    assert.is((await ask('PUT', uri, { body: busy })).status, 409)
    const blade = simulator.frame.blade('blade1')
    const power = { powerState: 'Off', powerControl: 'PressAndHold' }
    assert.is((await ask('PUT', `${blade.uri}/powerState`, { body: power })).status, 409)
    assert.is((await ask('GET', blade.uri)).body.state, 'ApplyingProfile')
    await ended(first)
    assert.equal((await ask('GET', uri)).body.inProgress, false)
  }))

test('an older client neither sees nor loses what came later', () =>
  inFrame(ONLINE, async (world) => {
    const { ask, work } = world
    const jbod = await newJbod(world, 'mine', [0])
    await putEntries(world, [entryOf(1, jbod, { persistent: false, description: 'kept' })])
    const uri = profileUri(world)
    const headers = { 'X-API-Version': '600' }
    const { body } = await ask('GET', uri, { headers })
    const [older] = (body.localStorage as { sasLogicalJBODs: Body[] }).sasLogicalJBODs
    assert.equal([older!.persistent, older!.description], [undefined, undefined])
    assert.is((await work('PUT', uri, { body, headers })).taskState, 'Completed')
    const [entry] = await entriesOf(world, uri)
    assert.equal([entry!.persistent, entry!.description], [false, 'kept'])
    const strange = { ...body, localStorage: { sasLogicalJBODs: [entryOf(1, jbod)] } }
    const refused = await ask('PUT', uri, { body: strange, headers })
    assert.is(codeOf(refused), 'UNRECOGNIZED_JSON_FIELD')
  }))

test.run()
