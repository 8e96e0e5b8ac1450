import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type CopyId,
  FsError,
  hexId,
  type NodeId,
  systemRandom,
  type VolumeNumber,
} from '../../src/base/index.ts'
import { type ProbeTargetsWorld, probeTargets } from '../../src/daemon/probe-targets.ts'
import type { ProbeTarget, Unprobed } from '../../src/daemon/probes.ts'
import type { NodeVolume } from '../../src/daemon/volumes.ts'
import { SharedVolume, VOLUME_STATE } from '../../src/store/index.ts'
import { HandClock } from '../cluster/world.ts'
import { sample } from '../volumes/sample-record.ts'

const NODE = hexId<NodeId>('b'.repeat(32))
const COPY = hexId<CopyId>('c'.repeat(32))

interface World {
  readonly clock: HandClock
  readonly volume: NodeVolume
  /** What was asked of the engine, and of the owner. */
  readonly asked: string[]
  /** The node that the owner waits for. */
  awaited: boolean
  copySilentMs: number
  inUse: boolean
  target(): ProbeTarget | Unprobed
}

/** One volume of this node, of several copies, open, with a lease of nine seconds. */
function makeWorld(): World {
  const clock = new HandClock()
  const shared = new SharedVolume()
  shared.replicated = true
  shared.leaseUntilMs = clock.monotonicMs() + 9000
  const asked: string[] = []
  const volume: NodeVolume = {
    stored: { record: sample, version: 1 as never },
    opened: null,
    shared,
    closed: null,
    attached: null,
    isShared: false,
    before: [],
  }
  const call = (async (verb: string) => {
    asked.push(verb)
    return null
  }) as unknown as ProbeTargetsWorld['engine']['call']
  const world: World = {
    clock,
    volume,
    asked,
    awaited: false,
    copySilentMs: 0,
    inUse: false,
    target() {
      const [target, ...more] = probeTargets(parts)
      assert.ok(target)
      assert.is(more.length, 0)
      return target
    },
  }
  const parts: ProbeTargetsWorld = {
    volumes: {
      all: () => [volume],
      isElsewhere: ({ closed }) => closed?.state === 'elsewhere',
    },
    engine: { call },
    client: {
      inUse: () => (world.inUse ? { owner: NODE, session: 7, silentMs: 0 } : null),
      async probe(number: VolumeNumber) {
        asked.push(`call ${number}`)
      },
    },
    owner: () => ({
      awaited: () => (world.awaited ? [{ id: COPY, node: NODE }] : []),
      silentMs: world.copySilentMs,
    }),
    nameOf: () => 'node-b',
    random: systemRandom,
    leaseClock: clock,
  }
  return world
}

function probed(world: World): ProbeTarget {
  const target = world.target()
  assert.ok('run' in target)
  return target
}

test('a volume of this node is probed by a commit, and what that waits for is named', async () => {
  const world = makeWorld()
  const target = probed(world)
  assert.is(target.kind, 'commit')
  await target.run()
  assert.equal(world.asked, ['probe'])
  assert.is(target.waitsFor(), 'the drive of this node')
  assert.not(target.isDoubtful())
  world.awaited = true
  world.copySilentMs = 2500
  assert.is(target.waitsFor(), 'copy on node-b')
  assert.ok(target.isDoubtful())
})

test('a probe whose commit succeeds behind the end of the lease fails: reads wait', async () => {
  const world = makeWorld()
  world.clock.advance(9000)
  const error = await probed(world)
    .run()
    .then(
      () => null,
      (thrown: unknown) => thrown,
    )
  assert.instance(error, FsError)
  assert.is((error as FsError).code, 'EAGAIN')
  assert.match((error as FsError).message, /its lease has run out/)
})

test('a volume of one copy needs no lease', async () => {
  const world = makeWorld()
  ;(world.volume.shared as SharedVolume).replicated = false
  world.clock.advance(9000)
  await probed(world).run()
})

test('nothing is asked of a volume that is locked, damaged, lost or about to go', () => {
  const world = makeWorld()
  const { volume } = world
  const shared = volume.shared as SharedVolume
  shared.isLeaving = true
  assert.equal(world.target(), { volume: volume.stored.record.id, why: 'closed' })
  shared.isLeaving = false
  shared.state = VOLUME_STATE.fenced
  assert.equal(world.target(), { volume: volume.stored.record.id, why: 'closed' })
  volume.shared = null
  for (const [state, why] of [
    ['locked', 'locked'],
    ['damaged', 'closed'],
    ['waiting', 'closed'],
    ['elsewhere', 'unused'],
  ] as const) {
    volume.closed = { state, why: 'a test says so' }
    assert.equal(world.target(), { volume: volume.stored.record.id, why })
  }
  assert.equal(world.asked, [])
})

test("another node's volume is probed by a call, while it is used from here", async () => {
  const world = makeWorld()
  world.volume.shared = null
  world.volume.closed = { state: 'elsewhere', why: 'node-b has it' }
  world.inUse = true
  const target = probed(world)
  assert.is(target.kind, 'call')
  assert.is(target.committed(), null)
  await target.run()
  assert.equal(world.asked, [`call ${world.volume.stored.record.number}`])
  assert.is(target.waitsFor(), 'node-b, its owner')
})

test.run()
