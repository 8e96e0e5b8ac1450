import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type DriveId,
  FsError,
  type NodeId,
  silentLog,
  systemClock,
  systemRandom,
} from '../../src/base/index.ts'
import type { ClusterId } from '../../src/cluster/index.ts'
import { type Coordinator, openEmbeddedCoordinator } from '../../src/coordinator/index.ts'
import { newIdentity, nodeIdOf } from '../../src/crypto/index.ts'
import { ClusterCoordinator } from '../../src/daemon/cluster-coordinator.ts'
import { KeptEntries } from '../../src/daemon/cluster-kept.ts'
import { ClusterVolumes } from '../../src/daemon/cluster-volumes.ts'
import { systemDisk } from '../../src/disk/index.ts'
import {
  KeysService,
  openNodeIdentity,
  parseVolumeSpec,
  VolumeRegistry,
} from '../../src/volumes/index.ts'
import { until } from '../support/node-world.ts'

const away = () =>
  new FsError('ETIMEDOUT', 'coordinator.list', { message: 'silence', retry: 'later' })

/** A node's list of volumes over a coordinator that can be away, and another node that makes volumes. */
async function open() {
  const dir = mkdtempSync(join(tmpdir(), 'weft-cluster-volumes-'))
  const clock = systemClock()
  const embedded = await openEmbeddedCoordinator(join(dir, 'coordinator'))
  const world = {
    isAway: false,
    opened: 0,
    /** Names, as they were adopted last. */
    names: [] as string[],
  }
  const orAway = <T>(call: () => Promise<T>) => (world.isAway ? Promise.reject(away()) : call())
  const reachable: Coordinator = {
    get: (key) => orAway(() => embedded.get(key)),
    list: (prefix) => orAway(() => embedded.list(prefix)),
    compareAndSet: (...words) => orAway(() => embedded.compareAndSet(...words)),
    transaction: (steps) => orAway(() => embedded.transaction(steps)),
    watch: (...words) => orAway(() => embedded.watch(...words)),
    close: async () => {},
  }
  const coordinator = new ClusterCoordinator(
    async () => {
      world.opened += 1
      if (world.isAway) throw away()
      return reachable
    },
    (error) => error,
  )
  const keys = newIdentity()
  const self = { id: nodeIdOf(keys.sign.publicKey), keys }
  const kept = () =>
    new KeptEntries({
      home: dir,
      disk: systemDisk,
      coordinator,
      cluster: 'c'.repeat(32) as ClusterId,
      self,
      generation: () => 1,
      log: silentLog,
    })
  const cluster = () =>
    new ClusterVolumes({
      kept: kept(),
      registry: new VolumeRegistry(coordinator, systemRandom, clock),
      clock,
      log: silentLog,
      adopt: async ({ volumes }) => {
        const ready = volumes.filter(({ record }) => record.state === 'ready')
        world.names = ready.map(({ record }) => record.name)
      },
    })
  const registry = new VolumeRegistry(embedded, systemRandom, clock)
  const identity = openNodeIdentity(join(dir, 'other'), systemDisk, '2026-01-01T00:00:00.000Z')
  const service = new KeysService(registry, identity, clock)
  const create = async (name: string) => {
    const node = identity.id as NodeId
    const { record } = await registry.create({
      spec: parseVolumeSpec({ name }, { nodes: [node] }),
      places: [{ node, drive: 'd'.repeat(32) as DriveId }],
      makeKeys: (id) => service.createKeys(id),
    })
    await registry.markReady(record.id)
  }
  return {
    ...{ dir, world, coordinator, registry, cluster, kept, create },
    async close() {
      await coordinator.close()
      await embedded.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

test('a coordinator that was away is opened by the next call, and not again once it is open', async () => {
  const { world, coordinator, close } = await open()
  try {
    world.isAway = true
    const calls = [coordinator.get('a'), coordinator.list(''), coordinator.watch('', () => {})]
    for (const call of calls) {
      const error = await call.then(
        () => null,
        (thrown: unknown) => thrown,
      )
      assert.match(String(error), /silence/)
    }
    assert.is(world.opened, 1, 'calls at one time open it once')
    world.isAway = false
    assert.equal(await coordinator.list(''), [])
    assert.is((await coordinator.compareAndSet('a', 0, Buffer.from('x'))).ok, true)
    assert.is(world.opened, 2)
    await coordinator.close()
    assert.match(String(await coordinator.get('a').catch(String)), /closed/)
  } finally {
    await close()
  }
})

test('volumes that others make are adopted, and a start without the coordinator knows them', async () => {
  const { world, cluster, create, close } = await open()
  try {
    await create('one')
    const volumes = cluster()
    assert.is((await volumes.first())?.volumes.length, 1)
    volumes.follow()
    await until('the first is adopted', () => world.names.join() === 'one')
    await create('two')
    await until('the watch has brought it', () => world.names.join() === 'one,two')
    await volumes.close()

    world.isAway = true
    const later = cluster()
    assert.is(await later.first(), null)
    const known = later.remembered().map(({ record, version }) => [record.name, version])
    assert.equal(known, [
      ['one', 0],
      ['two', 0],
    ])
    await later.close()
  } finally {
    await close()
  }
})

test('what cannot be read of the last life is nothing known, and no reason not to start', async () => {
  const { dir, cluster, create, kept, close } = await open()
  try {
    const volumes = cluster()
    assert.equal(volumes.remembered(), [])
    await create('one')
    await create('two')
    await kept().update()
    assert.is(cluster().remembered().length, 2)
    const [file = ''] = readdirSync(join(dir, 'kept')).filter((name) => name.startsWith('volume.'))
    const path = join(dir, 'kept', file)
    const good = readFileSync(path, 'utf8')
    for (const text of ['', '{}', good.slice(0, -9), good.replace('ready', 'reads')]) {
      writeFileSync(path, text)
      assert.is(cluster().remembered().length, 1, text)
    }
    await kept().update()
    assert.is(cluster().remembered().length, 2, 'written anew')
    await volumes.close()
  } finally {
    await close()
  }
})

test('a record stays until there is a tombstone of its volume, whatever the coordinator lists', async () => {
  const { coordinator, registry, create, kept, close } = await open()
  try {
    await create('one')
    const mine = kept()
    await mine.update()
    const id = (await registry.byName('one'))?.record.id
    assert.ok(id)
    const key = `volume/${id}`
    const before = await coordinator.get(key)
    await coordinator.compareAndSet(key, before?.version ?? 0, null)
    await mine.update()
    const names = () =>
      kept()
        .volumes()
        .map(({ name }) => name)
    assert.equal(names(), ['one'])
    assert.equal(
      mine.missing().map(({ name }) => name),
      ['one'],
    )

    await coordinator.compareAndSet(key, 0, before?.value ?? null)
    await registry.markDeleting(id)
    await registry.remove(id)
    await mine.update()
    assert.equal(names(), [])
    assert.equal(mine.missing(), [])
    assert.equal(
      [...kept().signedBehind('')].map((one) => one.key),
      ['number/next', `tombstone/${id}`],
    )
  } finally {
    await close()
  }
})

test.run()
