import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ROOT_INO } from '../../src/base/index.ts'
import { S_IFREG } from '../../src/meta/index.ts'
import { create, lookup } from '../../src/vfs/index.ts'
import { SimulatedMachine } from '../store/simulated-machine.ts'

test('caches are trimmed between requests, never while a change is being made', async () => {
  const machine = await SimulatedMachine.make(1)
  try {
    const { fs, engine } = machine.life
    const caller = { uid: 0, gid: 0, pid: 1 }
    const creation = { mode: S_IFREG | 0o644, umask: 0 }
    // More than the thread keeps inodes of: at one of them the cache is full in the middle of a create.
    for (let i = 1; i <= 20_500; i++) {
      fs.enter()
      const request = { uniqueLo: i, uniqueHi: 0 }
      const made = create(fs, request, caller, ROOT_INO, Buffer.from(`${i}`), creation)
      assert.is(lookup(fs, ROOT_INO, Buffer.from(`${i}`))?.ino, made.ino)
      // There is no other thread to apply them.
      if (i % 1000 === 0) engine.follow()
    }
    assert.is(fs.directory(ROOT_INO).size, 20_500)
  } finally {
    await machine.close()
  }
})

test.run()
