import { closeSync, openSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Why } from '../../src/api/index.ts'
import { codeOf } from '../../src/base/index.ts'
import { type NodeWorld, startNode } from '../support/node-world.ts'

type Answer = Why & { path: string; now: string }

async function withNode(work: (world: NodeWorld) => Promise<void>): Promise<void> {
  const world = await startNode()
  try {
    await work(world)
  } finally {
    await world.close()
  }
}

function codeOfThrown(call: () => unknown): string {
  try {
    call()
    return ''
  } catch (error) {
    return codeOf(error)
  }
}

test('a full volume: the file that was refused first, with what to do; a file that nothing befell has no reason of its own', () =>
  withNode(async (world) => {
    const dir = await world.volume('small', '--size', '1M')
    const path = join(dir, 'large')
    const fd = openSync(path, 'w')
    const write = () => writeSync(fd, Buffer.alloc(2 * 1024 * 1024))
    let code = ''
    for (let n = 0; n < 4 && code === ''; n++) code = codeOfThrown(write)
    closeSync(fd)
    assert.is(code, 'ENOSPC')
    const why = await world.json<Answer>('why', path)
    assert.is(why.volume, 'small')
    assert.is(why.now, 'ok')
    const [first] = why.reasons
    assert.is(first?.errno, 'ENOSPC')
    assert.is(first?.isOfFile, true)
    assert.match(first?.next ?? '', /weft volume resize small SIZE/)
    const text = await world.weft('why', path)
    assert.match(text, /in volume small; stat answers ok\n/)
    assert.match(text, /write answered ENOSPC, of this file \(/)

    writeFileSync(join(dir, 'other'), '')
    const other = await world.json<Answer>('why', join(dir, 'other'))
    assert.ok(other.reasons.length > 0, 'what befell the volume is shown')
    assert.not.ok(other.reasons.some(({ isOfFile }) => isOfFile))
  }))

test('a locked volume says so, and what opens it; nothing wrong is said in words', () =>
  withNode(async (world) => {
    const dir = await world.volume('v')
    writeFileSync(join(dir, 'f'), 'x')
    assert.match(await world.weft('why', join(dir, 'f')), /nothing is wrong with it/)
    await world.weft('key', 'lock', 'v')
    const why = await world.json<Answer>('why', join(dir, 'f'))
    assert.is(why.now, 'ENOKEY')
    assert.equal(
      why.problems.map(({ next }) => next),
      ['weft key unlock v'],
    )
    assert.is(why.reasons[0]?.errno, 'ENOKEY')
    assert.is(why.reasons[0]?.next, 'weft key unlock v')
  }))

test('the root of the namespace: a volume is not renamed, and that is explained', () =>
  withNode(async (world) => {
    await world.volume('v')
    const from = join(world.mnt, 'v')
    assert.is(
      codeOfThrown(() => renameSync(from, join(world.mnt, 'w'))),
      'EPERM',
    )
    const why = await world.json<Answer>('why', world.mnt)
    assert.is(why.volume, null)
    assert.equal(
      why.reasons.map(({ op, errno }) => [op, errno]),
      [['rename', 'EPERM']],
    )
  }))

test('a path that is on no mount, and a volume that is not there, are refused in words', () =>
  withNode(async (world) => {
    const outside = await world.tryWeft('why', '/etc/passwd')
    assert.is(outside.code, 2)
    assert.match(outside.stderr, /\/etc\/passwd is on no mount of this node/)
    assert.match(outside.stderr, /below .*mnt/)
    const gone = await world.tryWeft('why', join(world.mnt, 'nowhere', 'f'))
    assert.is(gone.code, 4)
    assert.match(gone.stderr, /there is no volume "nowhere"/)
  }))

test.run()
