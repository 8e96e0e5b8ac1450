import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type CopyId,
  type DriveId,
  type Epoch,
  limits,
  type VolumeId,
  type VolumeNumber,
} from '../../src/base/index.ts'
import type { StoredVolume } from '../../src/volumes/index.ts'
import { openVolumesWorld, otherNode, refusal, type VolumesWorld } from './world.ts'

async function inWorld(work: (world: VolumesWorld) => Promise<void>): Promise<void> {
  const world = await openVolumesWorld()
  try {
    await work(world)
  } finally {
    await world.close()
  }
}

test('a created volume is found by id, name, number and either word, and listed by name', () =>
  inWorld(async (world) => {
    const b = await world.create('size=1G,name=b')
    const a = await world.create('size=2G,name=a')
    assert.is(b.record.number, 1)
    assert.is(a.record.number, 2)
    assert.is(a.record.epoch, 0)
    assert.is(a.record.owner, null)
    assert.is(a.record.inSync.length, 1)
    const { registry } = world
    assert.equal(await registry.get(a.record.id), a)
    assert.equal(await registry.byName('a'), a)
    assert.equal(await registry.byNumber(2 as VolumeNumber), a)
    assert.equal(await registry.find('a'), a)
    assert.equal(await registry.find(a.record.id), a)
    assert.equal((await registry.list()).volumes, [a, b])
  }))

test('what is not there is ENOENT or null, with the next step in the message', () =>
  inWorld(async ({ registry }) => {
    const id = '0'.repeat(32) as VolumeId
    assert.is(await registry.byName('nothing'), null)
    assert.is(await registry.byNumber(5 as VolumeNumber), null)
    const byId = await refusal('ENOENT', registry.get(id))
    assert.is(byId.message, `no volume with id ${id}; weft volume list shows what there is`)
    const byName = await refusal('ENOENT', registry.find('nothing'))
    assert.is(byName.message, 'no volume with name "nothing"; weft volume list shows what there is')
    await refusal('ENOENT', registry.find('a/b'))
    await refusal('ENOENT', registry.takeEpoch(id, otherNode, { abovePromise: 0 }))
    await refusal('ENOENT', registry.markDeleting(id))
    await refusal('ENOENT', registry.remove(id))
  }))

test('a volume is being made until it is marked ready, with what is kept beside in the same step', () =>
  inWorld(async (world) => {
    const { registry, coordinator } = world
    const { spec } = (await world.create('name=a')).record
    const { record } = await registry.create({
      spec: { ...spec, name: 'b' },
      places: [{ node: world.node.id, drive: 'd'.repeat(32) as DriveId }],
      makeKeys: (id) => world.keys.createKeys(id),
    })
    assert.is(record.state, 'making')
    assert.is(await registry.byName('b'), null)
    await refusal('EEXIST', world.create('name=b'))
    const busy = await refusal('EBUSY', registry.resize(record.id, 2 ** 30, 0))
    assert.is(busy.message, 'volume b: is being made and cannot be resized')
    const ready = await registry.markReady(record.id, async (before) => {
      assert.is(before.record.state, 'making')
      return [{ key: 'beside', expected: 0, value: Buffer.from('kept') }]
    })
    assert.equal(await registry.byName('b'), ready)
    assert.is((await coordinator.get('beside'))?.value.toString(), 'kept')
    await refusal('EBUSY', registry.markReady(record.id))
    await registry.markDeleting(record.id, async () => [
      { key: 'beside', expected: ready.version, value: null },
    ])
    assert.is(await coordinator.get('beside'), null)
  }))

test('a name is given once, and a failure to make keys leaves nothing behind', () =>
  inWorld(async (world) => {
    await world.create('name=a')
    const taken = await refusal('EEXIST', world.create('name=a'))
    assert.is(taken.message, 'volume a exists already')
    const { spec } = (await world.registry.find('a')).record
    const failing = world.registry.create({
      spec: { ...spec, name: 'b' },
      places: [{ node: world.node.id, drive: 'd'.repeat(32) as DriveId }],
      makeKeys: async () => {
        throw new Error('no keys today')
      },
    })
    const thrown = await failing.catch((error: unknown) => error)
    assert.is(thrown instanceof Error && thrown.message, 'no keys today')
    assert.is((await world.registry.list()).volumes.length, 1)
    assert.is((await world.create('name=b')).record.number, 2)
  }))

test('two registries racing: names and numbers are unique, and no number is skipped or lost', () =>
  inWorld(async (world) => {
    const other = world.another()
    const made: StoredVolume[] = []
    const refused: unknown[] = []
    const race = Array.from({ length: 30 }, (_, i) =>
      world.create(`name=v${i >> 1}`, i % 2 === 0 ? world.registry : other).then(
        (volume) => made.push(volume),
        (error) => refused.push(error),
      ),
    )
    await Promise.all(race)
    assert.is(made.length, 15)
    for (const error of refused) assert.is((error as { code?: string }).code, 'EEXIST')
    const numbers = made.map(({ record }) => record.number).sort((x, y) => x - y)
    assert.equal(
      numbers,
      Array.from({ length: 15 }, (_, i) => i + 1),
    )
    assert.is(new Set(made.map(({ record }) => record.name)).size, 15)
    assert.is(new Set(made.map(({ record }) => record.id)).size, 15)
    assert.is((await other.list()).volumes.length, 15)
  }))

test('two registries racing for epochs: each life has its own, in the order they were taken', () =>
  inWorld(async (world) => {
    const { record } = await world.create('name=a')
    const other = world.another()
    const taken: StoredVolume[] = []
    const take = async (by: typeof other, node: typeof otherNode) => {
      let last = 0
      for (let i = 0; i < 15; i++) {
        const stored = await by.takeEpoch(record.id, node, { abovePromise: 0 })
        assert.ok(stored.record.epoch > last)
        assert.is(stored.record.owner, node)
        last = stored.record.epoch
        taken.push(stored)
      }
    }
    await Promise.all([take(world.registry, world.node.id), take(other, otherNode)])
    const epochs = taken.map((stored) => stored.record.epoch)
    assert.is(new Set(epochs).size, 30)
    taken.sort((x, y) => x.version - y.version)
    taken.forEach((stored, i) => {
      assert.is(stored.record.epoch, i + 1)
    })
    const above = await other.takeEpoch(record.id, otherNode, { abovePromise: 1000 })
    assert.is(above.record.epoch, 1001)
    assert.is((await other.takeEpoch(record.id, otherNode, { abovePromise: 5 })).record.epoch, 1002)
  }))

test('resize works both ways and refuses to go below what is used, saying by how much', () =>
  inWorld(async (world) => {
    const { record } = await world.create('size=100G,name=a')
    const { registry } = world
    const grown = await registry.resize(record.id, 200 * 2 ** 30, 5)
    assert.is(grown.record.spec.sizeBytes, 200 * 2 ** 30)
    const used = 12.5 * 2 ** 30
    const error = await refusal('ENOSPC', registry.resize(record.id, 10 * 2 ** 30, used))
    assert.is(
      error.message,
      'volume a: 10G is 2.5 GiB (2684354560 bytes) less than the 12.5 GiB (13421772800 bytes) it uses',
    )
    assert.equal(await registry.get(record.id), grown)
    assert.is((await registry.resize(record.id, used, used)).record.spec.sizeBytes, used)
  }))

test('resize and epochs racing lose neither change', () =>
  inWorld(async (world) => {
    const { record } = await world.create('size=100G,name=a')
    const other = world.another()
    const sizes = Array.from({ length: 10 }, (_, i) => (i + 1) * 2 ** 30)
    await Promise.all([
      (async () => {
        for (const size of sizes) await world.registry.resize(record.id, size, 0)
      })(),
      (async () => {
        for (let i = 0; i < 10; i++)
          await other.takeEpoch(record.id, otherNode, { abovePromise: 0 })
      })(),
    ])
    const now = (await other.get(record.id)).record
    assert.is(now.epoch, 10)
    assert.is(now.spec.sizeBytes, 10 * 2 ** 30)
  }))

test('only the owner at its epoch changes the in-sync set, and never below the minimum', () =>
  inWorld(async (world) => {
    const { record } = await world.create('name=a')
    const { registry } = world
    const { epoch } = (await registry.takeEpoch(record.id, world.node.id, { abovePromise: 0 }))
      .record
    const by = { node: world.node.id, epoch }
    const joined = {
      id: 'e'.repeat(32) as CopyId,
      node: otherNode,
      drive: 'f'.repeat(32) as DriveId,
    }
    const both = await registry.setInSync(record.id, by, [...record.copies, joined])
    assert.equal(both.record.copies, [...record.copies, joined])
    assert.is(both.record.inSync.length, 2)
    const [first] = record.copies
    assert.ok(first)
    const alone = await registry.setInSync(record.id, by, [first])
    assert.equal(alone.record.inSync, [first.id])
    assert.is(alone.record.copies.length, 2, 'a copy that lags is still a copy')
    const below = await refusal('EBUSY', registry.setInSync(record.id, by, []))
    assert.is(below.message, 'volume a: 0 copies in sync, its minimum is 1; the recorded set stays')
    await registry.takeEpoch(record.id, otherNode, { abovePromise: 0 })
    await refusal('ESTALE', registry.setInSync(record.id, by, [first]))
    await refusal(
      'ESTALE',
      registry.setInSync(record.id, { node: world.node.id, epoch: 2 as Epoch }, [first]),
    )
  }))

test('copies come and go by their owner alone, and one that is given up stands until it is deleted', () =>
  inWorld(async (world) => {
    const { registry } = world
    const { record } = await world.create('name=a')
    const { epoch } = (await registry.takeEpoch(record.id, world.node.id, { abovePromise: 0 }))
      .record
    const by = { node: world.node.id, epoch }
    const copy = { id: 'e'.repeat(32) as CopyId, node: otherNode, drive: 'f'.repeat(32) as DriveId }
    await refusal('ESTALE', registry.addCopy(record.id, { ...by, node: otherNode }, copy))
    const added = await registry.addCopy(record.id, by, copy)
    assert.equal(added.record.copies, [...record.copies, copy])
    assert.equal(added.record.inSync, record.inSync, 'it is no member')
    assert.equal((await registry.addCopy(record.id, by, copy)).record, added.record)
    const twin = { ...copy, id: 'd'.repeat(32) as CopyId }
    await refusal('EEXIST', registry.addCopy(record.id, by, twin))
    await registry.setInSync(record.id, by, [...record.copies, copy])
    await refusal('EBUSY', registry.release(record.id, by, [copy.id]))
    await registry.setInSync(record.id, by, record.copies)
    const given = await registry.release(record.id, by, [copy.id])
    assert.equal(given.record.copies, record.copies)
    assert.equal(given.record.released, [copy])
    await refusal('EBUSY', registry.addCopy(record.id, by, twin))
    await registry.forgetReleased(record.id, ({ id }) => id === copy.id)
    assert.equal((await registry.addCopy(record.id, by, twin)).record.copies.length, 2)
  }))

test('the minimum follows the number of copies that is asked for, up only once as many are in sync', () =>
  inWorld(async (world) => {
    const { registry } = world
    const { record } = await world.create('name=a')
    const { epoch } = (await registry.takeEpoch(record.id, world.node.id, { abovePromise: 0 }))
      .record
    const by = { node: world.node.id, epoch }
    const three = await registry.setRepl(record.id, 3)
    assert.equal([three.record.spec.repl, three.record.spec.minimum], [3, 2])
    assert.is(three.record.minimum, 1, 'one copy is in sync')
    const copy = { id: 'e'.repeat(32) as CopyId, node: otherNode, drive: 'f'.repeat(32) as DriveId }
    await registry.addCopy(record.id, by, copy)
    const two = await registry.setInSync(record.id, by, [...record.copies, copy])
    assert.is(two.record.minimum, 2)
    await refusal('EBUSY', registry.setInSync(record.id, by, record.copies))
    assert.is((await registry.setRepl(record.id, 2)).record.minimum, 1)
  }))

test('a volume that has arrived is wished elsewhere no more, unless somebody wishes it anew', () =>
  inWorld(async (world) => {
    const { registry } = world
    const { id } = (await world.create('name=a')).record
    await registry.setMovingTo(id, otherNode)
    assert.is((await registry.arrived(id, world.node.id)).record.movingTo, otherNode)
    assert.is((await registry.arrived(id, otherNode)).record.movingTo, null)
  }))

test('keys are set against the version they were made from, and never go back an epoch', () =>
  inWorld(async (world) => {
    const made = await world.create('name=a')
    const { registry } = world
    const { id, keys } = made.record
    const later = await registry.resize(id, 2 ** 30, 0)
    const stale = await refusal('ESTALE', registry.setKeys(id, keys, made.version))
    assert.is(stale.retry, 'later')
    const set = await registry.setKeys(id, { ...keys, newest: 4 }, later.version)
    assert.is((await registry.get(id)).record.keys.newest, 4)
    await refusal('EINVAL', registry.setKeys(id, keys, set.version))
  }))

test('deleting frees the name at once, leaves a tombstone, and never reuses the number', () =>
  inWorld(async (world) => {
    const { registry } = world
    const first = await world.create('name=a')
    const { id } = first.record
    const early = await refusal('EBUSY', registry.remove(id))
    assert.is(early.message, 'volume a: in use; mark it for deletion first (weft volume delete a)')
    assert.is((await registry.markDeleting(id)).record.state, 'deleting')
    assert.is((await registry.markDeleting(id)).record.state, 'deleting')
    assert.is(await registry.byName('a'), null)
    await refusal('EBUSY', registry.resize(id, 2 ** 30, 0))
    await refusal(
      'EBUSY',
      registry.updateKeys(id, async (record) => record.keys),
    )
    const second = await world.create('name=a')
    assert.is(second.record.number, 2)
    await registry.markDeleting(id)
    assert.equal(
      await registry.byName('a'),
      second,
      'marking again does not take the name from the new volume',
    )
    assert.is((await registry.takeEpoch(id, otherNode, { abovePromise: 0 })).record.epoch, 1)
    const tombstone = await registry.remove(id)
    assert.is(tombstone.number, 1)
    assert.is(tombstone.epoch, 1)
    assert.equal(await registry.remove(id), tombstone)
    assert.equal(await registry.tombstone(id), tombstone)
    const gone = await refusal('ENOENT', registry.get(id))
    assert.ok(gone.message.startsWith(`volume a (${id}) was deleted on ${tombstone.removedAt}; `))
    assert.is((await registry.list()).volumes.length, 1)
    assert.is((await world.create('name=c')).record.number, 3)
  }))

test('when all numbers are used up, creating is ENOSPC', () =>
  inWorld(async (world) => {
    const last = String(limits.volumeNumberMax)
    await world.coordinator.compareAndSet('number/next', 0, Buffer.from(last))
    assert.is((await world.create('name=a')).record.number, limits.volumeNumberMax)
    await refusal('ENOSPC', world.create('name=b'))
  }))

test('one record that cannot be read does not hide the others', () =>
  inWorld(async (world) => {
    const good = await world.create('name=a')
    const bad = `volume/${'9'.repeat(32)}`
    await world.coordinator.compareAndSet(bad, 0, Buffer.from('{"version":2}'))
    const { volumes, unreadable } = await world.registry.list()
    assert.equal(volumes, [good])
    assert.equal(
      unreadable.map(({ key }) => key),
      [bad],
    )
    assert.match(String(unreadable[0]?.error), 'written by a newer weft')
  }))

test('a watch names each volume that changed', () =>
  inWorld(async (world) => {
    const heard: string[] = []
    const cancel = await world.registry.watch((id) => heard.push(id))
    const { record } = await world.create('name=a')
    await world.another().takeEpoch(record.id, otherNode, { abovePromise: 0 })
    await world.registry.markDeleting(record.id)
    await world.registry.remove(record.id)
    // Made, ready, an epoch, marked, gone.
    assert.equal(heard, new Array(5).fill(record.id))
    cancel()
    await world.create('name=b')
    assert.is(heard.length, 5)
  }))

test.run()
