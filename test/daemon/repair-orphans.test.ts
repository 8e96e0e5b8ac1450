import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type CopyId,
  FsError,
  type NodeId,
  silentLog,
  type VolumeId,
} from '../../src/base/index.ts'
import { Orphans } from '../../src/daemon/repair-orphans.ts'
import type { NodeVolume } from '../../src/daemon/volumes.ts'
import { NodeClock, Timeline } from '../sim/timeline.ts'

const GRACE_MS = 120_000
const [owner, first, second, blind] = ['a', 'b', 'c', 'd'].map((name) => name as NodeId) as [
  NodeId,
  NodeId,
  NodeId,
  NodeId,
]

/** A volume of which the owner and two others have copies in sync, and a fourth node one that is behind. */
function volume(): NodeVolume {
  const copies = [owner, first, second, blind].map((node) => ({ id: `copy ${node}`, node }))
  const inSync = copies.slice(0, 3).map(({ id }) => id as CopyId)
  const record = { id: 'v' as VolumeId, name: 'db', owner, copies, inSync }
  return { stored: { record }, closed: { state: 'elsewhere', why: '' } } as unknown as NodeVolume
}

const given: NodeId[] = []

/** When a node takes it over, milliseconds from the owner's end; null if it does not within ten minutes. */
async function takenAt(node: NodeId, isDown: (nowMs: number) => boolean): Promise<number | null> {
  const timeline = new Timeline()
  const orphan = volume()
  let atMs: number | null = null
  const orphans = new Orphans({
    node,
    clock: new NodeClock(timeline, 1, 0),
    log: silentLog,
    graceMs: async () => GRACE_MS,
    volumes: () => [orphan],
    isDown: () => isDown(timeline.nowMs),
    refresh: async () => {},
    bringHere: async () => {
      atMs ??= timeline.nowMs
      throw new FsError('EBUSY', 'own', {})
    },
    give: async (_, to) => {
      given.push(to)
      if (to === first) throw new FsError('EIO', 'own', {})
      Object.assign(orphan.stored, { record: { ...orphan.stored.record, owner: to } })
    },
  })
  orphans.start()
  await timeline.run(600_000)
  orphans.close()
  return atMs
}

test('a volume whose owner is gone is taken over after the grace period, by one member after another', async () => {
  const [one, two] = await Promise.all([takenAt(first, () => true), takenAt(second, () => true)])
  assert.ok(one !== null && one >= GRACE_MS && one < GRACE_MS + 5000, `${one}`)
  assert.ok(two !== null && two >= one + 2000, `${two}`)
})

test('a node that owns a volume and has lost its copy has another in-sync node own it', async () => {
  given.splice(0)
  const at = await takenAt(owner, () => false)
  assert.ok(at !== null && at >= GRACE_MS, 'it looks for its own copy first')
  assert.equal(given, [first, second])
})

test('nobody takes a volume whose owner returns in time, or without being in sync', async () => {
  assert.is(await takenAt(first, (nowMs) => nowMs % GRACE_MS < GRACE_MS / 2), null)
  assert.is(await takenAt(blind, () => true), null)
})

test.run()
