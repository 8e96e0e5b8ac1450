import { closeSync, existsSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { KeeperState, MountAnswer } from '../../src/fuse/keeper-protocol.ts'
import { mountAt } from '../../src/fuse/mount-table.ts'
import { startTicksOf } from '../../src/fuse/run-dir.ts'
import { exited, KeeperWorld, run, sleep, until } from './keeper-world.ts'

/** close of a descriptor whose connection is gone may say ENOTCONN from its flush; it is closed all the same. */
function closeDead(fd: number): void {
  try {
    if (fd >= 0) closeSync(fd)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOTCONN') throw error
  }
}

const stat = (path: string) => run('stat', ['-c', '%f', path])

test('a mount made through the keeper answers, and shutdown leaves no mount, process or file', async () => {
  const world = new KeeperWorld()
  try {
    const keeper = await world.start()
    const mounted = await world.call('mount', { target: world.point })
    assert.is(mounted.code, undefined, mounted.message)
    assert.equal(world.mounts(), [world.point])
    assert.is((await stat(join(world.point, 'f-one'))).stdout, '81a4\n')
    assert.is((await run('stat', ['-f', world.point])).code, 0)
    assert.equal(
      world.file()?.mounts.map((mount) => mount.target),
      [world.point],
    )

    await world.call('shutdown')
    assert.is(await exited(keeper.child), 0, keeper.text())
    assert.equal(world.mounts(), [])
    assert.is(startTicksOf(keeper.file.daemonPid ?? 0), '')
    assert.not.ok(existsSync(join(world.home, 'keeper.lock')))
    assert.not.ok(existsSync(join(world.runDir, 'keeper.json')))
  } finally {
    await world.close()
  }
})

test('SIGTERM ends it in order while a file below is open', async () => {
  const world = new KeeperWorld()
  let fd = -1
  try {
    const keeper = await world.start()
    await world.call('mount', { target: world.point })
    fd = openSync(join(world.point, 'f-open'), 'r')
    keeper.child.kill('SIGTERM')
    assert.is(await exited(keeper.child), 0, keeper.text())
    assert.match(keeper.text(), /"lazy":true/)
    assert.equal(world.mounts(), [])
    assert.is(startTicksOf(keeper.file.daemonPid ?? 0), '')
  } finally {
    closeDead(fd)
    await world.close()
  }
})

test('a request that a killed daemon had taken is answered by the next one', async () => {
  const world = new KeeperWorld()
  try {
    const keeper = await world.start()
    await world.call('mount', { target: world.point })
    const slow = stat(join(world.point, 'f-slow'))
    await until('the daemon has taken the request', () => world.hasFlag('saw-slow'))
    process.kill(keeper.file.daemonPid ?? 0, 'SIGKILL')
    assert.equal(await slow, { code: 0, stdout: '81a4\n', stderr: '' })
    const file = await world.ready(2)
    assert.is.not(file.daemonPid, keeper.file.daemonPid)

    const state = (await world.call('state')).result as KeeperState
    const used = state.slots.filter((slot) => slot.used)
    assert.is(state.generation, 2)
    assert.is(state.afterCrash, true)
    assert.is(used.length, 1)
    assert.is(used[0]?.target, world.point)
    assert.equal(used[0]?.info, { slot: 0, words: 'of the last life' })
  } finally {
    await world.close()
  }
})

test('one that it had taken through the clone is, too', async () => {
  const world = new KeeperWorld()
  try {
    const keeper = await world.start()
    world.flag('through-clone')
    const { result } = await world.call('mount', { target: world.point })
    assert.is((result as MountAnswer).polled, true)
    const slow = stat(join(world.point, 'f-slow'))
    await until('the daemon has taken the request', () => world.hasFlag('saw-slow'))
    // The next life reads what this one had taken from whichever descriptor it likes.
    world.unflag('through-clone')
    process.kill(keeper.file.daemonPid ?? 0, 'SIGKILL')
    assert.equal(await slow, { code: 0, stdout: '81a4\n', stderr: '' })
    const state = (await world.call('state')).result as KeeperState
    assert.is(state.slots.find((slot) => slot.used)?.polled, true)
  } finally {
    await world.close()
  }
})

test('a request made while no daemon serves waits for the next one', async () => {
  const world = new KeeperWorld()
  try {
    const keeper = await world.start()
    await world.call('mount', { target: world.point })
    world.flag('pause')
    process.kill(keeper.file.daemonPid ?? 0, 'SIGKILL')
    await until('daemon 2 is started', () => world.file()?.generation === 2)
    let answered = false
    const waiting = stat(join(world.point, 'f-late')).then((result) => {
      answered = true
      return result
    })
    await sleep(200)
    assert.is(answered, false)
    world.unflag('pause')
    assert.equal(await waiting, { code: 0, stdout: '81a4\n', stderr: '' })
  } finally {
    await world.close()
  }
})

test('a daemon that keeps dying is started again, later and later, while a mount exists', async () => {
  const world = new KeeperWorld()
  try {
    const keeper = await world.start()
    await world.call('mount', { target: world.point })
    world.flag('crash-at-start')
    process.kill(keeper.file.daemonPid ?? 0, 'SIGKILL')
    await until('the keeper backs off', () => /"waitMs":1000/.test(keeper.text()))
    assert.equal(world.mounts(), [world.point])
    const waiting = stat(join(world.point, 'f-late'))
    world.unflag('crash-at-start')
    assert.is((await waiting).code, 0)
    assert.ok(((await world.ready(2)).generation ?? 0) >= 6)
    assert.is(keeper.child.exitCode, null)
  } finally {
    await world.close()
  }
})

test('a daemon that served for a second is started again at once, however often it is killed', async () => {
  const world = new KeeperWorld()
  try {
    const keeper = await world.start()
    await world.call('mount', { target: world.point })
    // More often than the keeper lets a daemon die that does not get to serve, and within its window of 10 s.
    for (let kill = 0; kill < 6; kill += 1) {
      await sleep(1100)
      const file = world.file()
      process.kill(file?.daemonPid ?? 0, 'SIGKILL')
      await world.ready((file?.generation ?? 0) + 1)
    }
    assert.not.match(keeper.text(), /waitMs/)
    assert.is((await stat(join(world.point, 'f-one'))).code, 0)
  } finally {
    await world.close()
  }
})

test('a daemon that dies again and again right after it is ready is held back', async () => {
  const world = new KeeperWorld()
  try {
    const keeper = await world.start()
    await world.call('mount', { target: world.point })
    world.flag('crash-when-ready')
    process.kill(keeper.file.daemonPid ?? 0, 'SIGKILL')
    await until('the keeper backs off', () => /"waitMs":1000/.test(keeper.text()))
    await until('longer each time', () => /"waitMs":2000/.test(keeper.text()))
    assert.equal(world.mounts(), [world.point])
    world.unflag('crash-when-ready')
    const waiting = stat(join(world.point, 'f-late'))
    assert.is((await waiting).code, 0)
  } finally {
    await world.close()
  }
})

test('a log that cannot be written costs no mount', async () => {
  const world = new KeeperWorld()
  try {
    const keeper = await world.start()
    await world.call('mount', { target: world.point })
    keeper.child.stderr?.destroy()
    process.kill(keeper.file.daemonPid ?? 0, 'SIGKILL')
    await world.ready(2)
    assert.is((await stat(join(world.point, 'f-one'))).code, 0)
    keeper.child.kill('SIGTERM')
    assert.is(await exited(keeper.child), 0)
    assert.equal(world.mounts(), [])
  } finally {
    await world.close()
  }
})

test('a daemon that cannot start at all ends the keeper with its code', async () => {
  const world = new KeeperWorld()
  try {
    world.flag('crash-at-start')
    const keeper = world.spawnKeeper()
    assert.is(await exited(keeper.child), 9)
    assert.not.ok(existsSync(join(world.home, 'keeper.lock')))
  } finally {
    await world.close()
  }
})

test('of keepers started at once on one home one wins, the others are told who has it', async () => {
  const world = new KeeperWorld()
  try {
    const keepers = [1, 2, 3].map(() => world.spawnKeeper())
    const { pid } = await world.ready(1)
    const losers = keepers.filter((keeper) => keeper.child.pid !== pid)
    assert.is(losers.length, 2)
    for (const loser of losers) {
      assert.is(await exited(loser.child), 5)
      assert.ok(loser.text().includes(`already running as pid ${pid} on this home`), loser.text())
    }
  } finally {
    await world.close()
  }
})

test('the lock file of a dead keeper is no obstacle, even if its pid lives again', async () => {
  const world = new KeeperWorld()
  try {
    const mark = { pid: process.pid, startTicks: '1', bootId: 'another boot' }
    writeFileSync(join(world.home, 'keeper.lock'), JSON.stringify(mark))
    const keeper = await world.start()
    assert.is(keeper.file.pid, keeper.child.pid)
  } finally {
    await world.close()
  }
})

test('after kill -9 of the keeper a new one takes the home, and the dead mount is mounted anew', async () => {
  const world = new KeeperWorld()
  try {
    const first = await world.start()
    await world.call('mount', { target: world.point })
    first.child.kill('SIGKILL')
    await exited(first.child)
    const second = world.spawnKeeper()
    await until('the second keeper serves', () => {
      const file = world.file()
      return file?.pid === second.child.pid && file?.ready
    })
    assert.is(startTicksOf(first.file.daemonPid ?? 0), '')
    const mounted = await world.call('mount', { target: world.point })
    assert.is(mounted.code, undefined, mounted.message)
    assert.equal(world.mounts(), [world.point])
    assert.is((await stat(join(world.point, 'f-one'))).code, 0)
  } finally {
    await world.close()
  }
})

test('a mount over a mount and a missing target are refused, with the next step in words', async () => {
  const world = new KeeperWorld()
  try {
    await world.start()
    await world.call('mount', { target: world.point })
    const again = await world.call('mount', { target: world.point })
    assert.is(again.code, 'EBUSY')
    assert.match(again.message ?? '', /is already a mount of weft; weft umount it first/)
    const missing = await world.call('mount', { target: join(world.dir, 'nowhere') })
    assert.is(missing.code, 'ENOENT')
    assert.match(missing.message ?? '', /does not exist; run: mkdir -p/)
    assert.is((await stat(join(world.point, 'f-one'))).code, 0)
  } finally {
    await world.close()
  }
})

test('a bind mount shows the tree a second time and outlives the first place', async () => {
  const world = new KeeperWorld()
  try {
    await world.start()
    const other = world.mkdir('other place')
    await world.call('mount', { target: world.point })
    const bound = await world.call('bind', { slot: '0', target: other, options: 'ro,noexec' })
    assert.is(bound.code, undefined, bound.message)
    assert.is((await stat(join(other, 'f-one'))).code, 0)
    const options = (point: string) => mountAt(point)?.options ?? ''
    assert.match(options(other), /^ro,noexec/)
    assert.match(options(world.point), /^rw/)
    const foreign = await world.call('bind', { slot: '0', target: other, options: 'sync' })
    assert.is(foreign.code, 'EINVAL')
    const moved = { ended: false, target: other, heldBy: [] }
    assert.equal((await world.call('unmount', { slot: '0' })).result, moved)
    assert.equal(world.mounts(), [other])
    assert.is((await stat(join(other, 'f-two'))).code, 0)
    const third = world.mkdir('third')
    assert.is(
      (await world.call('bind', { slot: '0', target: third, options: 'rw' })).code,
      undefined,
    )
    assert.is((await stat(join(third, 'f-two'))).code, 0)
    assert.match(options(third), /^rw,relatime/)
    assert.is((await world.call('unbind', { target: third })).code, undefined)
    assert.equal((await world.call('unmount', { slot: '0' })).result, {
      ended: true,
      target: null,
      heldBy: [],
    })
    assert.equal(world.mounts(), [])
    assert.is((await world.call('bind', { slot: '0', target: third, options: 'rw' })).code, 'EBUSY')
  } finally {
    await world.close()
  }
})

test('a busy mount is not unmounted unless lazily, and then serves its open files', async () => {
  const world = new KeeperWorld()
  let fd = -1
  try {
    await world.start()
    await world.call('mount', { target: world.point })
    fd = openSync(join(world.point, 'f-open'), 'r')
    const busy = await world.call('unmount', { slot: '0' })
    assert.is(busy.code, 'EBUSY', busy.message)
    const gone = (await world.call('unmount', { slot: '0', lazy: 'yes' })).result
    assert.equal(gone, { ended: false, target: null, heldBy: [] })
    assert.equal(world.mounts(), [])
    assert.is((await run('stat', ['-L', `/proc/${process.pid}/fd/${fd}`])).code, 0)
    closeSync(fd)
    fd = -1
    await until('the keeper has heard of its end', () => world.file()?.mounts.length === 0)
  } finally {
    if (fd >= 0) closeSync(fd)
    await world.close()
  }
})

test('a planned restart and umount by hand leave the slots right', async () => {
  const world = new KeeperWorld()
  try {
    const other = world.mkdir('other')
    const keeper = await world.start()
    await world.call('mount', { target: world.point })
    await world.call('mount', { target: other })
    assert.is((await run('umount', [world.point])).code, 0)
    await world.call('restart')
    await world.ready(2)
    const state = (await world.call('state')).result as KeeperState
    assert.is(state.afterCrash, false)
    assert.equal(
      state.slots.filter((slot) => slot.used).map((slot) => slot.target),
      [other],
    )
    assert.is((await stat(join(other, 'f-one'))).code, 0)
    const mounted = await world.call('mount', { target: world.point })
    assert.is(mounted.code, undefined, mounted.message)
    assert.is((await stat(join(world.point, 'f-one'))).code, 0)
    assert.is(keeper.child.exitCode, null)
  } finally {
    await world.close()
  }
})

test('an upgrade to a program that does not start goes back to the one before', async () => {
  const world = new KeeperWorld()
  try {
    await world.start()
    await world.call('mount', { target: world.point })
    await world.call('restart', { program: join(world.dir, 'no-such-program.js') })
    const file = await world.ready(2)
    assert.is(file.program, world.tinyProgram)
    assert.is((await stat(join(world.point, 'f-one'))).code, 0)
  } finally {
    await world.close()
  }
})

test('garbage from the daemon is answered or dropped, and an endless line ends the daemon alone', async () => {
  const world = new KeeperWorld()
  try {
    const keeper = await world.start()
    await world.call('mount', { target: world.point })
    const garbage = [
      'not json\n',
      '\n\n[]\nnull\n{"id":1}\n',
      '{"id":"x","verb":"mount"}\n{"id":7,"verb":"unmount","slot":-1}\n',
      '{"id":8,"verb":"mount","slot":1,"target":"relative","source":"x","options":[]}\n',
      '{"id":9,"verb":"unmount","slot":1e9}\n{"id":10,"verb":"constructor"}\n',
    ]
    for (const bytes of garbage) await world.call('garbage', { bytes })
    assert.is((await stat(join(world.point, 'f-one'))).code, 0)
    assert.is(world.file()?.generation, 1)
    await world.call('endless').catch(() => {}) // its answer dies with it
    await world.ready(2)
    assert.is((await stat(join(world.point, 'f-two'))).code, 0)
    assert.is(keeper.child.exitCode, null)
    assert.not.match(keeper.text(), /"bug"/)
  } finally {
    await world.close()
  }
})

test.run()
