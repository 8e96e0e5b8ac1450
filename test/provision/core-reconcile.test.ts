import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeId } from '../../src/base/index.ts'
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

test('a drive in use whose JBOD a person has detached, or given to another server, is told of', async () => {
  const world = new CoreWorld()
  const [one] = await allocate(world)
  const [drive] = world.frame.drives
  for (const [host, words] of [
    [null, /taken out of this server's profile: put it back/],
    [OTHER, /before another server now, which may overwrite it/],
  ] as const) {
    if (drive) drive.host = host
    const [finding] = await world.provisioning.reconcile({}, world.step())
    assert.is(finding?.is, 'taken-away')
    assert.is(finding?.tag, one?.tag)
    assert.match(finding?.words ?? '', words)
  }
  assert.ok(world.host.bySerial('S000'), 'it stays in use')
})

test('what a node that is no member any more has left is told of, and given back by its tag alone', async () => {
  const world = new CoreWorld()
  const third = '33'.repeat(16) as NodeId
  const tagOf = (node: NodeId, n: number) =>
    `weft-c1c1c1c1c1c1-${node.slice(0, 12)}-00000000000${n}`
  world.frame.reserve(tagOf(OTHER, 1), '/bays/001')
  world.frame.reserve(tagOf(third, 2), '/bays/002')
  assert.equal(await kinds(world, { releaseOrphans: true }), [], 'who is a member is not known')
  const unknown = await world.provisioning.named(tagOf(OTHER, 1), world.step().signal).catch(String)
  assert.match(String(unknown), /no drive of the frame/)
  world.members = [NODE, third]
  world.restart()
  const [finding, ...others] = await world.provisioning.reconcile(
    { releaseOrphans: true },
    world.step(),
  )
  assert.equal(others, [])
  assert.is(finding?.is, 'abandoned')
  assert.match(finding?.words ?? '', /no member of this cluster: `weft synergy release weft-/)
  const { signal } = world.step()
  assert.match((await world.provisioning.planRelease(tagOf(OTHER, 1), signal)).join(), /as it came/)
  await world.provisioning.release(tagOf(OTHER, 1), world.step())
  assert.is(world.frame.byTag(tagOf(OTHER, 1)), null)
  assert.ok(world.frame.byTag(tagOf(third, 2)))
  assert.equal(await kinds(world), [])
})

test('what such a node has before its own server is not taken from there', async () => {
  const world = new CoreWorld()
  const tag = `weft-c1c1c1c1c1c1-${OTHER.slice(0, 12)}-000000000001`
  world.frame.reserve(tag, '/bays/001')
  world.frame.attach(tag, OTHER)
  world.members = [NODE]
  world.restart()
  const refused = await world.provisioning.release(tag, world.step()).catch((error: Error) => error)
  assert.match(String(refused), /is before another server, which may be using it/)
  assert.equal(world.provisioning.status().allocations, [])
  assert.is(world.frame.byTag(tag)?.host, OTHER)
})

test('an orphan before this server that it does not show is not given back', async () => {
  const world = new CoreWorld()
  const tag = `weft-c1c1c1c1c1c1-${NODE.slice(0, 12)}-0000000000aa`
  world.frame.reserve(tag, '/bays/002')
  world.frame.attach(tag, NODE)
  world.host.deleted.add('S002')
  assert.equal(await kinds(world, { releaseOrphans: true }), ['orphan', 'stuck'])
  assert.equal(await kinds(world), ['orphan'], 'and the next life knows no more of it')
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
