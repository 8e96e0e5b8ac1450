// deadline: 120 s
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { DriveInfo, VolumeDetail } from '../../src/api/index.ts'
import { type NodeWorld, sleep, startNode, until } from '../support/node-world.ts'
import { seeded } from '../support/seeded.ts'

const FILES = 12
const contentOf = (n: number) => seeded(n + 1).bytes(1_500_000)

async function classesOf(world: NodeWorld): Promise<number[]> {
  const { drives } = await world.json<VolumeDetail>('volume', 'inspect', 'v')
  const list = await world.json<{ drives: DriveInfo[] }>('drive', 'list')
  return drives.map((id) => list.drives.find((drive) => drive.id === id)?.class ?? 0).sort()
}

function journalIn(directory: string): boolean {
  return readdirSync(join(directory, 'volumes'), { withFileTypes: true }).length > 0
}

test('a volume moves to another class, journal and all, while it is read and written', async () => {
  const world = await startNode()
  try {
    const fast = world.mkdir('fast')
    const slow = world.mkdir('slow')
    await world.weft('drive', 'add', fast, '--class', '3')
    await world.weft('drive', 'add', slow, '--class', '1')
    await world.weft('upgrade')
    const volume = await world.volume('v', '--cos', '1', '--size', '500M')
    for (let n = 0; n < FILES; n++) {
      writeFileSync(join(volume, `${n}`), contentOf(n), { flush: true })
    }
    assert.equal(await classesOf(world), [1])
    assert.ok(journalIn(slow))
    let goesOn = true
    const user = (async () => {
      for (let n = 0; goesOn; n++) {
        writeFileSync(join(volume, `beside${n % 9}`), contentOf(n % 5), { flush: true })
        assert.ok(readFileSync(join(volume, `${n % FILES}`)).equals(contentOf(n % FILES)))
        await sleep(10)
      }
    })()
    await world.weft('volume', 'cos', 'v', '3')
    await until('its journal has moved', () => journalIn(fast))
    goesOn = false
    await user
    await until('all of it has', async () => String(await classesOf(world)) === '3')
    for (let n = 0; n < FILES; n++) {
      assert.ok(readFileSync(join(volume, `${n}`)).equals(contentOf(n)))
    }
    const { spec } = await world.json<VolumeDetail>('volume', 'inspect', 'v')
    assert.match(spec, /cos=3/)
    await world.weft('fsck')
  } finally {
    await world.close()
  }
})

test('a class that no drive has is refused with what there is, or taken from below for as long', async () => {
  const world = await startNode()
  try {
    const refused = await world.tryWeft('volume', 'create', 'v', '--cos', '3')
    assert.match(refused.stderr, /no drive of class 3 has room; .*class 3: none.*class 2: 1 with/)
    assert.match(refused.stderr, /--cos-fallback/)
    const volume = await world.volume('v', '--cos', '3', '--cos-fallback', '--size', '200M')
    writeFileSync(join(volume, 'f'), contentOf(1), { flush: true })
    assert.equal(await classesOf(world), [2])
    const short = await world.tryWeft('volume', 'cos', 'v', '1')
    assert.match(short.stderr, /free on drives of class 1/)
    const fast = world.mkdir('fast')
    await world.weft('drive', 'add', fast, '--class', '3')
    await until('it moves up by itself', async () => String(await classesOf(world)) === '3')
    assert.ok(readFileSync(join(volume, 'f')).equals(contentOf(1)))
  } finally {
    await world.close()
  }
})

test.run()
