import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CoreWorld, NODE, OTHER } from './core-world.ts'

const allocate = (world: CoreWorld, drives = 1) =>
  world.provisioning.allocate({ class: 3, drives }, world.step())

const kinds = async (world: CoreWorld, options = {}) =>
  (await world.provisioning.reconcile(options, world.step())).map(({ is }) => is)

const INTENTS = '/home/intents.json'

test('where all is well nothing is found, and nothing is asked for', async () => {
  const world = new CoreWorld()
  await allocate(world, 2)
  const seen: string[] = []
  world.onCall = (op) => seen.push(op)
  assert.equal(await kinds(world), [])
  assert.equal(seen, ['held', 'facts'])
})

test('an orphan is told of, and given back only when that is asked for', async () => {
  const world = new CoreWorld()
  const tag = `weft-c1c1c1c1c1c1-${NODE.slice(0, 12)}-0000000000aa`
  world.frame.reserve(tag, '/bays/002')
  world.frame.attach(tag, NODE)
  assert.equal(await kinds(world), ['orphan'])
  assert.is(world.frame.byTag(tag)?.host, NODE)
  assert.equal(await kinds(world, { releaseOrphans: true }), ['orphan', 'finished'])
  assert.is(world.frame.byTag(tag), null)
  assert.equal(await kinds(world), [])
})

test('an orphan on which something is needed is not given back', async () => {
  const world = new CoreWorld()
  const tag = `weft-c1c1c1c1c1c1-${NODE.slice(0, 12)}-0000000000aa`
  world.frame.reserve(tag, '/bays/002')
  world.frame.attach(tag, NODE)
  world.write('S002', 1)
  assert.equal(await kinds(world, { releaseOrphans: true }), ['orphan', 'stuck'])
  assert.is(world.frame.byTag(tag)?.host, NODE)
})

test('what another node, another cluster or nobody of ours holds is left alone', async () => {
  const world = new CoreWorld()
  const tags = [
    `weft-c1c1c1c1c1c1-${OTHER.slice(0, 12)}-0000000000aa`,
    `weft-c2c2c2c2c2c2-${NODE.slice(0, 12)}-0000000000aa`,
    'db-server-1',
  ]
  tags.forEach((tag, at) => void world.frame.reserve(tag, `/bays/00${at}`))
  assert.equal(await kinds(world, { releaseOrphans: true }), [])
  for (const tag of tags) assert.ok(world.frame.byTag(tag))
})

test('drives in use get their records back when these are lost', async () => {
  const world = new CoreWorld()
  const [one] = await allocate(world)
  world.disk.unlink(INTENTS)
  world.restart()
  assert.equal(await kinds(world), ['found'])
  assert.equal(await kinds(world), [])
  const [again] = world.provisioning.status().allocations
  assert.is(again?.driveId, one?.driveId)
  await world.provisioning.release(one?.tag ?? '', world.step())
})

test('a drive whose allocation has gone at the appliance is told of, and stays in use', async () => {
  const world = new CoreWorld()
  await allocate(world)
  const [drive] = world.frame.drives
  if (drive) drive.tag = null
  assert.equal(await kinds(world), ['taken-away'])
  assert.ok(world.host.bySerial('S000'))
  world.disk.unlink(INTENTS)
  world.restart()
  assert.equal(await kinds(world), ['taken-away'])
})

test('a drive that is held and not in the pool, or not well, is told of', async () => {
  const world = new CoreWorld()
  const [one] = await allocate(world)
  const [drive] = world.frame.drives
  if (drive) drive.trouble = 'predictive failure'
  const [finding] = await world.provisioning.reconcile({}, world.step())
  assert.is(finding?.is, 'trouble')
  assert.match(finding?.words ?? '', /predictive failure.*weft synergy release/)
  if (drive) drive.trouble = ''
  if (one?.driveId) world.host.drives.delete(one.driveId)
  assert.equal(await kinds(world), ['missing'])
})

test('trouble with one drive does not hold up the next', async () => {
  const world = new CoreWorld()
  const [first, second] = await allocate(world, 2)
  world.write('S000', 1)
  world.host.overlooks = () => true
  await world.provisioning.release(first?.tag ?? '', world.step()).catch(() => {})
  await world.provisioning.release(second?.tag ?? '', world.step())
  assert.equal(await kinds(world), ['stuck'])
  assert.is(world.frame.drives[1]?.tag, null)
})

test.run()
