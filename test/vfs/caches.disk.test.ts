import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Ino, ROOT_INO } from '../../src/base/index.ts'
import { encodeDirents, keys, S_IFREG } from '../../src/meta/index.ts'
import { create, lookup, type VolumeFs } from '../../src/vfs/index.ts'
import { SimulatedMachine } from '../store/simulated-machine.ts'

const caller = { uid: 0, gid: 0, pid: 1 }

/** @param unique of the request, never given twice in a test */
function make(fs: VolumeFs, unique: number, name: string): Ino {
  const request = { uniqueLo: unique, uniqueHi: 0 }
  const creation = { mode: S_IFREG | 0o644, umask: 0 }
  return create(fs, request, caller, ROOT_INO, Buffer.from(name), creation).ino
}

test('caches are trimmed between requests, never while a change is being made', async () => {
  const machine = await SimulatedMachine.make(1)
  try {
    const { fs, engine } = machine.life
    // More than the thread keeps inodes of: at one of them the cache is full in the middle of a create.
    for (let i = 1; i <= 20_500; i++) {
      fs.enter()
      const made = make(fs, i, `${i}`)
      assert.is(lookup(fs, ROOT_INO, Buffer.from(`${i}`))?.ino, made)
      // There is no other thread to apply them.
      if (i % 1000 === 0) engine.follow()
    }
    assert.is(fs.directory(ROOT_INO).size, 20_500)
  } finally {
    await machine.close()
  }
})

test('what the engine changes is looked at anew, and what it does not is kept', async () => {
  const machine = await SimulatedMachine.make(2)
  try {
    const { fs, engine } = machine.life
    const changed = make(fs, 1, 'changed')
    const kept = make(fs, 2, 'kept')
    engine.follow()
    fs.enter()
    const before = fs.inode(kept)
    assert.is(fs.inode(changed).uid, 0)
    engine.commit((draft) => {
      const inode = draft.inode(changed)
      assert.ok(inode)
      draft.putInode(changed, { ...inode, uid: 7 })
      return {}
    })
    fs.enter()
    assert.is(fs.inode(changed).uid, 7)
    assert.is(fs.inode(kept), before)

    // Names are changed by repairs alone: then nothing is believed.
    assert.is(lookup(fs, ROOT_INO, Buffer.from('second')), null)
    const key = keys.direntKey(ROOT_INO, fs.hash(Buffer.from('second')))
    engine.commit((draft) => {
      draft.put(key, encodeDirents([{ ino: kept, type: 8, name: Buffer.from('second') }]))
      return {}
    })
    fs.enter()
    assert.is(lookup(fs, ROOT_INO, Buffer.from('second'))?.ino, kept)

    // The same where the directory's own change stands right before that of the name.
    engine.commit((draft) => {
      const root = draft.inode(ROOT_INO)
      assert.ok(root)
      draft.putInode(ROOT_INO, root)
      draft.delete(key)
      return {}
    })
    fs.enter()
    assert.is(lookup(fs, ROOT_INO, Buffer.from('second')), null)
  } finally {
    await machine.close()
  }
})

test('more changes than can be told one by one are all seen', async () => {
  const machine = await SimulatedMachine.make(3)
  try {
    const { fs, engine } = machine.life
    const inos = Array.from({ length: 1500 }, (_, i) => make(fs, i + 1, `${i}`))
    engine.follow()
    fs.enter()
    for (const ino of inos) assert.is(fs.inode(ino).uid, 0)
    engine.commit((draft) => {
      for (const ino of inos) {
        const inode = draft.inode(ino)
        assert.ok(inode)
        draft.putInode(ino, { ...inode, uid: 7 })
      }
      return {}
    })
    fs.enter()
    for (const ino of inos) assert.is(fs.inode(ino).uid, 7)
  } finally {
    await machine.close()
  }
})

test.run()
