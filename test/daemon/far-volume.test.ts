import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  FsError,
  type NodeId,
  type PeerKey,
  silentLog,
  systemRandom,
  type VolumeNumber,
} from '../../src/base/index.ts'
import { FarVolume, type FarVolumeWorld, type Pending } from '../../src/daemon/far-volume.ts'
import { OPCODES } from '../../src/fuse/index.ts'
import { HandClock } from '../cluster/world.ts'

const [FIRST, SECOND] = ['a', 'b'].map((digit) => digit.repeat(32)) as [NodeId, NodeId]
const PEER = 'c'.repeat(64) as PeerKey

/** An owner that answers every state with this life of its own, or refuses. */
function using() {
  const owner = { node: FIRST, epoch: 1, refuses: false, before: [] as object[] }
  const stated: string[] = []
  const leaseClock = new HandClock()
  const world: FarVolumeWorld = {
    kernel: () => ({ flags: 0, mount: 1, keepsNames: true }),
    sessions: { get: () => null, set: () => {}, begun: () => [] } as never,
    near: async () => null,
    tellNear: async () => {},
    call: async (_peer, _service, body) => {
      stated.push(body.subarray(40).toString())
      const { node, epoch, refuses, before } = owner
      if (refuses) throw new FsError('ESTALE', 'access', { message: 'the session is over' })
      return Buffer.from(JSON.stringify({ node, boot: 'b', epoch, first: epoch, before }))
    },
    peerOf: () => PEER,
    ownerNow: async () => owner.node,
    random: systemRandom,
    clock: new HandClock(),
    leaseClock,
    log: silentLog,
  }
  const far = new FarVolume(7 as VolumeNumber, world)
  return { far, owner, stated, leaseClock }
}

function pending(mayRepeat: boolean): Pending {
  const nothing = { opcode: OPCODES.OPEN.code, abort: new AbortController() }
  return { ...nothing, mayRepeat, isDoubtful: true } as Pending
}

test('a session goes on with an owner that the one before let go of the volume for', async () => {
  const { far, owner, stated } = using()
  far.keepSession(FIRST)
  await far.state(PEER)
  const { session } = far
  Object.assign(owner, { node: SECOND, epoch: 2 })
  far.keepSession(SECOND)
  assert.not(far.isKnown, 'it has to be stated to that one')
  await far.state(PEER)
  assert.is(far.session, session)
  assert.match(stated[1] ?? '', new RegExp(`"node":"${FIRST}","boot":"b","epoch":1`))
  assert.is(far.life?.epoch, 2)
})

test('a session that its next owner refuses is lost, and begins anew', async () => {
  const { far, owner } = using()
  far.keepSession(FIRST)
  await far.state(PEER)
  const { session } = far
  Object.assign(owner, { node: SECOND, epoch: 2, refuses: true })
  far.keepSession(SECOND)
  await far.state(PEER).then(
    () => assert.unreachable(),
    () => {},
  )
  assert.is.not(far.session, session)
  assert.is(far.life, null)
})

test('two requests that a new life of the owner answered before it was told of the session do not end it', async () => {
  const { far, owner } = using()
  far.keepSession(FIRST)
  await far.state(PEER)
  const { session } = far
  owner.epoch = 2
  far.unknown()
  far.unknown()
  await far.state(PEER)
  assert.is(far.session, session)
  assert.is(far.life?.epoch, 2)
})

test('with a session, what may have changed something is given up; an open that changes nothing is asked for again', () => {
  const { far } = using()
  const [open, change] = [pending(true), pending(false)]
  far.underWay.set(1n, open)
  far.underWay.set(2n, change)
  far.lose()
  assert.not(open.abort.signal.aborted)
  assert.ok(change.abort.signal.aborted)
})

test('a session does not go on when its node was suspended for longer than it lives, whoever owns the volume now', async () => {
  const { far, owner, leaseClock } = using()
  far.keepSession(FIRST)
  await far.state(PEER)
  const { session } = far
  // The other clock stands still.
  leaseClock.advance(60_000)
  Object.assign(owner, { node: SECOND, epoch: 2 })
  far.keepSession(SECOND)
  assert.is.not(far.session, session, 'what it held is another’s by now')
})

test.run()
