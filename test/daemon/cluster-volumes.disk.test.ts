import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
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
import { type Coordinator, openEmbeddedCoordinator } from '../../src/coordinator/index.ts'
import { ClusterCoordinator } from '../../src/daemon/cluster-coordinator.ts'
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
  const cluster = () =>
    new ClusterVolumes({
      home: dir,
      disk: systemDisk,
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
  const keys = new KeysService(registry, identity, clock)
  const create = async (name: string) => {
    const node = identity.id as NodeId
    const { record } = await registry.create({
      spec: parseVolumeSpec({ name }, { nodes: [node] }),
      places: [{ node, drive: 'd'.repeat(32) as DriveId }],
      makeKeys: (id) => keys.createKeys(id),
    })
    await registry.markReady(record.id)
  }
  return {
    ...{ dir, world, coordinator, cluster, create },
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
  const { dir, cluster, close } = await open()
  try {
    const volumes = cluster()
    assert.equal(volumes.remembered(), [])
    for (const text of ['', '{}', '{"version":1,"records":["{}"]}', '{"version":2}']) {
      writeFileSync(join(dir, 'volumes.json'), text)
      assert.equal(volumes.remembered(), [], text)
    }
    await volumes.close()
  } finally {
    await close()
  }
})

test.run()
