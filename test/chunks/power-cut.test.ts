import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type ChunkId, codeOf, type NodeId } from '../../src/base/index.ts'
import { ChunkStore } from '../../src/chunks/index.ts'
import { newSecret } from '../../src/crypto/index.ts'
import { chunkFilesOn, SimulatedDisk } from '../../src/disk/index.ts'
import { initDrive, openDrive } from '../../src/drives/index.ts'
import { seeded } from '../support/seeded.ts'
import { volume } from './world.ts'

const nodeId = 'a1'.repeat(16) as NodeId
const dir = '/das0'

/** One node's chunks on a simulated disk, through several cuts of power. */
function makeNode(seed: number) {
  const random = seeded(seed)
  const bytes = (count: number) => random.bytes(count)
  const disk = new SimulatedDisk()
  const key = newSecret(32)
  const seal = { volume, keyEpoch: 1, epoch: 1, key } as Parameters<ChunkStore['putSync']>[1]
  const reader = { volume, keyOf: () => key }
  const start = () =>
    new ChunkStore([openDrive(dir, {}, { files: disk })], { files: chunkFilesOn(disk) })
  return { random, bytes, disk, seal, reader, start }
}

test('a chunk whose put returned is whole after the power is cut, by many seeds', () => {
  let wholeAfterCut = 0
  let torn = 0
  for (let seed = 1; seed <= 150; seed++) {
    const node = makeNode(seed)
    const { random, bytes, disk } = node
    const drive = initDrive(dir, { class: 2, nodeId }, disk, { files: disk })
    const promised = new Map<ChunkId, Buffer>()
    for (let life = 0; life < 3; life++) {
      const store = node.start()
      for (let count = random.below(4); count > 0; count--) {
        const plain = bytes(1 + random.below(50_000))
        const id = bytes(16).toString('hex') as ChunkId
        store.putSync(id, node.seal, plain, plain.length, bytes(random.below(100)))
        promised.set(id, plain)
      }
      // One put dies in the middle: at its fdatasync or at the fsync of its directory.
      const op = random.below(2) === 0 ? 'fdatasync' : 'fsyncDirectory'
      disk.fail(op, 'EIO', { times: 2 })
      const plain = bytes(20_000)
      const lost = bytes(16).toString('hex') as ChunkId
      try {
        store.putSync(lost, node.seal, plain, plain.length, Buffer.alloc(0))
        assert.unreachable('the put fails')
      } catch (error) {
        assert.is(codeOf(error), 'EIO')
      }
      disk.powerCut({ bytes })
      const after = node.start()
      for (const [id, expected] of promised) {
        const out = Buffer.alloc(expected.length)
        after.readSync(id, drive.id, node.reader, 0, out.length, out, 0)
        assert.ok(out.equals(expected), `seed ${seed}, life ${life}`)
        wholeAfterCut++
      }
      for (const id of after.list(drive.id)) if (!promised.has(id)) torn++
    }
  }
  assert.ok(wholeAfterCut > 1000, `${wholeAfterCut} chunks looked at`)
  assert.ok(torn < wholeAfterCut, `${torn} leftovers`)
})

test('a cut in the middle of moving aside leaves the chunk in one place, whole', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const { bytes, disk, seal, start } = makeNode(seed)
    const drive = initDrive(dir, { class: 2, nodeId }, disk, { files: disk })
    const store = start()
    const id = bytes(16).toString('hex') as ChunkId
    store.putSync(id, seal, bytes(5000), 5000, Buffer.alloc(0))
    const path = `${dir}/chunks/${id.slice(0, 2)}/${id}`
    const before = disk.readFile(path)
    const moved = store.quarantine(id, drive.id)
    const done = seed % 2 === 0
    if (!done) disk.rename(moved ?? '', path)
    disk.powerCut({ bytes })
    const places = [path, `${dir}/quarantine/${id}`].filter((each) => disk.exists(each))
    assert.is(places.length, 1, `seed ${seed}`)
    if (done) assert.is(places[0], moved)
    assert.ok(disk.readFile(places[0]!).equals(before))
  }
})

test.run()
