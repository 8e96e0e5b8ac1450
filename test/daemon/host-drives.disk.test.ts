import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type DriveId, FsError, type NodeId, silentLog } from '../../src/base/index.ts'
import { readDriveList, writeDriveList } from '../../src/daemon/drive-list.ts'
import { hostDrives } from '../../src/daemon/host-drives.ts'
import type { Node } from '../../src/daemon/node.ts'
import type { DiskToGive, Step } from '../../src/provision/index.ts'
import { HandClock } from '../provision/core-world.ts'
import { thrownBy } from '../support/thrown.ts'

/** What this node says of its drives to room provision, on a host whose disks are answers of lsblk. */

const ID = '0123456789abcdef0123456789abcdef' as DriveId
const TAG = 'weft-aaaaaaaaaaaa-bbbbbbbbbbbb-000000000001'
const GIVEN: DiskToGive = {
  ...{ serial: 'S4EVNF0M7006782A0001', wwid: '', sizeBytes: 1e12, tag: TAG, drive: ID },
  ...{ mayBeHidden: false, isLost: false },
}
const step: Step = { signal: new AbortController().signal, progress() {} }

interface FakeDrive {
  state: 'ok' | 'failing' | 'gone'
  draining: boolean
}

interface More {
  listed?: boolean
  drive?: FakeDrive
  missing?: boolean
  /** What the node says of a drive that it is to clear; default no. */
  isCleared?: boolean
}

function world(more: More = {}) {
  const { isCleared = false } = more
  const home = mkdtempSync(join(tmpdir(), 'weft-host-drives-'))
  const dir = join(home, 'drives', ID)
  const disk = { drive: ID, wwn: '', serial: GIVEN.serial, model: '', tag: TAG, measured: null }
  const listed = { dir, disk, failed: null, givenUp: [] }
  writeDriveList(home, { drives: more.listed ? [listed] : [], leaving: [] })
  const left = { words: '', chunksMoved: 0, why: '' }
  const clock = new HandClock()
  const asked: string[] = []
  const drive = more.drive && {
    ...more.drive,
    ...{ id: ID, dir, cos: 3, failure: new Error('its disk went away') },
    totalBytes: () => 1000,
    freeBytes: () => 1000,
  }
  const node = {
    ...{ home, clock, cluster: null, drives: drive ? [drive] : [], log: silentLog },
    missingDrives: more.missing ? [{ id: ID, listed, why: 'no disk has it' }] : [],
    drains: {
      state: () =>
        drive?.draining && drive.state !== 'gone'
          ? { chunksMoved: left.chunksMoved, chunksLeft: 3, isEmpty: false, why: left.why }
          : null,
      mustBeEmpty() {
        asked.push('mustBeEmpty')
        if (left.words !== '') throw new FsError('EBUSY', 'drive.remove', { message: left.words })
      },
    },
    registry: { list: async () => ({ volumes: [] }) },
    async clear() {
      asked.push('clear')
      if (isCleared) writeDriveList(home, { drives: [], leaving: [] })
      return isCleared
    },
    async restart() {
      asked.push('restart')
      throw new FsError('ECANCELED', 'test.restart')
    },
    driveOwner: {
      ...{ home, node: 'a'.repeat(32) as NodeId, cluster: null, keys: {} },
      disks: { run: async () => ({ code: 0, stdout: '{"blockdevices":[]}', stderr: '' }) },
    },
  }
  // Each pause of the drain is a minute.
  clock.after = (_ms, call) => {
    clock.ms += 60_000
    setImmediate(call)
    return () => {}
  }
  return {
    ...{ home, left, asked, drive, clock, node },
    host: hostDrives(node as unknown as Node),
    close: () => rmSync(home, { recursive: true }),
  }
}

test('nodes that have not been heard of, or not for long, are named, and what one said before is kept while it is silent', async () => {
  const w = world()
  const [two, three] = ['2'.repeat(32) as NodeId, '3'.repeat(32) as NodeId]
  const of = (node: NodeId) => {
    const more = { drive: ID, class: 3, freeBytes: 40, totalBytes: 100 }
    return { node, nodeName: node.slice(0, 1), domain: { rack: null }, ...more }
  }
  let answer: unknown = { found: [of(two), of(three)], silent: [] }
  const members = [two, three].map((node) => ({ node, name: `node${node.slice(0, 1)}` }))
  Object.assign(w.node, {
    cluster: { membership: { members: () => members } },
    identity: { id: '1'.repeat(32) },
    replicated: () => ({
      candidates: async () => {
        if (answer instanceof Error) throw answer
        return answer
      },
    }),
  })
  const look = async () => {
    await w.host.facts(step.signal)
    await new Promise((resolve) => setImmediate(resolve))
    const { others, silent } = await w.host.facts(step.signal)
    return [others.map(({ node }) => node.slice(0, 1)).sort(), silent]
  }
  try {
    assert.equal((await w.host.facts(step.signal)).silent, ['node2', 'node3'], 'not asked yet')
    assert.equal(await look(), [['2', '3'], []])
    w.clock.ms += 60_000
    answer = { found: [of(two)], silent: ['node3: no answer'] }
    assert.equal(await look(), [['2', '3'], ['node3']])
    // Nobody can be asked: what was heard gets old.
    answer = new FsError('EAGAIN', 'test')
    w.clock.ms += 60_000
    assert.equal((await look())[1], ['node3'])
    w.clock.ms += 60_000
    assert.equal((await look())[1], ['node2', 'node3'])
    // One that has no drives any more says so.
    answer = { found: [of(two)], silent: [] }
    w.clock.ms += 60_000
    assert.equal(await look(), [['2'], []])
  } finally {
    w.close()
  }
})

test('a disk that the host does not show is needed, unless it was let go of or a person calls it lost', async () => {
  const w = world()
  try {
    const { code, message, subject } = await thrownBy(w.host.verify(GIVEN, step))
    assert.is(code, 'EBUSY')
    assert.match(message, /does not show it/)
    assert.match(String(subject.next), new RegExp(`weft synergy release ${TAG} --lost`))
    await w.host.verify({ ...GIVEN, mayBeHidden: true }, step)
    await w.host.verify({ ...GIVEN, isLost: true }, step)
    const blank = await thrownBy(w.host.verify({ ...GIVEN, serial: '', drive: null }, step))
    assert.is(blank.code, 'EBUSY', 'nothing is not the identity of every disk')
  } finally {
    w.close()
  }
})

test('a listed drive that is not here is needed, whatever is said of it, and draining it ends at once with what to do', async () => {
  const w = world({ listed: true, missing: true })
  try {
    for (const work of [
      w.host.verify({ ...GIVEN, isLost: true, mayBeHidden: true }, step),
      w.host.takeOut(ID, step),
      w.host.drain(ID, step),
    ]) {
      const { code, message } = await thrownBy(work)
      assert.is(code, 'EBUSY')
      assert.match(message, /weft drive remove 0123\S+ --lost.*weft synergy release ID --lost/)
    }
    const { drives } = await w.host.facts(step.signal)
    assert.equal(
      drives.map(({ state, tag }) => [state, tag]),
      [['gone', TAG]],
    )
  } finally {
    w.close()
  }
})

test('a drive that goes away while it is drained ends the drain, and is told as gone, not as draining', async () => {
  const w = world({ listed: true, drive: { state: 'ok', draining: true } })
  try {
    const ending = thrownBy(w.host.drain(ID, step))
    await new Promise((resolve) => setImmediate(resolve))
    if (w.drive) w.drive.state = 'gone'
    assert.match((await ending).message, /is not here and cannot be emptied: .*its disk went away/)
    const { drives } = await w.host.facts(step.signal)
    assert.is(drives[0]?.state, 'gone')
  } finally {
    w.close()
  }
})

test('a drain off which nothing moves for ten minutes is given up for now, though nothing says why', async () => {
  const w = world({ listed: true, drive: { state: 'ok', draining: true } })
  try {
    const { code, message } = await thrownBy(w.host.drain(ID, step))
    assert.is(code, 'EBUSY')
    assert.match(message, /nothing has moved off it for 10 minutes/)
  } finally {
    w.close()
  }
})

test('an empty drive that can be cleared in this life of the daemon is taken out without a restart', async () => {
  const w = world({ listed: true, drive: { state: 'ok', draining: true }, isCleared: true })
  try {
    await w.host.takeOut(ID, step)
    assert.equal(readDriveList(w.home)?.drives, [])
    assert.equal(w.asked, ['mustBeEmpty', 'clear'])
  } finally {
    w.close()
  }
})

test('a drive is looked at once more before it is taken off the list', async () => {
  const w = world({ listed: true, drive: { state: 'ok', draining: true } })
  try {
    w.left.words = 'drive still has 1 journals'
    assert.is((await thrownBy(w.host.takeOut(ID, step))).message.includes('1 journals'), true)
    assert.is(readDriveList(w.home)?.drives.length, 1)
    assert.equal(w.asked, ['mustBeEmpty'])
    w.left.words = ''
    await thrownBy(w.host.takeOut(ID, step))
    assert.equal(readDriveList(w.home)?.drives, [])
    assert.is(w.asked.at(-1), 'restart')
  } finally {
    w.close()
  }
})

test.run()
