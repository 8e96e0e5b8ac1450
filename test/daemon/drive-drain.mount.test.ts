// deadline: 180 s
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { DriveInfo } from '../../src/api/index.ts'
import { type NodeWorld, sleep, startNode, until } from '../support/node-world.ts'
import { seeded } from '../support/seeded.ts'

const FILES = 40
const FILE_BYTES = 1024 * 1024

const contentOf = (n: number) => seeded(n + 1).bytes(FILE_BYTES)

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name)
}

async function fill(world: NodeWorld): Promise<string> {
  const volume = await world.volume('v', '--size', '1G')
  for (let n = 0; n < FILES; n++) {
    writeFileSync(join(volume, `${n}`), contentOf(n), { flush: true })
  }
  return volume
}

/** Past the kernel's cache, and in one request of the largest size: that takes another way through the daemon. */
function mustBeThere(volume: string): void {
  for (let n = 0; n < FILES; n++) {
    const args = [`if=${join(volume, `${n}`)}`, 'bs=1M', 'iflag=direct', 'status=none']
    const bytes = execFileSync('dd', args, { maxBuffer: 2 * FILE_BYTES })
    assert.ok(bytes.equals(contentOf(n)), `file ${n}`)
  }
}

test('a drive is emptied while its files are read and written, and taken out', async () => {
  const world = await startNode({ drives: 2 })
  try {
    const volume = await fill(world)
    const early = await world.tryWeft('drive', 'remove', 'default')
    assert.match(early.stderr, /is in use[\s\S]*weft drive drain/)
    const plan = await world.weft('drive', 'drain', 'default', '--plan')
    assert.match(plan, /chunk.*journal/)
    let goesOn = true
    const user = (async () => {
      for (let n = 0; goesOn; n++) {
        const name = join(volume, `beside${n % 20}`)
        writeFileSync(name, contentOf(n % 7).subarray(0, 5000 + n), { flush: true })
        assert.ok(readFileSync(join(volume, `${n % FILES}`)).equals(contentOf(n % FILES)))
        await sleep(5)
      }
    })()
    await world.weft('drive', 'drain', 'default')
    goesOn = false
    await user
    mustBeThere(volume)
    assert.match(await world.weft('drive', 'status', 'default'), /empty/)
    await world.weft('drive', 'remove', 'default')
    assert.equal(filesBelow(join(world.home, 'drives/default')), [])
    const { drives } = await world.json<{ drives: DriveInfo[] }>('drive', 'list')
    assert.equal(
      drives.map(({ name }) => name),
      ['drive1'],
    )
    mustBeThere(volume)
    const { drives: holding } = await world.json<{ drives: string[] }>('volume', 'inspect', 'v')
    assert.equal(
      holding,
      drives.map(({ id }) => id),
    )
    await world.weft('fsck')
  } finally {
    await world.close()
  }
})

test('emptying goes on after every kill -9, and what was acknowledged meanwhile is there', async () => {
  const world = await startNode({ drives: 2 })
  try {
    const volume = await fill(world)
    await world.weft('drive', 'drain', 'default', '--no-wait')
    for (let kill = 0; kill < 4; kill++) {
      await sleep(150 + 120 * kill)
      await world.kill9()
      writeFileSync(join(volume, `kill${kill}`), contentOf(kill), { flush: true })
    }
    await until('it is empty', async () =>
      /empty/.test(await world.weft('drive', 'status', 'default')),
    )
    await world.weft('drive', 'remove', 'default')
    mustBeThere(volume)
    for (let kill = 0; kill < 4; kill++) {
      assert.ok(readFileSync(join(volume, `kill${kill}`)).equals(contentOf(kill)))
    }
    await world.restart()
    mustBeThere(volume)
    await world.weft('fsck')
  } finally {
    await world.close()
  }
})

test('the only drive is neither emptied nor taken out, and a drive that is not emptied any more takes data again', async () => {
  const world = await startNode({ mount: false })
  try {
    const alone = await world.tryWeft('drive', 'drain', 'default')
    assert.match(alone.stderr, /only one of this node that takes data[\s\S]*weft drive add/)
    assert.match((await world.tryWeft('drive', 'status', 'nosuch')).stderr, /no drive nosuch/)
    await world.weft('drive', 'add', world.mkdir('das1'))
    await world.weft('drive', 'drain', 'das1')
    assert.match(await world.weft('drive', 'list'), /das1 +medium +empty/)
    await world.weft('drive', 'drain', 'das1', '--stop')
    await until('it takes data', async () =>
      /das1 +medium +ok/.test(await world.weft('drive', 'list')),
    )
  } finally {
    await world.close()
  }
})

test.run()
