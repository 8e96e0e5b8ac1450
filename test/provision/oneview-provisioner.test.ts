import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { thrownBy } from '../support/thrown.ts'
import { fixture } from './fixture.ts'
import { JBOD, PREFIX, PROFILE, TAG, TASK, World } from './frame-world.ts'
import { lost, pageOf, running, silentStep } from './script.ts'

const POWER = fixture('errors/taskError.ServerNotOffWithCauseForNoServerChange')

test('free drives are in reach, available, in good health and in no JBOD', async () => {
  const world = new World()
  world.indexOf(0).attributes.available = 'no'
  world.indexOf(1).attributes.isPredictiveFailDrive = 'yes'
  world.indexOf(2).status = 'Warning'
  world.bay(3).drive.status = 'Critical'
  world.bay(4).drive = null
  world.addJbod(5)
  world.indexOf(5).attributes.available = 'yes'
  const free = await world.provisioner.free(running)
  assert.is(free.length, 40 - 6 - 2)
  const [first] = free
  const { drive, uri } = world.bay(6)
  assert.equal(first, {
    place: uri,
    name: '0000A66101, bay 1, drive 7',
    class: drive.driveMedia === 'SSD' ? 2 : 1,
    sizeBytes: Number(drive.capacity) * 1e9,
    serial: drive.serialNumber,
    wwid: drive.wwid.toLowerCase(),
  })
  const classes = new Set(free.map((one) => one.class))
  assert.equal([...classes].sort(), [1, 3])
})

test('a drive that speaks NVMe is of the highest class', async () => {
  const world = new World()
  world.bay(0).drive.deviceInterface = 'NVMe'
  assert.is((await world.provisioner.free(running))[0]?.class, 3)
})

test('a drive is set aside by its very bay, is erased when it goes, and is held under its tag', async () => {
  const world = new World().carryOut()
  const told: string[] = []
  const step = { signal: running, progress: (words: string) => told.push(words) }
  const held = await world.provisioner.reserve(TAG, world.bay(7).uri, step)
  const { description, ...body } = world.script.of('POST', '/rest/sas-logical-jbods')[0]?.body ?? {}
  assert.equal(body, { name: TAG, driveBayUris: [world.bay(7).uri], eraseData: true })
  assert.match(description, /Made by weft/)
  assert.equal(
    [held.state, held.isHere, held.trouble, held.place],
    ['reserved', false, '', world.bay(7).uri],
  )
  assert.equal(told, ['task "Work" of the appliance: 0 %'])
  assert.equal(await world.provisioner.held(running), [held])
})

test('a drive set aside already is found by its tag, and no second is taken', async () => {
  const world = new World().carryOut()
  world.addJbod(7)
  const held = await world.provisioner.reserve(TAG, world.bay(8).uri, silentStep)
  assert.is(held.place, world.bay(7).uri)
  assert.is(world.script.of('POST', '/rest/sas-logical-jbods').length, 0)
})

test('a JBOD is waited for until it is configured', async () => {
  const world = new World().carryOut()
  const made = world.addJbod(7, { state: 'Configuring' })
  world.script.series(
    'GET',
    JBOD,
    { body: { ...made, state: 'Configuring' } },
    { body: { ...made, state: 'ConfigError', stateReason: 'a cable' } },
  )
  const error = await thrownBy(() => world.provisioner.reserve(TAG, world.bay(7).uri, silentStep))
  assert.is(error.code, 'EIO')
  assert.match(error.message, /is ConfigError \(a cable\)/)
  assert.is((await world.provisioner.held(running))[0]?.state, 'changing')
})

test('whoever loses the race for a drive is told to take another', async () => {
  const world = new World()
  const refusal = { errorCode: 'DFRM_SOMETHING', message: 'The bay cannot be used.' }
  world.script.on('POST', '/rest/sas-logical-jbods', () => {
    // The winner's JBOD is listed a moment later.
    if (world.jbods.length === 2)
      world.addJbod(7, { uri: '/rest/sas-logical-jbods/0b', name: 'theirs' })
    return { status: 400, body: refusal }
  })
  const byAnswer = await thrownBy(() =>
    world.provisioner.reserve(TAG, world.bay(7).uri, silentStep),
  )
  assert.is(byAnswer.code, 'EBUSY')
  world.script
    .on('POST', '/rest/sas-logical-jbods', { status: 202, headers: { location: TASK } })
    .on('GET', TASK, { body: { taskState: 'Error', taskErrors: [refusal] } })
  const byTask = await thrownBy(() => world.provisioner.reserve(TAG, world.bay(7).uri, silentStep))
  assert.is(byTask.code, 'EBUSY')
  const other = await thrownBy(() => world.provisioner.reserve(TAG, world.bay(9).uri, silentStep))
  assert.match(other.message, /cannot make logical JBOD .*: The bay cannot be used\./)
})

test('an answer that was lost is followed by a look, and makes no second JBOD', async () => {
  const world = new World()
  world.script.on('POST', '/rest/sas-logical-jbods', () => {
    world.addJbod(7)
    lost()
  })
  const held = await world.provisioner.reserve(TAG, world.bay(7).uri, silentStep)
  assert.is(held.tag, TAG)
  assert.is(world.script.of('POST', '/rest/sas-logical-jbods').length, 1)
})

test('a second request that is refused because the first is being carried out waits for that', async () => {
  const world = new World()
  let looks = 0
  world.script
    .series('POST', '/rest/sas-logical-jbods', lost, { status: 400, body: { message: 'In use.' } })
    .on('GET', '/rest/sas-logical-jbods', () => {
      if (++looks === 4) world.addJbod(7)
      return pageOf(world.jbods)
    })
  assert.is((await world.provisioner.reserve(TAG, world.bay(7).uri, silentStep)).tag, TAG)
  assert.is(world.script.of('POST', '/rest/sas-logical-jbods').length, 2)
})

test('a drive is attached by one more entry in the profile, on condition that nobody changed it', async () => {
  const world = new World().carryOut()
  world.addJbod(7)
  const before = fixture('ServerProfile')
  const held = await world.provisioner.attach(TAG, silentStep)
  assert.equal([held.state, held.isHere], ['attached', true])
  const [put] = world.script.of('PUT', PROFILE)
  assert.is(put?.headers['if-match'], before.eTag)
  const { drive } = world.bay(7)
  before.localStorage.sasLogicalJBODs.push({
    id: 3,
    deviceSlot: 'Mezz 1',
    name: TAG,
    driveMinSizeGB: Number(drive.capacity),
    driveMaxSizeGB: Number(drive.capacity),
    driveTechnology: 'SasHdd',
    eraseData: true,
    sasLogicalJBODUri: JBOD,
    numPhysicalDrives: 1,
    persistent: true,
  })
  assert.is(JSON.stringify(put?.body), JSON.stringify(before))
  await world.provisioner.attach(TAG, silentStep)
  assert.is(world.script.of('PUT', PROFILE).length, 1, 'asked again, nothing is written')
})

test('a profile that somebody changed meanwhile is read again, and their change is kept', async () => {
  const world = new World().carryOut()
  world.addJbod(7)
  world.script.series(
    'PUT',
    PROFILE,
    () => {
      world.profile.description = 'theirs'
      world.profile.eTag = 'theirs/43'
      return { status: 412, body: { message: 'Changed.' } }
    },
    { status: 409, body: { message: 'Locked.' } },
    ({ body }) => {
      Object.assign(world.profile, body)
      return { status: 202, headers: { location: TASK } }
    },
  )
  await world.provisioner.attach(TAG, silentStep)
  const puts = world.script.of('PUT', PROFILE)
  assert.is(puts.length, 3)
  assert.is(puts[2]?.headers['if-match'], 'theirs/43')
  assert.is(puts[2]?.body.description, 'theirs')
})

test('a profile or a server that is busy is waited for', async () => {
  const world = new World().carryOut()
  world.addJbod(7)
  const busy = { body: { ...world.profile, inProgress: true, state: 'Updating' } }
  world.script.series('GET', PROFILE, busy, busy, () => ({ body: world.profile }))
  world.script.series(
    'GET',
    /^\/rest\/server-hardware\/./,
    { body: { ...fixture('ServerHardware'), state: 'UpdatingFirmware' } },
    { body: { ...fixture('ServerHardware'), state: 'ProfileApplied' } },
  )
  const told: string[] = []
  await world.provisioner.attach(TAG, { signal: running, progress: (words) => told.push(words) })
  assert.match(
    told.join('\n'),
    /another operation has the server profile Apache_Primary \(Updating\)/,
  )
  assert.match(told.join('\n'), /server .* is busy \(UpdatingFirmware\)/)
  assert.is(world.script.of('PUT', PROFILE).length, 1)
})

test('a PUT whose answer was lost is not repeated when it was carried out', async () => {
  const world = new World()
  world.addJbod(7)
  world.script.on('PUT', PROFILE, ({ body }) => {
    Object.assign(world.profile, body)
    lost()
  })
  await world.provisioner.attach(TAG, silentStep)
  assert.is(world.script.of('PUT', PROFILE).length, 1)
})

test('a server that must be off is told as such, and the drive stays set aside', async () => {
  const world = new World()
  world.addJbod(7)
  POWER.message = POWER.message.replace('* Firmware', '* Local storage')
  world.script
    .on('PUT', PROFILE, { status: 202, headers: { location: TASK } })
    .on('GET', TASK, { body: { taskState: 'Error', taskErrors: [POWER] } })
  const error = await thrownBy(() => world.provisioner.attach(TAG, silentStep))
  assert.equal([error.code, error.subject.needsPowerOff], ['EPERM', true])
  assert.match(
    error.message,
    /cannot attach weft-.* section Local storage .* only while the server is off/,
  )
  assert.is((await world.provisioner.held(running))[0]?.state, 'reserved')
})

test('an entry that the appliance failed to make so is asked for again', async () => {
  const world = new World().carryOut()
  world.addJbod(7)
  await world.provisioner.attach(TAG, silentStep)
  world.profile.state = 'UpdateFailed'
  const [half] = await world.provisioner.held(running)
  assert.equal(
    [half?.state, half?.trouble],
    ['changing', 'the last update of the server profile failed'],
  )
  const before = JSON.stringify(world.profile)
  await world.provisioner.attach(TAG, silentStep)
  const puts = world.script.of('PUT', PROFILE)
  assert.is(puts.length, 2)
  assert.is(JSON.stringify(puts[1]?.body), before)
  world.attachments.push({
    uri: '/rest/sas-logical-jbod-attachments/1',
    sasLogicalJBODUri: JBOD,
    serverProfileUri: PROFILE,
  })
  await world.provisioner.attach(TAG, silentStep)
  assert.is(world.script.of('PUT', PROFILE).length, 2, 'attached, whatever else failed')
})

test('a controller in RAID mode is offered and given no drive, and nothing is written', async () => {
  const world = new World().carryOut()
  world.addJbod(7)
  world.profile.localStorage.controllers = [{ deviceSlot: 'Mezz 1', mode: 'RAID' }]
  assert.is((await thrownBy(() => world.provisioner.free(running))).code, 'EINVAL')
  assert.is((await thrownBy(() => world.provisioner.attach(TAG, silentStep))).code, 'EINVAL')
  assert.is(world.script.of('PUT', PROFILE).length, 0)
})

test("another server's drive is neither attached, detached nor released", async () => {
  const world = new World().carryOut()
  world.addJbod(7)
  world.attachments.push({
    uri: '/rest/sas-logical-jbod-attachments/1',
    sasLogicalJBODUri: JBOD,
    serverProfileUri: '/rest/server-profiles/other',
    serverHardwareUri: '/rest/server-hardware/other',
  })
  assert.is((await thrownBy(() => world.provisioner.attach(TAG, silentStep))).code, 'EPERM')
  assert.is((await thrownBy(() => world.provisioner.detach(TAG, silentStep))).code, 'EPERM')
  assert.is((await thrownBy(() => world.provisioner.release(TAG, silentStep))).code, 'EBUSY')
  const [held] = await world.provisioner.held(running)
  assert.equal([held?.state, held?.isHere], ['attached', false])
})

test('a drive detached leaves the profile as it was before, and detached again changes nothing', async () => {
  const world = new World().carryOut()
  world.addJbod(7)
  await world.provisioner.attach(TAG, silentStep)
  await world.provisioner.detach(TAG, silentStep)
  const { eTag } = world.profile
  assert.is(
    JSON.stringify({ ...world.profile, eTag: '' }),
    JSON.stringify({ ...fixture('ServerProfile'), eTag: '' }),
  )
  await world.provisioner.detach(TAG, silentStep)
  assert.is(world.profile.eTag, eTag)
  assert.is((await world.provisioner.held(running))[0]?.state, 'reserved')
})

test('a drive that the appliance failed to take away is taken away again, until its attachment is gone', async () => {
  const world = new World()
  world.addJbod(7)
  const attachment = {
    uri: '/rest/sas-logical-jbod-attachments/1',
    sasLogicalJBODUri: JBOD,
    serverProfileUri: PROFILE,
  }
  world.attachments.push(attachment)
  world.profile.state = 'UpdateFailed'
  world.script
    .on('PUT', PROFILE, () => {
      world.profile.state = 'Normal'
      return { status: 202, headers: { location: TASK } }
    })
    .series(
      'GET',
      '/rest/sas-logical-jbod-attachments',
      pageOf([attachment]),
      pageOf([attachment]),
      pageOf([]),
    )
  await world.provisioner.detach(TAG, silentStep)
  assert.is(world.script.of('PUT', PROFILE).length, 1)
  assert.is(world.script.of('GET', '/rest/sas-logical-jbod-attachments').length, 3)
  world.script.on('GET', '/rest/sas-logical-jbod-attachments', pageOf([attachment]))
  const error = await thrownBy(() => world.provisioner.detach(TAG, silentStep))
  assert.equal([error.code, error.retry], ['EAGAIN', 'later'])
})

test('a server that must be off to take a drive away is told as such too', async () => {
  const world = new World().carryOut()
  world.addJbod(7)
  await world.provisioner.attach(TAG, silentStep)
  world.script.on('PUT', PROFILE, { status: 400, body: POWER })
  const error = await thrownBy(() => world.provisioner.detach(TAG, silentStep))
  assert.equal(
    [error.code, error.op, error.subject.needsPowerOff],
    ['EPERM', 'oneview.detach', true],
  )
  assert.is((await world.provisioner.held(running))[0]?.state, 'attached')
})

test('a task that is gone says nothing of the JBOD or the profile it was for', async () => {
  const world = new World()
  world.addJbod(7)
  const begun = { status: 202, headers: { location: '/rest/tasks/gone' } }
  world.script.series('PUT', PROFILE, begun, ({ body }) => {
    Object.assign(world.profile, body)
    return begun
  })
  await world.provisioner.attach(TAG, silentStep)
  assert.is(world.script.of('PUT', PROFILE).length, 2)
  world.profile.localStorage = fixture('ServerProfile').localStorage
  world.script.series('DELETE', JBOD, begun, () => {
    world.removeJbod()
    world.indexOf(7).attributes.available = 'yes'
    return begun
  })
  await world.provisioner.release(TAG, silentStep)
  assert.is(world.script.of('DELETE', JBOD).length, 2)
})

test('a drive is asked for again while another operation locks it, and not when the user may not', async () => {
  const world = new World().carryOut()
  const carriedOut = () => {
    world.addJbod(7)
    return { status: 202, headers: { location: TASK } }
  }
  world.script.series(
    'POST',
    '/rest/sas-logical-jbods',
    { status: 409, body: { message: 'Locked.' } },
    carriedOut,
  )
  assert.is((await world.provisioner.reserve(TAG, world.bay(7).uri, silentStep)).tag, TAG)
  const other = new World()
  other.script.on('POST', '/rest/sas-logical-jbods', { status: 403, body: { message: 'No.' } })
  assert.is(
    (await thrownBy(() => other.provisioner.reserve(TAG, other.bay(7).uri, silentStep))).code,
    'EPERM',
  )
  assert.is(
    other.script.of('GET', '/rest/sas-logical-jbods').length,
    1,
    'nobody looks for a winner',
  )
})

test('a drive is released by its eTag, and waited for until it is erased and free', async () => {
  const world = new World().carryOut()
  const { eTag } = world.addJbod(7)
  const { uri } = fixture('Drive')
  const erasing = { body: { ...fixture('Drive'), uri, attributes: { available: 'no' } } }
  world.script.series('GET', /^\/rest\/index\/resources\/rest\/drives\//, erasing, erasing, {
    body: fixture('Drive'),
  })
  const told: string[] = []
  await world.provisioner.release(TAG, { signal: running, progress: (words) => told.push(words) })
  assert.is(world.script.of('DELETE', JBOD)[0]?.headers['if-match'], eTag)
  assert.is(told.filter((words) => /erases the drive/.test(words)).length, 2)
  await world.provisioner.release(TAG, silentStep)
  assert.is(world.script.of('DELETE', JBOD).length, 1)
  assert.equal(await world.provisioner.held(running), [])
})

test('a release goes on through conflicts and lost answers until the JBOD is gone', async () => {
  const world = new World()
  world.addJbod(7)
  world.script.series('DELETE', JBOD, { status: 412 }, { status: 409 }, () => {
    world.removeJbod()
    world.indexOf(7).attributes.available = 'yes'
    return lost()
  })
  await world.provisioner.release(TAG, silentStep)
  assert.is(world.script.of('DELETE', JBOD).length, 3)
})

test('an appliance that goes on saying that it erases what is to be kept is asked now and then, not for ever, and nothing is deleted', async () => {
  const world = new World()
  world.addJbod(7)
  world.script.on('PATCH', JBOD, { status: 204 })
  const error = await thrownBy(() =>
    world.provisioner.release(TAG, silentStep, { keepsData: true }),
  )
  assert.is(error.code, 'EIO')
  assert.match(error.message, /without erasing its drive/)
  const asked = world.script.of('PATCH', JBOD).length
  assert.ok(asked > 1 && asked < 60, `${asked} times`)
  assert.is(world.script.of('DELETE', JBOD).length, 0)
})

test('a drive that broke or was pulled out is not waited for', async () => {
  const world = new World().carryOut()
  world.addJbod(7)
  world.indexOf(7).status = 'Critical'
  await world.provisioner.release(TAG, silentStep)
  world.addJbod(8)
  world.script.on('GET', /^\/rest\/index\/resources\/rest\/drives\//, { status: 404 })
  await world.provisioner.release(TAG, silentStep)
  assert.is(world.script.of('DELETE', JBOD).length, 2)
})

test('a tag of another cluster is refused before anything is asked', async () => {
  const world = new World()
  for (const verb of ['attach', 'detach', 'release'] as const) {
    const error = await thrownBy(() => world.provisioner[verb]('SSD_storage', silentStep))
    assert.is(error.code, 'EINVAL')
  }
  assert.is(
    (await thrownBy(() => world.provisioner.reserve(PREFIX, '/x', silentStep))).code,
    'EINVAL',
  )
  assert.is(world.script.asked.length, 0)
})

test('two JBODs of one tag are touched by nobody', async () => {
  const world = new World().carryOut()
  world.addJbod(7)
  world.addJbod(8, { uri: '/rest/sas-logical-jbods/0b' })
  assert.is((await thrownBy(() => world.provisioner.release(TAG, silentStep))).code, 'EEXIST')
})

test('what is wrong with a drive is told in words', async () => {
  const world = new World()
  world.addJbod(7, { state: 'ConfigError', status: 'Critical' })
  world.bay(7).drive.status = 'Warning'
  const [held] = await world.provisioner.held(running)
  assert.is(held?.trouble, 'the logical JBOD is ConfigError, Critical; the drive is Warning')
  world.bay(7).drive = null
  assert.match(`${(await world.provisioner.held(running))[0]?.trouble}`, /shows no drive in it/)
})

test('a check tells what this appliance shows, and writes nothing', async () => {
  const world = new World()
  world.script.on('GET', '/rest/appliance/nodeinfo/version', { body: fixture('ApplianceNodeInfo') })
  world.script.on(
    'GET',
    '/rest/tasks',
    pageOf([{ taskState: 'Error', taskErrors: [POWER] }, { taskState: 7 }]),
  )
  const findings = await world.check()
  const seen = (point: RegExp) => findings.find((one) => point.test(one.point))?.seen ?? ''
  assert.equal(
    findings.filter(({ ok }) => !ok).map((one) => `${one.point}: ${one.seen}`),
    [],
  )
  assert.match(seen(/kind of appliance/), /family "HPE OneView VM"/)
  assert.match(seen(/byte order/), /bay 5, known by profile uuid; same byte order/)
  assert.match(seen(/how logical JBODs name/), /sas-logical-jbodV2 logicalDriveBayUris 2/)
  assert.match(seen(/sections/), /ServerNotOffWithCause/)
  assert.equal(
    world.script.asked.filter(({ method }) => method !== 'GET').map(({ path }) => path),
    ['/rest/login-sessions'],
  )
})

test('a check goes on past a point that cannot be looked at, and not past a wrong password', async () => {
  const world = new World()
  world.script.on('GET', '/rest/sas-logical-jbod-attachments', {
    status: 403,
    body: { message: 'No.' },
  })
  const failed = (await world.check()).filter(({ ok }) => !ok)
  assert.ok(failed.some(({ point, seen }) => /attachments/.test(point) && /No\./.test(seen)))
  const locked = new World()
  locked.script.on('POST', '/rest/login-sessions', {
    status: 400,
    body: { errorCode: 'AUTHN_AUTH_FAIL', message: 'No.' },
  })
  assert.is((await thrownBy(() => locked.check())).code, 'EACCES')
  assert.is(locked.script.of('POST').length, 1)
})

test.run()
