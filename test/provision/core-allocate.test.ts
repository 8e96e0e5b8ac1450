import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type DriveId, FsError } from '../../src/base/index.ts'
import { CoreWorld, MINUTE_MS, NODE, OTHER, thrown } from './core-world.ts'

const steps = ['reserve', 'attach', 'waitForDisk', 'makeDrive']
const stepsOut = ['drain', 'move', 'verify', 'takeOut', 'deleteDevice', 'detach', 'release']
const looks = new Set(['facts', 'held', 'free'])

const allocate = (world: CoreWorld, drives = 1) =>
  world.provisioning.allocate({ class: 3, drives }, world.step())

test('a drive goes in step by step, each after its intent is on disk', async () => {
  const world = new CoreWorld()
  const seen: string[] = []
  world.onCall = (op) => {
    if (looks.has(op)) return
    const file = JSON.parse(world.disk.readFile('/home/intents.json').toString())
    seen.push(`${op}: ${file.allocations[0]?.step}`)
  }
  const [one] = await allocate(world)
  assert.equal(seen, ['reserve: reserve', 'attach: attach', 'waitForDisk: wait', 'makeDrive: make'])
  assert.is(one?.step, 'settled')
  assert.is(world.host.bySerial('S000')?.tag, one?.tag)
  assert.is(world.frame.byTag(one?.tag ?? '')?.host, NODE)
  assert.ok(world.progress.some((words) => /attach Frame1, bay 3, drive 1/.test(words)))
})

test('the id of the new drive is on disk before the disk is formatted, and a try that was cut short goes on with it', async () => {
  const world = new CoreWorld()
  const ids: string[] = []
  world.onCall = (op) => {
    if (op !== 'makeDrive') return
    const file = JSON.parse(world.disk.readFile('/home/intents.json').toString())
    ids.push(file.allocations[0]?.driveId)
  }
  world.failures.set('makeDrive', { error: new FsError('EAGAIN', 'makeDrive') })
  await thrown(allocate(world))
  await world.restart().reconcile({}, world.step())
  const [one] = world.provisioning.status().allocations
  assert.match(one?.driveId ?? '', /^[0-9a-f]{32}$/)
  assert.equal(ids, [one?.driveId, one?.driveId])
  assert.is(world.host.bySerial('S000')?.id, one?.driveId)
})

test('a drive that is given back before it is known to be in use is erased, and one with something of somebody on it is not', async () => {
  const kept = async (fault: 'bad' | 'wrong') => {
    const world = new CoreWorld()
    world.host.faults.set('S000', fault)
    await allocate(world)
    await world.provisioning.reconcile({}, world.step())
    return world.frame.keptData
  }
  assert.equal(await kept('bad'), [])
  assert.equal(await kept('wrong'), ['S000'])
})

test('a drive goes out: drained, verified, taken out, let go of, detached, released, forgotten', async () => {
  const world = new CoreWorld()
  const [one] = await allocate(world)
  world.write('S000', 1)
  const seen: string[] = []
  world.onCall = (op) => {
    if (!looks.has(op) && seen.at(-1) !== op) seen.push(op)
  }
  await world.provisioning.release(one?.driveId ?? '', world.step())
  assert.equal(seen, stepsOut)
  assert.equal(world.provisioning.status().allocations, [])
  assert.is(world.frame.drives[0]?.tag, null)
  assert.is(world.chunks.count(world.fixedSerial), 1)
})

test('after each lost answer the next reconcile goes on to the end, and nothing is done twice', async () => {
  for (const after of [false, true]) {
    for (const op of steps) {
      const world = new CoreWorld()
      world.failures.set(op, { error: new FsError('ECONNRESET', op), after })
      const failed = await thrown(allocate(world))
      assert.is(failed.code, 'ECONNRESET')
      assert.match(world.provisioning.status().allocations[0]?.lastError ?? '', /ECONNRESET/)
      const findings = await world.restart().reconcile({}, world.step())
      assert.equal(
        findings.map(({ is }) => is),
        ['finished'],
        `${op} ${after}`,
      )
      assert.is(world.frame.drives.filter(({ tag }) => tag !== null).length, 1)
      assert.is(world.host.drives.size, 2)
    }
  }
})

test('a race that is lost costs another pick', async () => {
  const world = new CoreWorld()
  world.onCall = (op) => {
    const [first] = world.frame.drives
    if (op === 'reserve' && first?.tag === null) {
      first.tag = `weft-c1c1c1c1c1c1-${OTHER.slice(0, 12)}-000000000001`
    }
  }
  const [one] = await allocate(world)
  assert.is(one?.serial, 'S001')
  await world.provisioning.reconcile({}, world.step())
  assert.is(world.provisioning.status().allocations.length, 1, 'the lost one is forgotten')
  assert.is(world.frame.drives[0]?.tag?.includes(OTHER.slice(0, 12)), true)
})

test('a drive that is no good is given back, and another is taken', async () => {
  for (const fault of ['never', 'wrong', 'two', 'bad', 'joins-then-fails'] as const) {
    const world = new CoreWorld()
    world.host.faults.set('S000', fault)
    const [one] = await allocate(world)
    assert.is(one?.serial, 'S001', fault)
    const [bad] = world.provisioning.status().allocations
    assert.is(bad?.towards, 'out', fault)
    await world.provisioning.reconcile({}, world.step())
    assert.is(world.frame.drives[0]?.tag, null, fault)
    assert.is(world.host.bySerial('S000'), null, fault)
    assert.is(world.provisioning.status().allocations.length, 1, fault)
  }
})

test('a drive that the appliance calls unwell after the reserve goes back', async () => {
  const world = new CoreWorld()
  world.onCall = (op) => {
    const [first] = world.frame.drives
    if (op === 'reserve' && first) first.trouble = 'predictive failure'
  }
  const [one] = await allocate(world)
  assert.is(one?.serial, 'S001')
})

test('when every drive is no good it ends, with the last reason', async () => {
  const world = new CoreWorld(8)
  for (const { serial } of world.frame.drives) world.host.faults.set(serial, 'bad')
  const { code, message } = await thrown(allocate(world))
  assert.is(code, 'EIO')
  assert.match(message, /5 drives were tried/)
})

test('without a free drive it says so', async () => {
  const { code, message } = await thrown(allocate(new CoreWorld(0)))
  assert.is(code, 'ENOSPC')
  assert.match(message, /no free drive of class 3 is in this node's reach.*weft synergy free/)
})

test('the power refusal stops it with the choices, and what was done meanwhile is gone on with', async () => {
  const world = new CoreWorld()
  world.frame.power = 'off-required'
  const { code, message } = await thrown(allocate(world))
  assert.is(code, 'EPERM')
  assert.match(message, /only with the server off.*--retry-power.*weft synergy release weft-/)
  const [one] = world.provisioning.status().allocations
  assert.is(one?.step, 'needs-power-off')
  const [rests] = await world.restart().reconcile({}, world.step())
  assert.is(rests?.is, 'needs-power-off')
  assert.is(world.frame.refusals.power, 1, 'it was not asked again')

  const drive = world.frame.byTag(one?.tag ?? '')
  if (drive) drive.host = NODE
  const [finished] = await world.provisioning.reconcile({}, world.step())
  assert.is(finished?.is, 'finished')
})

test('a drive that needs the power off to go rests idle, out of the pool, until it may', async () => {
  const world = new CoreWorld()
  const [one] = await allocate(world)
  world.frame.power = 'off-required'
  const { code, message } = await thrown(world.provisioning.release(one?.tag ?? '', world.step()))
  assert.is(code, 'EPERM')
  assert.match(message, /nothing is on it any more/)
  assert.is(world.host.bySerial('S000'), null)
  const [rests] = await world.restart().reconcile({}, world.step())
  assert.is(rests?.is, 'needs-power-off')
  world.frame.power = 'online'
  await world.provisioning.release(one?.tag ?? '', world.step())
  assert.is(world.frame.drives[0]?.tag, null)
})

test('a person who says go on has the power question asked again', async () => {
  const world = new CoreWorld()
  world.frame.power = 'off-required'
  await thrown(allocate(world))
  world.frame.power = 'online'
  const [finding] = await world.provisioning.reconcile({ retryPower: true }, world.step())
  assert.is(finding?.is, 'finished')
})

test('a drive is not detached while a chunk of it is nowhere else, and is when it is', async () => {
  const world = new CoreWorld()
  const [one] = await allocate(world)
  world.write('S000', 2)
  world.host.overlooks = () => true
  const { code, message } = await thrown(world.provisioning.release(one?.tag ?? '', world.step()))
  assert.is(code, 'EBUSY')
  assert.match(message, /nowhere else/)
  assert.is(world.frame.drives[0]?.host, NODE)
  world.host.overlooks = () => false
  await world.provisioning.reconcile({}, world.step())
  assert.is(world.frame.drives[0]?.tag, null)
  assert.is(world.chunks.count(world.fixedSerial), 2)
})

test('a disk that its host does not show is not given back, until it is seen again or a person calls it lost', async () => {
  const away = async () => {
    const world = new CoreWorld()
    const [one] = await allocate(world)
    // Its record of being a drive is gone with the list of drives, and the host has lost the disk.
    world.host.drives.delete(one?.driveId as DriveId)
    world.host.deleted.add('S000')
    world.write('S000', 1)
    const { code } = await thrown(world.provisioning.release(one?.tag ?? '', world.step()))
    assert.is(code, 'EBUSY')
    await world.restart().reconcile({}, world.step())
    assert.is(world.frame.drives[0]?.host, NODE)
    return { world, tag: one?.tag ?? '' }
  }
  const seen = await away()
  seen.world.host.deleted.clear()
  for (const [chunk] of seen.world.chunks.all()) seen.world.chunks.delete(chunk)
  await seen.world.provisioning.reconcile({}, seen.world.step())
  assert.is(seen.world.frame.drives[0]?.tag, null)
  const lost = await away()
  await lost.world.provisioning.release(lost.tag, lost.world.step(), true)
  assert.is(lost.world.frame.drives[0]?.tag, null)
})

test('one whose disk was let go of after it was verified goes on in the next life, without its disk', async () => {
  for (const op of ['detach', 'release']) {
    const world = new CoreWorld()
    const [one] = await allocate(world)
    world.failures.set(op, { error: new FsError('ECONNRESET', op) })
    await thrown(world.provisioning.release(one?.tag ?? '', world.step()))
    // The next life gets no further, and the one behind it still knows that the disk may be away.
    world.failures.set(op, { error: new FsError('ECONNRESET', op) })
    await world.restart().reconcile({}, world.step())
    await world.restart().reconcile({}, world.step())
    assert.is(world.frame.drives[0]?.tag, null, op)
  }
})

test('one that was taken out of the pool, and looked at then, goes on in the next life though its host does not show it', async () => {
  const world = new CoreWorld()
  const [one] = await allocate(world)
  world.failures.set('takeOut', { error: new FsError('ECONNRESET', 'takeOut'), after: true })
  await thrown(world.provisioning.release(one?.tag ?? '', world.step()))
  world.host.deleted.add('S000')
  await world.restart().reconcile({}, world.step())
  assert.is(world.frame.drives[0]?.tag, null)
})

test('a drive that is gone is not asked for over and over while it cannot be drained', async () => {
  const world = new CoreWorld()
  const [one] = await allocate(world)
  const drive = world.host.bySerial('S000')
  if (drive) drive.state = 'gone'
  const seen: string[] = []
  world.onCall = (op) => seen.push(op)
  const { code } = await thrown(world.provisioning.release(one?.tag ?? '', world.step()))
  assert.is(code, 'EBUSY')
  assert.equal(seen, ['held', 'facts', 'drain'])
})

test('something that came onto a drive before it was taken out is moved, and it is verified anew', async () => {
  const world = new CoreWorld()
  const [one] = await allocate(world)
  world.failures.set('takeOut', { error: new FsError('EBUSY', 'takeOut') })
  await thrown(world.provisioning.release(one?.tag ?? '', world.step()))
  const seen: string[] = []
  world.onCall = (op) => seen.push(op)
  await world.provisioning.reconcile({}, world.step())
  assert.ok(seen.indexOf('verify') >= 0 && seen.indexOf('verify') < seen.indexOf('takeOut'))
})

test('what the appliance says of a drive that it does not show is not taken for what is known of it', async () => {
  const world = new CoreWorld()
  const [one] = await allocate(world)
  const [drive] = world.frame.drives
  if (drive) drive.isHidden = true
  const asked: string[] = []
  world.host.onVerify = ({ serial }) => asked.push(serial)
  await world.provisioning.release(one?.tag ?? '', world.step())
  assert.equal([...new Set(asked)], ['S000'])
})

test('what an earlier life has verified is verified again before the detach', async () => {
  const world = new CoreWorld()
  const [one] = await allocate(world)
  world.failures.set('detach', { error: new FsError('ECONNRESET', 'detach') })
  await thrown(world.provisioning.release(one?.tag ?? '', world.step()))
  const seen: string[] = []
  world.onCall = (op) => seen.push(op)
  await world.restart().reconcile({}, world.step())
  assert.ok(seen.indexOf('verify') >= 0 && seen.indexOf('verify') < seen.indexOf('detach'))
})

test('a tag whose reserve has no answer is kept until the appliance can not carry it out any more', async () => {
  const world = new CoreWorld()
  const lost = { error: new FsError('ETIMEDOUT', 'reserve') }
  world.failures.set('reserve', lost)
  await thrown(allocate(world))
  const [one] = world.provisioning.status().allocations
  await world.provisioning.release(one?.tag ?? '', world.step()).catch(() => {})
  assert.is(world.provisioning.status().allocations.length, 1)
  // It comes late, and the next look finds it and gives it back.
  world.frame.reserve(one?.tag ?? '', one?.place ?? '')
  await world.provisioning.reconcile({}, world.step())
  assert.is(world.frame.drives[0]?.tag, null)
  world.clock.ms += 31 * MINUTE_MS
  await world.provisioning.reconcile({}, world.step())
  assert.equal(world.provisioning.status().allocations, [])
})

test('an abort stops between two steps, is no error of the drive, and is gone on with', async () => {
  const world = new CoreWorld()
  const abort = new AbortController()
  world.onCall = (op) => {
    if (op === 'attach') abort.abort()
  }
  await thrown(world.provisioning.allocate({ class: 3, drives: 1 }, world.step(abort.signal)))
  assert.is(world.provisioning.status().allocations[0]?.lastError, '')
  await world.provisioning.reconcile({}, world.step())
  assert.is(world.provisioning.status().allocations[0]?.step, 'settled')
})

test('a drive that somebody put before another host is left alone, and told of', async () => {
  const world = new CoreWorld()
  world.failures.set('attach', { error: new FsError('ECONNRESET', 'attach') })
  await thrown(allocate(world))
  const [drive] = world.frame.drives
  if (drive) drive.host = OTHER
  const [finding] = await world.provisioning.reconcile({}, world.step())
  assert.is(finding?.is, 'elsewhere')
  assert.is(drive?.host, OTHER)
})

test.run()
