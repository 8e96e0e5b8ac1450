import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { codeOf, inFrame, pause, until, type World } from './asking.ts'
import type { Body } from './fixtures.ts'
import { entryOf, newJbod, putEntries, SAS_SSD, SATA_HDD } from './storing.ts'

const JBODS = '/rest/sas-logical-jbods'

/** Drives 0 to 3 are SSDs that can be erased, 4 and 5 HDDs that cannot. */
const MIX = [
  { ...SAS_SSD, count: 4 },
  { ...SATA_HDD, count: 2 },
]

const SSDS = {
  name: 'found',
  numPhysicalDrives: 2,
  minSizeGB: 800,
  maxSizeGB: 800,
  driveTechnology: { deviceInterface: 'SAS', driveMedia: 'SSD' },
  eraseData: false,
}

async function availableOf({ list }: World): Promise<string> {
  const members = await list('/rest/index/resources?category=drives&count=1000')
  return members
    .map(({ attributes }) => ((attributes as Body).available === 'yes' ? 'y' : 'n'))
    .join('')
}

test('a JBOD is made of the drives whose bays are named, by a task that tells where it is', () =>
  inFrame({ drives: MIX }, async (world) => {
    const { ask, simulator } = world
    const jbod = await newJbod(world, 'mine', [1, 3], { description: 'two of them' })
    assert.is(jbod.type, 'sas-logical-jbodV4')
    assert.equal([jbod.name, jbod.description, jbod.state], ['mine', 'two of them', 'Configured'])
    assert.equal([jbod.numPhysicalDrives, jbod.minSizeGB, jbod.maxSizeGB], [2, 800, 800])
    const drives = (await ask('GET', `${jbod.uri}/drives`)).body as unknown as Body[]
    const wanted = [1, 3].map((place) => simulator.frame.drives[place]!)
    assert.equal(
      drives.map(({ serialNumber }) => serialNumber),
      wanted.map(({ serialNumber }) => serialNumber),
    )
    assert.equal(
      jbod.driveBayUris,
      wanted.map(({ bayUri }) => bayUri),
    )
    assert.is(await availableOf(world), 'ynynyy')
  }))

test('a JBOD by criteria gets free and sound drives that match, all or none', () =>
  inFrame({ drives: MIX }, async (world) => {
    const { work, simulator } = world
    await newJbod(world, 'first', [0])
    simulator.setHealth(simulator.frame.drives[1]!.serialNumber, 'PredictiveFail')
    const [enclosure] = simulator.frame.enclosures
    const body = { ...SSDS, numPhysicalDrives: '2', driveEnclosureUris: [enclosure!.uri] }
    assert.is((await work('POST', JBODS, { body })).taskState, 'Completed')
    assert.is(await availableOf(world), 'nynnyy')
    const none = await work('POST', JBODS, { body })
    assert.equal([none.taskState, codeOf(none)], ['Error', 'DFRM_INSUFFICIENT_DRIVE_COUNT'])
    assert.is(await availableOf(world), 'nynnyy')
    const odd = await work('POST', JBODS, { body: { ...SSDS, maxSizeGB: 1 } })
    assert.is(codeOf(odd), 'DirectFabricJbodInvalidNumMinSizeGb')
  }))

test('of two that want the same drive at once one gets it, and the other an error', () =>
  inFrame({ drives: MIX }, async ({ ask, ended, simulator }) => {
    const driveBayUris = [simulator.frame.drives[0]!.bayUri]
    const both = await Promise.all(
      ['a', 'b'].map((name) => ask('POST', JBODS, { body: { name, driveBayUris } })),
    )
    assert.equal(
      both.map(({ status }) => status),
      [202, 202],
    )
    const states = await Promise.all(both.map(async (one) => (await ended(one)).taskState))
    assert.equal(states.sort(), ['Completed', 'Error'])
    assert.is(simulator.frame.audit()[0]!.jbods.length, 1)
  }))

test('a request for a JBOD with a field, a type, a bay or an enclosure that is unknown is refused with 400', () =>
  inFrame({ drives: MIX }, async ({ ask, simulator }) => {
    const refusal = async (more: Body) => {
      const body = { name: 'x', driveBayUris: [simulator.frame.drives[0]!.bayUri], ...more }
      const answer = await ask('POST', JBODS, { body })
      assert.is(answer.status, 400, JSON.stringify(more))
      return answer
    }
    const field = await refusal({ size: 3 })
    assert.is(codeOf(field), 'UNRECOGNIZED_JSON_FIELD')
    assert.match(String(field.body.details), /field named size near/)
    const type = await refusal({ type: 'sas-logical-jbodV2' })
    assert.match(String(type.body.message), /"type" field content, "sas-logical-jbodV2"/)
    await refusal({ driveBayUris: ['/rest/drive-enclosures/SN123100/drive-bays/none'] })
    await refusal({ driveBayUris: [] })
    await refusal({ eraseData: 'perhaps' })
    await refusal({ name: '' })
    await refusal({ ...SSDS, driveBayUris: undefined, driveEnclosureUris: ['/rest/none'] })
    assert.equal((await ask('GET', JBODS)).body.members, [])
  }))

test('drives of two kinds, of two frames, or that have failed make no JBOD', () =>
  inFrame(
    { frames: 2, drives: [...MIX, { ...SAS_SSD, frame: 2 }] },
    async ({ work, simulator }) => {
      const { drives } = simulator.frame
      const failure = async (...places: number[]) => {
        const driveBayUris = places.map((place) => drives[place]!.bayUri)
        return codeOf(await work('POST', JBODS, { body: { name: 'x', driveBayUris } }))
      }
      assert.is(await failure(0, 4), 'DFRM_DRIVES_NOT_ALIKE')
      assert.is(await failure(0, 6), 'DFRM_DRIVES_NOT_TOGETHER')
      simulator.setHealth(drives[0]!.serialNumber, 'Failed')
      assert.is(await failure(0), 'DFRM_DRIVE_FAILED')
      assert.is(simulator.frame.jbods.size, 0)
    },
  ))

test('a JBOD is Configured some time after its task, or in error', () =>
  inFrame({ drives: MIX, knobs: { jbodSettleMs: 600, jbodEditPower: 'online' } }, async (world) => {
    const { ask, simulator } = world
    const slow = await newJbod(world, 'slow', [0])
    assert.is(slow.state, 'Configuring')
    const early = await putEntries(world, [entryOf(1, slow)])
    assert.is(codeOf(early), 'JBOD_NOT_CONFIGURED')
    await until('it is configured', async () => {
      const { body } = await ask('GET', String(slow.uri))
      return body.state === 'Configured' && body.eTag !== slow.eTag
    })
    simulator.knobs.set({ jbodSettleMs: 0, jbodSettlesAs: 'ConfigError' })
    const ill = await newJbod(world, 'ill', [1])
    await until('it is in error', async () => {
      const { body } = await ask('GET', String(ill.uri))
      return body.state === 'ConfigError' && body.status === 'Critical'
    })
    assert.is(await availableOf(world), 'nyyyyy', 'the index knows no better')
  }))

test('the index tells of a drive that was given or taken back only after its lag', () =>
  inFrame({ drives: MIX }, async (world) => {
    world.simulator.knobs.indexLagMs = 1000
    await pause(5)
    await newJbod(world, 'mine', [0])
    assert.is(await availableOf(world), 'yyyyyy')
    await until('the index has it', async () => (await availableOf(world)) === 'nyyyyy')
  }))

test('a change or a deletion needs the eTag of what it changes, or a star', () =>
  inFrame({ drives: MIX }, async (world) => {
    const { ask, work } = world
    const jbod = await newJbod(world, 'mine', [0])
    const uri = String(jbod.uri)
    const body = [{ op: 'replace', path: '/name', value: 'yours' }]
    const eTag = (value: unknown) => ({ 'If-Match': String(value) })
    for (const method of ['PATCH', 'DELETE']) {
      const said = method === 'PATCH' ? { body } : {}
      assert.is((await ask(method, uri, said)).status, 403, method)
      assert.is((await ask(method, uri, { ...said, headers: eTag('old') })).status, 412, method)
    }
    await work('PATCH', uri, { body, headers: eTag(jbod.eTag) })
    const renamed = (await ask('GET', uri)).body
    assert.is(renamed.name, 'yours')
    assert.is((await ask('DELETE', uri, { headers: eTag(jbod.eTag) })).status, 412)
    const gone = await work('DELETE', uri, { headers: eTag(renamed.eTag) })
    assert.is(gone.taskStatus, 'Removed SAS logical JBOD successfully.')
    assert.is((await ask('GET', uri)).status, 404)
    assert.is(await availableOf(world), 'yyyyyy')
    const other = await newJbod(world, 'other', [0])
    const forced = await work('DELETE', String(other.uri), { headers: eTag('*') })
    assert.is(forced.taskState, 'Completed')
  }))

test('a change may be answered at once, and eraseData goes from true to false only', () =>
  inFrame({ drives: MIX, knobs: { patchAnswer: 'resource' } }, async (world) => {
    const jbod = await newJbod(world, 'mine', [0], { eraseData: 'true' })
    assert.is(jbod.eraseData, true)
    const erase = (value: unknown) =>
      world.ask('PATCH', String(jbod.uri), {
        headers: { 'If-Match': '*' },
        body: [{ op: 'replace', path: '/eraseData', value }],
      })
    const changed = await erase('false')
    assert.equal([changed.status, changed.body.eraseData], [200, false])
    assert.is((await erase('true')).status, 400)
  }))

test('what is being deleted is locked, and its drives are free only when they are sanitised', () =>
  inFrame({ drives: MIX, knobs: { sanitiseMs: 600 } }, async (world) => {
    const { ask, ended, simulator } = world
    const jbod = await newJbod(world, 'mine', [0], { eraseData: true })
    const headers = { 'If-Match': '*' }
    const first = await ask('DELETE', String(jbod.uri), { headers })
    assert.is((await ask('DELETE', String(jbod.uri), { headers })).status, 409)
    await pause(60)
    assert.is(await availableOf(world), 'nyyyyy')
    const task = await ended(first)
    assert.is(task.taskState, 'Completed')
    assert.is(await availableOf(world), 'yyyyyy')
    assert.is(simulator.frame.drives[0]!.erased, true)
  }))

test('drives that cannot be sanitised are given back at once', () =>
  inFrame({ drives: MIX, knobs: { sanitiseMs: 60_000 } }, async (world) => {
    const jbod = await newJbod(world, 'mine', [4], { eraseData: true })
    const headers = { 'If-Match': '*' }
    const task = await world.work('DELETE', String(jbod.uri), { headers })
    assert.is(task.taskState, 'Completed')
    assert.is(world.simulator.frame.drives[4]!.erased, false)
  }))

test('the deletion of what a profile has is accepted, and then fails', () =>
  inFrame({ drives: MIX, knobs: { jbodEditPower: 'online' } }, async (world) => {
    const jbod = await newJbod(world, 'mine', [0])
    await putEntries(world, [entryOf(1, jbod)])
    const task = await world.work('DELETE', String(jbod.uri), { headers: { 'If-Match': '*' } })
    assert.is(codeOf(task), 'DFRM_SAS_LOGICAL_JBOD_UNABLE_TO_DELETE_SP_EXISTS')
    assert.is((await world.ask('GET', String(jbod.uri))).body.state, 'Configured')
  }))

test('older versions tell logical bays, and the oldest make no JBODs by themselves', () =>
  inFrame({ drives: MIX }, async (world) => {
    const jbod = await newJbod(world, 'mine', [0])
    const read = async (version: string) =>
      (await world.ask('GET', String(jbod.uri), { headers: { 'X-API-Version': version } })).body
    const older = await read('1200')
    assert.is(older.driveBayUris, undefined)
    assert.match(
      String((older.logicalDriveBayUris as string[])[0]),
      /^\/rest\/sas-logical-interconnects\/[\w-]+\/logical-drive-enclosures\/[\w-]+\/logical-drive-bays\/[\w-]+$/,
    )
    assert.is((await read('600')).type, 'sas-logical-jbodV2')
    const body = { name: 'x', driveBayUris: [] }
    const refused = await world.ask('POST', JBODS, { body, headers: { 'X-API-Version': '600' } })
    assert.is(refused.status, 405)
  }))

test.run()
