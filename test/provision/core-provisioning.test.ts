import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type DriveId, FsError, silentLog } from '../../src/base/index.ts'
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

test('drives are made to stand ready as many as are set, and anew when one was used', async () => {
  const world = worldWithPolicy()
  world.provisioning.setPolicy({ ready: '2', budget: '1/day' })
  world.write(world.fixedSerial, percent(50))
  const ready = () =>
    world.provisioning.status().allocations.filter(({ towards }) => towards === 'ready').length
  const ticks = async (count: number) => {
    for (let times = 0; times < count; times++) {
      world.clock.ms += MINUTE_MS
      await world.provisioning.tick(world.step())
    }
  }
  await ticks(4)
  assert.is(ready(), 2)
  assert.is(world.host.drives.size, 1, 'they are no drives yet')
  world.write(world.fixedSerial, percent(30))
  await ticks(3)
  assert.is(world.host.drives.size, 2)
  assert.is(ready(), 2, 'the one that was used has a successor')
  assert.equal(
    whats(world).filter((one) => one.startsWith('prepare')),
    ['prepare ended', 'prepare ended', 'prepare ended'],
  )
  // The budget of one was the growth's alone.
  assert.is(whats(world).filter((one) => one === 'grow ended').length, 1)
  world.provisioning.setPolicy({ ready: '3', maxDrives: '3' })
  await ticks(3)
  assert.is(ready(), 2, 'not more than it may hold')
})

test('on an appliance that attaches with the server off alone, all that are to stand ready are set aside before that', async () => {
  const world = worldWithPolicy()
  world.provisioning.setPolicy({ ready: '2' })
  world.write(world.fixedSerial, percent(50))
  world.frame.power = 'off-required'
  for (let times = 0; times < 5; times++) {
    world.clock.ms += MINUTE_MS
    await world.provisioning.tick(world.step())
  }
  const steps = () => world.provisioning.status().allocations.map(({ step }) => step)
  assert.equal(steps(), ['needs-power-off', 'needs-power-off'])
  for (const drive of world.frame.drives) if (drive.tag !== null) drive.host = NODE
  world.clock.ms += 5 * MINUTE_MS
  await world.provisioning.tick(world.step())
  assert.equal(steps(), ['ready', 'ready'])
})

test('one that cannot be made to stand ready is rested from, and is the only one that is set aside', async () => {
  const world = worldWithPolicy()
  world.provisioning.setPolicy({ ready: '2' })
  world.write(world.fixedSerial, percent(50))
  let asked = 0
  world.onCall = (op) => {
    if (op !== 'attach') return
    asked++
    throw new FsError('EIO', 'attach')
  }
  for (let minutes = 0; minutes < 60; minutes++) {
    world.clock.ms += MINUTE_MS
    await world.provisioning.tick(world.step()).catch(() => {})
  }
  assert.is(world.frame.drives.filter(({ tag }) => tag !== null).length, 1)
  assert.ok(asked < 60, `${asked} times`)
})

test('a drive that stands ready is given back as any other', async () => {
  const world = worldWithPolicy()
  const [one] = await world.provisioning.prepare({ class: 3, drives: 1 }, world.step())
  assert.is(one?.step, 'ready')
  const wanted = { class: 3, drives: 1 } as const
  const [use] = await world.provisioning.planAllocate(wanted, world.step().signal)
  assert.is(use, 'use Frame1, bay 3, drive 1, 100 bytes, which is ready')
  assert.is(world.host.drives.size, 1)
  await world.provisioning.release(one?.tag ?? '', world.step())
  assert.is(world.frame.drives[0]?.tag, null)
})

const turn = () => new Promise((done) => setImmediate(done))

test('what takes drives does not wait for what gives back: that steps aside, and goes on by itself', async () => {
  const world = worldWithPolicy()
  const [one] = await world.provisioning.allocate({ class: 3, drives: 1 }, world.step())
  world.frame.eraseMs = 10 * MINUTE_MS
  const release = world.provisioning.release(one?.tag ?? '', world.step())
  while (!world.progress.includes('erasing')) await turn()
  assert.is(world.provisioning.status().underWay?.what, 'release')
  const beganMs = world.clock.ms
  const [next] = await world.provisioning.allocate({ class: 3, drives: 1 }, world.step())
  assert.is(next?.step, 'settled')
  assert.ok(world.clock.ms - beganMs < MINUTE_MS)
  await release
  assert.equal(
    world.provisioning.status().allocations.map(({ tag }) => tag),
    [next?.tag],
  )
})

test('who comes to take drives while others are taken goes before all that give back, and these wait', async () => {
  const world = worldWithPolicy()
  const [one] = await world.provisioning.allocate({ class: 3, drives: 1 }, world.step())
  const order: string[] = []
  const ended = (what: string) => () => void order.push(what)
  const wanted = { class: 3, drives: 1 } as const
  await Promise.all([
    world.provisioning.allocate(wanted, world.step()).then(ended('first')),
    world.provisioning.release(one?.tag ?? '', world.step()).then(ended('release')),
    world.provisioning.allocate(wanted, world.step()).then(ended('second')),
  ])
  assert.equal(order, ['first', 'second', 'release'])
})

test('a drive that is erased for hours keeps neither the policy, nor other drives, nor what is coming from going on', async () => {
  const world = worldWithPolicy()
  world.provisioning.setPolicy({ coolDown: '1s' })
  const both = await world.provisioning.allocate({ class: 3, drives: 2 }, world.step())
  world.failures.set('release', { error: new FsError('ECONNRESET', 'release') })
  await thrown(world.provisioning.release(both[0]?.tag ?? '', world.step()))
  // Coming, behind a lost answer.
  world.failures.set('attach', { error: new FsError('ECONNRESET', 'attach') })
  await thrown(world.provisioning.allocate({ class: 3, drives: 1 }, world.step()))
  // The clock of this world goes on with the erasing alone, which so never ends while others have a turn.
  world.frame.eraseMs = Number.POSITIVE_INFINITY
  const abort = new AbortController()
  const ticking = world.provisioning.tick(world.step(abort.signal)).catch(() => {})
  while (!world.progress.includes('erasing')) await turn()
  assert.is(world.provisioning.status().allocations.at(-1)?.step, 'settled', 'it came in first')
  assert.ok(world.provisioning.status().reconciled, 'and what was found is known')
  world.write(world.fixedSerial, percent(100))
  world.write('S001', percent(100))
  world.write('S002', percent(90))
  world.clock.ms += 2000
  await world.provisioning.tick(world.step(abort.signal))
  assert.ok(world.host.bySerial('S003'), 'the policy took one')
  world.provisioning.setPolicy({ enabled: false })
  for (const [chunk] of world.chunks.all()) world.chunks.delete(chunk)
  world.frame.eraseMs = 0
  const others = await world.provisioning.reconcile({}, world.step())
  assert.ok(others.every(({ is }) => is === 'under-way' || is === 'finished'))
  await world.provisioning.release(both[1]?.tag ?? '', world.step())
  assert.is(world.frame.drives[1]?.tag, null)
  abort.abort()
  await ticking
})

test('one look at the frame at a time: ticks do not pile up behind an appliance that does not answer', async () => {
  const world = worldWithPolicy()
  world.write(world.fixedSerial, percent(80))
  await world.provisioning.reconcile({}, world.step())
  world.clock.ms += 1000
  let asked = 0
  let answer: () => void = () => {}
  const away = new Promise<void>((resolve) => {
    answer = resolve
  })
  world.before = async (op) => {
    if (op === 'free') asked++
    if (op === 'free' || op === 'held') await away
  }
  const ticks = Array.from({ length: 10 }, () => world.provisioning.tick(world.step()))
  for (let times = 0; times < 20; times++) await turn()
  world.before = async () => {}
  answer()
  await Promise.all(ticks)
  assert.ok(asked <= 1, `${asked} asked at once`)
})

test('a drive that cannot be attached is the only one that is set aside, however often it is tried, and costs the budget once', async () => {
  const world = worldWithPolicy()
  world.write(world.fixedSerial, percent(95))
  world.provisioning.setPolicy({ budget: '2/day', coolDown: '1s' })
  const fails = (op: string) => {
    if (op === 'attach') throw new FsError('EIO', 'attach', { message: 'the profile is locked' })
  }
  world.onCall = fails
  let asked = 0
  for (let minutes = 0; minutes < 60; minutes++) {
    world.onCall = (op) => {
      if (op === 'attach') asked++
      fails(op)
    }
    await world.provisioning.tick(world.step()).catch(() => {})
    world.clock.ms += MINUTE_MS
  }
  assert.is(world.frame.drives.filter(({ tag }) => tag !== null).length, 1)
  // Each reconcile tries it, and the policy ever more seldom.
  assert.ok(asked < 30, `${asked} times`)
  const refusal = world.provisioning.policyLog().find(({ what }) => what === 'refused')
  assert.match(refusal?.why ?? '', /the last try failed, it is tried again in .*profile is locked/)
  world.onCall = () => {}
  await world.provisioning.reconcile({}, world.step())
  assert.is(world.host.drives.size, 2)
  // One drive is charged: another may be had today.
  world.write('S000', percent(95))
  world.clock.ms += MINUTE_MS
  await world.provisioning.tick(world.step())
  assert.is(world.host.drives.size, 3)
})

test('allocate by hand says which drive is in the way, and takes no other', async () => {
  const world = worldWithPolicy()
  const wanted = { class: 3, drives: 1 } as const
  const error = () => new FsError('EIO', 'attach', { message: 'the profile is locked' })
  world.failures.set('attach', { error: error() })
  await thrown(world.provisioning.allocate(wanted, world.step()))
  world.failures.set('attach', { error: error() })
  const { message } = await thrown(world.provisioning.allocate(wanted, world.step()))
  assert.match(message, /drive 1 was set aside .* does not come in: .*the profile is locked/)
  assert.is(world.frame.drives.filter(({ tag }) => tag !== null).length, 1)
})

test('what a person did is cooled down after, is not of the budget, and the plan says what the policy will do', async () => {
  const world = worldWithPolicy()
  world.provisioning.setPolicy({ budget: '1/day' })
  world.write(world.fixedSerial, percent(20))
  const { signal } = world.step()
  const wanted = { class: 3, drives: 1 } as const
  const plan = await world.provisioning.planAllocate(wanted, signal)
  assert.match(
    plan.at(-1) ?? '',
    /the policy gives one back after its cool-down of 30 min, unless more is written: 10 % of 200 bytes/,
  )
  const [one] = await world.provisioning.allocate(wanted, world.step())
  for (let minutes = 0; minutes < 29; minutes++) {
    world.clock.ms += MINUTE_MS
    await world.provisioning.tick(world.step())
  }
  assert.is(world.host.drives.size, 2, 'it cools down')
  world.clock.ms += 2 * MINUTE_MS
  await world.provisioning.tick(world.step())
  assert.is(world.host.bySerial(one?.serial ?? ''), null)
})

test('the plan of a release says that the policy would take another, and that the last of a class goes', async () => {
  const world = worldWithPolicy()
  const [one] = await world.provisioning.allocate({ class: 3, drives: 1 }, world.step())
  world.write(world.fixedSerial, percent(60))
  world.write('S000', percent(30))
  const { signal } = world.step()
  const again = await world.provisioning.planRelease(one?.tag ?? '', signal)
  assert.match(
    again.join('\n'),
    /the policy takes another after its cool-down of 30 min.*92 % of 100 bytes are used then/,
  )
  world.host.drives.delete(world.host.bySerial(world.fixedSerial)?.id as DriveId)
  world.host.addFixed(2, 1000)
  const last = (await world.provisioning.planRelease(one?.tag ?? '', signal)).join('\n')
  assert.match(last, /it is the last drive of class 3 on this node.*another class \(of class 2\)/)
  assert.not.match(last, /the policy takes another/)
  // And it is not undone: it goes without anything of its class being taken.
  await world.provisioning.release(one?.tag ?? '', world.step())
  world.clock.ms += 60 * MINUTE_MS
  await world.provisioning.tick(world.step())
  assert.is(world.frame.drives.filter(({ tag }) => tag !== null).length, 0)
})

test('how long a frame takes is not learned from an outage, and is from a drive whose making ended with the daemon', async () => {
  const world = worldWithPolicy()
  world.write(world.fixedSerial, percent(80))
  const abort = new AbortController()
  world.onCall = (op) => {
    if (op === 'attach') world.clock.ms += 4 * MINUTE_MS
    if (op === 'makeDrive') abort.abort()
  }
  await thrown(world.provisioning.tick(world.step(abort.signal)))
  world.onCall = () => {}
  // The node is off over the week-end.
  world.clock.ms += 60 * 60 * MINUTE_MS
  await world.restart().reconcile({}, world.step())
  assert.is(world.provisioning.status().allocations[0]?.step, 'settled')
  assert.is(world.provisioning.status().growMs, 4 * MINUTE_MS)
  assert.equal(whats(world), ['set settings', 'grow began', 'grow paused', 'grow ended'])
})

test('of two that are asked for at once the second waits, and says for what', async () => {
  const world = worldWithPolicy()
  world.provisioning.setPolicy({ coolDown: '1s' })
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
