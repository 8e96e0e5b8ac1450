import { mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { startNode } from '../support/node-world.ts'

test('a listing of the root that the kernel keeps ends when a volume is made or deleted by command', async () => {
  const world = await startNode()
  try {
    const listing = async () => {
      // As ls does it: the kernel compares the time of what it keeps with the one it is told here.
      await stat(world.mnt)
      return (await readdir(world.mnt)).sort()
    }
    await mkdir(join(world.mnt, 'one'))
    assert.equal(await listing(), ['one'])
    assert.equal(await listing(), ['one'])
    await world.weft('volume', 'create', 'two')
    assert.equal(await listing(), ['one', 'two'])
    await world.weft('volume', 'delete', 'one')
    assert.equal(await listing(), ['two'])
  } finally {
    await world.close()
  }
})

test('a volume with changes that are not synced is deleted by force, and leaves no name', async () => {
  const world = await startNode()
  try {
    for (let round = 0; round < 3; round++) {
      await mkdir(join(world.mnt, 'notes'))
      await writeFile(join(world.mnt, 'notes/file'), 'x')
      await world.weft('volume', 'delete', 'notes', '--force')
    }
    assert.equal(await readdir(world.mnt), [])
    await world.weft('fsck')
  } finally {
    await world.close()
  }
})

test.run()
