import { mkdirSync, renameSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type ChunkId, codeOf } from '../../src/base/index.ts'
import { NearCopy } from '../../src/fuse/near-copy.ts'
import type { FileMap } from '../../src/vfs/index.ts'
import { VolumeWorld } from '../store/volume-world.ts'

test('a near copy is opened beside a drive that cannot be; where none can, its reads say so', async () => {
  const world = await VolumeWorld.open(2)
  try {
    const [sound, dead] = world.here
    assert.ok(sound && dead)
    renameSync(dead.dir, `${dead.dir}.broken`)
    mkdirSync(dead.dir)
    const near = () =>
      new NearCopy({ id: world.id, drives: world.told.buffer, keys: world.opened.keys.export() })
    near().close()
    world.told.tell([dead])
    const none = near()
    const plainBytes = 4096
    const chunk = 'ab'.repeat(16) as ChunkId
    const extent = { kind: 'chunk', length: plainBytes, chunk, at: 0 } as const
    const map: FileMap = {
      size: plainBytes,
      from: 0,
      to: plainBytes,
      extents: [{ offset: 0, extent }],
    }
    let code = ''
    try {
      none.read(map, 0, plainBytes, Buffer.alloc(plainBytes), 0)
    } catch (error) {
      code = codeOf(error)
    }
    assert.is(code, 'EIO')
    none.close()
  } finally {
    await world.close()
  }
})

test.run()
