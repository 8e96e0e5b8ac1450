import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type NodeWorld, startNode } from '../support/node-world.ts'

interface Keys {
  volume: { newestEpoch: number; oldestEpoch: number }
}
interface Rotated {
  newestEpoch: number
  job: { id: string; state: string; result: { chunks: number } | null } | null
}

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name)
    return entry.isDirectory() ? filesBelow(path) : [path]
  })
}

/** Key epochs on the drive, read from the clear headers alone (docs/format.md): chunks at 48, records at 32. */
function epochsOnDrive(world: NodeWorld): Set<number> {
  const drive = join(world.home, 'drives', 'default')
  const epochs = new Set<number>()
  for (const path of filesBelow(join(drive, 'chunks'))) {
    const bytes = readFileSync(path)
    if (bytes.toString('latin1', 0, 8) === 'WEFTCHNK') epochs.add(bytes.readUInt32LE(48))
  }
  let records = 0
  for (const path of filesBelow(join(drive, 'volumes'))) {
    if (!path.endsWith('.journal')) continue
    const bytes = readFileSync(path)
    for (let at = 512; at + 104 <= bytes.length; ) {
      if (bytes.toString('latin1', at, at + 4) !== 'WFJR') break
      epochs.add(bytes.readUInt32LE(at + 32))
      records++
      at += bytes.readUInt32LE(at + 8) + bytes.readUInt32LE(at + 12)
    }
  }
  assert.ok(records > 0, 'the walk over the journal found records')
  return epochs
}

function digest(directory: string): string {
  const hash = createHash('sha256')
  for (const path of filesBelow(directory).sort()) hash.update(readFileSync(path))
  return hash.digest('hex')
}

function fill(directory: string, files: number): void {
  mkdirSync(directory, { recursive: true })
  for (let i = 0; i < files; i++) {
    writeFileSync(join(directory, `f${i}`), randomBytes(20_000 + i * 37_000))
  }
}

test('rotate --reseal leaves nothing that the old key opens, and every file as it was', async () => {
  const world = await startNode()
  try {
    const dir = await world.volume('vol', '--size', '1G')
    fill(join(dir, 'a'), 40)
    await world.weft('key', 'rotate', 'vol')
    fill(join(dir, 'b'), 10)
    const before = digest(dir)
    assert.equal((await world.json<Keys>('key', 'list', 'vol')).volume.oldestEpoch, 1)
    // Somebody writes and reads all the while.
    let writing = true
    const writer = (async () => {
      for (let i = 0; writing; i++) {
        mkdirSync(join(dir, 'w'), { recursive: true })
        writeFileSync(join(dir, 'w', `${i % 20}`), randomBytes(30_000))
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    })()
    const rotated = await world.json<Rotated>('key', 'rotate', 'vol', '--reseal')
    writing = false
    await writer
    assert.is(rotated.newestEpoch, 3)
    assert.is(rotated.job?.state, 'done')
    assert.ok((rotated.job?.result?.chunks ?? 0) > 0)
    const { volume } = await world.json<Keys>('key', 'list', 'vol')
    assert.equal([volume.oldestEpoch, volume.newestEpoch], [3, 3])
    assert.equal(epochsOnDrive(world), new Set([3]))
    for (const name of readdirSync(join(dir, 'w'))) {
      assert.is(statSync(join(dir, 'w', name)).size, 30_000)
    }
    await world.weft('fsck')
    await world.kill9()
    await world.restart()
    assert.equal(digest(join(world.mnt, 'vol', 'a')).length, 64)
    await world.weft('fsck')
    const after = createHash('sha256')
    for (const part of ['a', 'b']) {
      for (const path of filesBelow(join(world.mnt, 'vol', part)).sort()) {
        after.update(readFileSync(path))
      }
    }
    assert.is(after.digest('hex'), before)
    assert.equal(world.complaints(), [])
  } finally {
    await world.close()
  }
})

test('a reseal that a kill cut short goes on when the command is given again', async () => {
  const world = await startNode()
  try {
    const dir = await world.volume('vol', '--size', '1G')
    fill(dir, 60)
    const before = digest(dir)
    const rotated = await world.json<Rotated>('key', 'rotate', 'vol', '--reseal', '--background')
    assert.is(rotated.newestEpoch, 2)
    await world.kill9()
    const { volume } = await world.json<Keys>('key', 'list', 'vol')
    if (volume.oldestEpoch === 1) {
      const again = await world.json<Rotated>('key', 'rotate', 'vol', '--reseal')
      assert.is(again.newestEpoch, 2, 'it goes on, with no further key')
      assert.is(again.job?.state, 'done')
    }
    assert.equal((await world.json<Keys>('key', 'list', 'vol')).volume.oldestEpoch, 2)
    assert.equal(epochsOnDrive(world), new Set([2]))
    assert.is(digest(dir), before)
    await world.weft('fsck')
  } finally {
    await world.close()
  }
})

test.run()
