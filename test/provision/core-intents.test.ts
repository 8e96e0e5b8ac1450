import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CorruptError, FsError, type NodeId } from '../../src/base/index.ts'
import { SimulatedDisk } from '../../src/disk/index.ts'
import { isTagOf, makeTag, parseTag } from '../../src/provision/index.ts'
import { type Allocation, Intents } from '../../src/provision/intents.ts'
import { seeded } from '../support/seeded.ts'

const PATH = '/intents.json'
const owner = { cluster: 'c1'.repeat(16), node: 'ab'.repeat(16) as NodeId }
const tag = makeTag(owner, seeded(1))

const allocation: Allocation = {
  ...{ tag, place: '/bays/1', name: 'bay 1', class: 3, serial: 'S1', wwid: '5000', sizeBytes: 100 },
  ...{ towards: 'in', step: 'reserve', driveId: null, sinceMs: 1, doubtUntilMs: null },
  ...{ why: 'asked for by hand', lastError: '' },
}

test('a tag names cluster, node and itself, and is known as this node’s', () => {
  assert.match(tag, /^weft-c1c1c1c1c1c1-abababababab-[0-9a-f]{12}$/)
  assert.equal(parseTag(tag)?.node, 'abababababab')
  assert.ok(isTagOf(owner, tag))
  assert.not.ok(isTagOf({ ...owner, node: 'cd'.repeat(16) as NodeId }, tag))
  assert.not.ok(isTagOf({ ...owner, cluster: 'c2'.repeat(16) }, tag))
  for (const other of ['', 'db-server-1', `${tag}0`, ` ${tag}`, tag.toUpperCase()]) {
    assert.is(parseTag(other), null, other)
  }
})

test('an intent is on stable storage when the call returns', () => {
  const disk = new SimulatedDisk()
  Intents.open(disk, PATH).add(allocation)
  disk.powerCut(seeded(1))
  const again = Intents.open(disk, PATH)
  assert.equal(again.all(), [allocation])
  again.change(tag, { step: 'attach', lastError: 'x'.repeat(5000) })
  disk.powerCut(seeded(2))
  assert.is(Intents.open(disk, PATH).get(tag)?.step, 'attach')
  assert.is(Intents.open(disk, PATH).get(tag)?.lastError.length, 1000)
  again.forget(tag)
  disk.powerCut(seeded(3))
  assert.equal(Intents.open(disk, PATH).all(), [])
})

test('a change that can not be written has not happened', () => {
  const disk = new SimulatedDisk()
  const intents = Intents.open(disk, PATH)
  intents.add(allocation)
  disk.fail('write', 'ENOSPC')
  assert.throws(
    () => intents.change(tag, { step: 'attach' }),
    (error: FsError) => error.code === 'ENOSPC',
  )
  assert.is(intents.get(tag)?.step, 'reserve')
  assert.is(Intents.open(disk, PATH).get(tag)?.step, 'reserve')
})

test('a file of version 1 is read for ever', () => {
  const disk = new SimulatedDisk()
  const bytes = readFileSync(
    resolve(import.meta.dirname, '../../../test/fixtures/provision/intents-v1.json'),
  )
  disk.replaceFile(PATH, bytes)
  const [settled, leaving] = Intents.open(disk, PATH).all()
  assert.is(settled?.driveId, '0123456789abcdef0123456789abcdef')
  assert.equal(
    [leaving?.towards, leaving?.step, leaving?.doubtUntilMs],
    ['out', 'release', 1795000000000],
  )
})

test('a damaged file is refused, with what to do', () => {
  const damaged = (text: string) => {
    const disk = new SimulatedDisk()
    disk.replaceFile(PATH, Buffer.from(text))
    try {
      Intents.open(disk, PATH)
    } catch (error) {
      return error as Error
    }
    throw new Error('it was taken')
  }
  const file = (...allocations: object[]) => JSON.stringify({ version: 1, allocations })
  const wrong = [
    '',
    '{',
    '[]',
    file({ ...allocation, towards: 'up' }),
    file({ ...allocation, more: 1 }),
    file({ ...allocation, tag: 'mine' }),
    file(allocation, allocation),
  ]
  for (const text of wrong) {
    const error = damaged(text)
    assert.instance(error, CorruptError, text)
    assert.match(error.message, /intents\.json.*move it away.*reconcile/)
  }
  const newer = damaged(JSON.stringify({ version: 2 }))
  assert.instance(newer, FsError)
  assert.match(newer.message, /newer weft/)
})

test.run()
