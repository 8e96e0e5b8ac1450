import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError, silentLog } from '../../src/base/index.ts'
import { FixedDrives, Provisioning } from '../../src/provision/index.ts'
import { CLUSTER, CoreWorld, MINUTE_MS, NODE, thrown } from './core-world.ts'
import { CHUNK_BYTES } from './fake-host.ts'

const percent = (count: number) => count / CHUNK_BYTES

function worldWithPolicy(drives?: number): CoreWorld {
  const world = new CoreWorld(drives)
  world.provisioning.setPolicy({ enabled: true, reserve: 'none' })
  return world
}

const whats = (world: CoreWorld) =>
  world.provisioning.policyLog().map(({ what, act }) => `${act} ${what}`)

test('a pool over its mark grows at a tick, and shrinks when it is empty again', async () => {
  const world = worldWithPolicy()
  world.write(world.fixedSerial, percent(80))
  await world.provisioning.tick(world.step())
  assert.is(world.host.drives.size, 2)
  await world.provisioning.tick(world.step())
  assert.is(world.host.drives.size, 2, 'one is enough')
  for (const [chunk] of world.chunks.all().slice(5)) world.chunks.delete(chunk)
  await world.provisioning.tick(world.step())
  assert.is(world.host.drives.size, 2, 'it cools down')
  for (let minutes = 0; minutes < 31; minutes += 1) {
    if (minutes < 30) assert.is(world.host.drives.size, 2)
    world.clock.ms += MINUTE_MS
    await world.provisioning.tick(world.step())
  }
  assert.is(world.host.drives.size, 1)
  assert.equal(whats(world), [
    ...['set settings', 'grow began', 'grow ended'],
    // It is watched first, and then the cool-down goes on.
    ...['shrink refused', 'shrink refused', 'shrink began', 'shrink ended'],
  ])
  const [, began] = world.provisioning.policyLog()
  assert.match(began?.why ?? '', /80 bytes of 100 bytes used, grow-at is 75 %/)
  assert.is(began?.numbers.usedBytes, 80)
})

test('at rest the policy asks the frame for nothing', async () => {
  const world = worldWithPolicy()
  world.write(world.fixedSerial, percent(50))
  await world.provisioning.tick(world.step())
  const seen: string[] = []
  world.onCall = (op) => seen.push(op)
  for (let times = 0; times < 3; times++) {
    world.clock.ms += 5000
    await world.provisioning.tick(world.step())
  }
  assert.equal(seen, ['facts', 'facts', 'facts'])
})

test('settings, budget and learned duration survive a restart', async () => {
  const world = worldWithPolicy()
  assert.is(world.provisioning.status().growMs, 20 * MINUTE_MS)
  world.provisioning.setPolicy({ budget: '1/day', coolDown: '1s' })
  world.onCall = (op) => {
    if (op === 'attach') world.clock.ms += 3 * MINUTE_MS
  }
  world.write(world.fixedSerial, percent(80))
  await world.provisioning.tick(world.step())
  world.write('S000', percent(90))
  world.restart()
  await world.provisioning.tick(world.step())
  assert.is(world.host.drives.size, 2)
  assert.is(world.provisioning.status().growMs, 3 * MINUTE_MS)
  assert.match(world.provisioning.policyLog().at(-1)?.why ?? '', /budget of 1 drive a day/)
})

test('a refusal is written once, not at every tick', async () => {
  const world = worldWithPolicy(0)
  world.write(world.fixedSerial, percent(80))
  for (let times = 0; times < 5; times++) {
    world.clock.ms += MINUTE_MS
    world.write(world.fixedSerial, 1)
    await world.provisioning.tick(world.step())
  }
  assert.equal(whats(world), ['set settings', 'grow refused'])
})

test('a dry run says what it would do, and does nothing', async () => {
  const world = worldWithPolicy()
  world.provisioning.setPolicy({ dryRun: true })
  world.write(world.fixedSerial, percent(80))
  for (let times = 0; times < 2; times++) await world.provisioning.tick(world.step())
  assert.is(world.host.drives.size, 1)
  assert.equal(whats(world), ['set settings', 'set settings', 'grow would'])
  const [one] = await world.provisioning.plan(world.step().signal)
  assert.is(one?.do, 'grow')
})

test('a volume that does not fit gets room, drive by drive, with progress', async () => {
  const world = worldWithPolicy()
  await world.provisioning.ensureRoom(250, 3, world.step())
  assert.is(world.host.drives.size, 4)
  assert.ok(world.progress.some((words) => /take \d drives?.* that are short/.test(words)))
  const begun = world.provisioning.policyLog().filter(({ what }) => what === 'began')
  // A life of the daemon that ends after one of them has charged the budget with that one.
  assert.equal(
    begun.map(({ drives }) => drives),
    [1, 1, 1],
  )
  const before = world.progress.length
  assert.is(await world.provisioning.hasRoom(250, 3, world.step().signal), true)
  await world.provisioning.ensureRoom(250, 3, world.step())
  assert.is(world.progress.length, before, 'there is room')
})

test('a volume that can get no room is told why', async () => {
  const world = worldWithPolicy(1)
  const { code, message } = await thrown(world.provisioning.ensureRoom(900, 3, world.step()))
  assert.is(code, 'ENOSPC')
  const asked = await thrown(world.provisioning.hasRoom(900, 3, world.step().signal))
  assert.is(asked.code, 'ENOSPC')
  assert.match(message, /room for 900 bytes of class 3: .*no drive of class 3 is free/)
  world.provisioning.setPolicy({ enabled: false })
  const off = await thrown(world.provisioning.ensureRoom(900, 3, world.step()))
  assert.match(off.message, /weft policy set --on/)
})

test('after the power refusal the policy sets no more drives aside', async () => {
  const world = worldWithPolicy()
  world.frame.power = 'off-required'
  world.write(world.fixedSerial, percent(80))
  await thrown(world.provisioning.tick(world.step()))
  world.clock.ms += 60 * MINUTE_MS
  await world.provisioning.tick(world.step())
  assert.is(world.frame.drives.filter(({ tag }) => tag !== null).length, 1)
  assert.match(world.provisioning.policyLog().at(-1)?.why ?? '', /only with the server off/)
})

test('drives that stand ready are claimed without the appliance, the power on or off', async () => {
  const world = worldWithPolicy()
  world.frame.power = 'off-required'
  const asked = await world.provisioning.prepare({ class: 3, drives: 2 }, world.step())
  assert.equal(
    asked.map(({ step }) => step),
    ['needs-power-off', 'needs-power-off'],
  )
  // A peer has done it at a shutdown, and the daemon comes up again.
  for (const { tag } of asked) {
    const drive = world.frame.byTag(tag)
    if (drive) drive.host = NODE
  }
  await world.restart().reconcile({}, world.step())
  assert.equal(
    world.provisioning.status().allocations.map(({ step }) => step),
    ['ready', 'ready'],
  )
  assert.equal(await world.provisioning.reconcile({}, world.step()), [], 'and they are no news')
  world.write(world.fixedSerial, percent(80))
  await world.provisioning.tick(world.step())
  assert.is(world.host.drives.size, 2)
  const [one] = await world.provisioning.allocate({ class: 3, drives: 1 }, world.step())
  assert.is(one?.serial, 'S001')
  assert.is(world.frame.drives.filter(({ tag }) => tag !== null).length, 2)
})

test('a drive that stands ready is given back as any other', async () => {
  const world = worldWithPolicy()
  const [one] = await world.provisioning.prepare({ class: 3, drives: 1 }, world.step())
  assert.is(one?.step, 'ready')
  const wanted = { class: 3, drives: 1 } as const
  assert.equal(await world.provisioning.planAllocate(wanted, world.step().signal), [
    'use Frame1, bay 3, drive 1, 100 bytes, which is ready',
  ])
  assert.is(world.host.drives.size, 1)
  await world.provisioning.release(one?.tag ?? '', world.step())
  assert.is(world.frame.drives[0]?.tag, null)
})

test('what takes drives does not wait for what gives back, and that is gone on with later', async () => {
  const world = worldWithPolicy()
  const [one] = await world.provisioning.allocate({ class: 3, drives: 1 }, world.step())
  world.frame.eraseMs = 10 * MINUTE_MS
  const release = thrown(world.provisioning.release(one?.tag ?? '', world.step()))
  while (!world.progress.includes('erasing')) await new Promise((done) => setImmediate(done))
  assert.is(world.provisioning.status().underWay?.what, 'release')
  const [next] = await world.provisioning.allocate({ class: 3, drives: 1 }, world.step())
  const stopped = await release
  assert.is(stopped.code, 'EAGAIN')
  assert.match(stopped.message, /drives are wanted first/)
  assert.is(next?.step, 'settled')
  await world.provisioning.reconcile({}, world.step())
  assert.equal(
    world.provisioning.status().allocations.map(({ tag }) => tag),
    [next?.tag],
  )
})

test('of two that are asked for at once the second waits, and says for what', async () => {
  const world = worldWithPolicy()
  const both = await Promise.all([
    world.provisioning.allocate({ class: 3, drives: 1 }, world.step()),
    world.provisioning.allocate({ class: 3, drives: 1 }, world.step()),
  ])
  assert.is(new Set(both.flat().map(({ serial }) => serial)).size, 2)
})

test('what is on its way in comes first when more is wanted', async () => {
  const world = worldWithPolicy()
  world.failures.set('attach', { error: new FsError('ECONNRESET', 'attach') })
  await thrown(world.provisioning.allocate({ class: 3, drives: 1 }, world.step()))
  const [one] = await world.provisioning.allocate({ class: 3, drives: 1 }, world.step())
  assert.is(one?.serial, 'S000')
  assert.is(world.frame.drives.filter(({ tag }) => tag !== null).length, 1)
})

test('plans say in lines what would be done, and change nothing', async () => {
  const world = worldWithPolicy()
  const { signal } = world.step()
  const lines = await world.provisioning.planAllocate({ class: 3, drives: 5 }, signal)
  assert.match(lines.join('\n'), /take Frame1, bay 3, drive 1, 100 bytes/)
  assert.match(lines.join('\n'), /short of 1 drive/)
  assert.is(world.frame.drives.filter(({ tag }) => tag !== null).length, 0)
  const [one] = await world.provisioning.allocate({ class: 3, drives: 1 }, world.step())
  world.write('S000', 2)
  const out = await world.provisioning.planRelease(one?.driveId ?? '', signal)
  assert.match(out[0] ?? '', /move 8 bytes .* class 3 have 100 bytes free/)
  const unknown = await thrown(world.provisioning.release('nothing', world.step()))
  assert.is(unknown.code, 'ENOENT')
})

test('with fixed drives everything is said and nothing is taken', async () => {
  const world = new CoreWorld()
  const provisioning = new Provisioning({
    ...{ provisioner: new FixedDrives(), host: world.host.life(), disk: world.disk },
    ...{ directory: '/home', owner: { cluster: CLUSTER, node: NODE }, clock: world.clock },
    random: { bytes: (count) => Buffer.alloc(count) },
    log: silentLog,
  })
  provisioning.setPolicy({ enabled: true })
  world.write(world.fixedSerial, percent(90))
  await provisioning.tick(world.step())
  assert.is(provisioning.status().kind, 'fixed')
  assert.match(provisioning.policyLog().at(-1)?.why ?? '', /no drive of class 3 is free/)
})

test.run()
