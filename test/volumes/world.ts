import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import {
  type DriveId,
  FsError,
  type NodeId,
  systemClock,
  systemRandom,
} from '../../src/base/index.ts'
import { type Coordinator, openEmbeddedCoordinator } from '../../src/coordinator/index.ts'
import { wipeIdentity } from '../../src/crypto/index.ts'
import { systemDisk } from '../../src/disk/index.ts'
import {
  KeysService,
  type NodeIdentity,
  openNodeIdentity,
  parseVolumeSpec,
  type StoredVolume,
  VolumeRegistry,
} from '../../src/volumes/index.ts'

export interface VolumesWorld {
  readonly dir: string
  readonly coordinator: Coordinator
  readonly registry: VolumeRegistry
  readonly node: NodeIdentity
  readonly keys: KeysService
  /** Another registry on the same coordinator. */
  another(): VolumeRegistry
  create(spec: string, registry?: VolumeRegistry): Promise<StoredVolume>
  close(): Promise<void>
}

/** A home directory with a coordinator, an identity and the two services, for one test. */
export async function openVolumesWorld(): Promise<VolumesWorld> {
  const dir = mkdtempSync(join(tmpdir(), 'weft-volumes-'))
  const coordinator = await openEmbeddedCoordinator(join(dir, 'coordinator'))
  const clock = systemClock()
  const another = () => new VolumeRegistry(coordinator, systemRandom, clock)
  const registry = another()
  const node = openNodeIdentity(join(dir, 'home'), systemDisk, '2026-11-23T00:00:00.000Z')
  const keys = new KeysService(registry, node, clock)
  return {
    dir,
    coordinator,
    registry,
    node,
    keys,
    another,
    async create(spec, by = registry) {
      const { record } = await by.create({
        spec: parseVolumeSpec({ spec }, { nodes: [node.id] }),
        places: [{ node: node.id, drive: 'd'.repeat(32) as DriveId }],
        makeKeys: (id) => keys.createKeys(id),
      })
      return await by.markReady(record.id)
    },
    async close() {
      wipeIdentity(node.keys)
      await coordinator.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

export const otherNode = 'b'.repeat(32) as NodeId

/** The FsError that the work ends in, whose code must be this. */
export async function refusal(code: string, work: Promise<unknown>): Promise<FsError> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  assert.instance(error, FsError, `expected ${code}, got ${error}`)
  assert.is((error as FsError).code, code, (error as FsError).message)
  return error as FsError
}
