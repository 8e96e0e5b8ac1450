import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError, limits, type NodeId, ProtocolError } from '../../src/base/index.ts'
import {
  answerJoin,
  type Call,
  type ClusterId,
  createCluster,
  joinCluster,
  listInvites,
  nowhere,
  parseDomain,
  parseInvite,
  readCache,
  removeMember,
  revokeInvite,
} from '../../src/cluster/index.ts'
import {
  encodeJoinAnswer,
  encodeJoinRequest,
  type JoinRequest,
} from '../../src/cluster/join-messages.ts'
import { closeView } from '../../src/cluster/view.ts'
import { openEmbeddedCoordinator } from '../../src/coordinator/index.ts'
import { inviteKeyPair } from '../../src/crypto/index.ts'
import { SimulatedDisk, systemDisk } from '../../src/disk/index.ts'
import { seeded } from '../support/seeded.ts'
import { HandClock, inWorld, type Node, newLab, refusal } from './world.ts'

const cacheOf = (node: Node) => readCache(node.home, systemDisk, node.authority.self)

test('a node joins by an invite and knows members, domains, keys and where the coordinator is', () =>
  inWorld(async (world) => {
    const domain = parseDomain('region=eu,zone=1,rack=r2')
    const b = world.machine('node-b', { domain })
    await world.join(b, await world.invite())
    const membership = await b.start()
    await world.a.membership?.refresh()
    assert.equal(
      membership.members().map(({ name }) => name),
      ['node-a', 'node-b'],
    )
    assert.is(membership.record.name, 'lab')
    assert.equal(membership.record.coordinator, {
      kind: 'embedded',
      node: world.a.authority.self.id,
    })
    assert.equal(world.a.membership?.domainOf(b.authority.self.id), domain)
    assert.equal(membership.domainOf(world.a.authority.self.id), nowhere)
    assert.is(membership.self?.node, b.authority.self.id)
    assert.ok(membership.topic && world.a.membership?.topic?.equals(membership.topic))
    assert.is(membership.admit(world.a.key), 'member')
    assert.is(world.a.membership?.admit(b.key), 'member')
  }))

test('a member that joined can itself admit others', () =>
  inWorld(async (world) => {
    const b = await world.member('node-b')
    const line = await world.invite()
    await world.a.membership?.close()
    world.a.membership = null
    await b.membership?.refresh()
    const c = world.machine('node-c')
    await world.join(c, line)
    assert.equal(cacheOf(c)?.view.members.size, 3)
  }))

test('each refusal has a message of its own, is logged, and uses nothing up', () =>
  inWorld(async (world) => {
    const b = world.machine('node-b')
    const refused = async (
      code: string,
      line: string,
      words: RegExp,
      node = b,
      clock?: HandClock,
    ) => {
      const error = await refusal(code, world.join(node, line, clock ? { clock } : {}))
      assert.match(error.message, words)
      assert.is(existsSync(join(node.home, 'cluster.json')), false)
      return error
    }
    const line = await world.invite()

    const late = new HandClock()
    late.ms = world.clock.ms - limits.joinClockMsMax - 60_000
    await refused('EINVAL', line, /6 min behind the cluster's .*NTP/, b, late)
    assert.match(world.a.lines.at(-1) ?? '', /"reason":"clock".*join refused/)

    const namesake = world.machine('Node-A')
    await refused('EEXIST', line, /name Node-A is taken by another node .*--name/, namesake)
    assert.match(world.a.lines.at(-1) ?? '', /"reason":"name-taken"/)

    const odd = world.machine('no de')
    await refused('EINVAL', line, /node name "no de": " " is not allowed/, odd)

    assert.is((await listInvites(world.coordinator))[0]?.usesLeft, 1)
    await world.join(b, line)
    assert.is((await listInvites(world.coordinator))[0]?.usesLeft, 0)
  }))

test('a dead or foreign invite is refused in the handshake, and by the member that still lets it in, in clear words', () =>
  inWorld(async (world) => {
    const { a } = world
    const c = world.machine('node-c')
    /** A member whose list of invites is behind what the coordinator holds. */
    const behind = async (line: string, words: RegExp) => {
      const error = await refusal('EKEYREJECTED', world.join(c, line))
      assert.match(error.message, words)
    }
    const inHandshake = async (line: string, why: RegExp) => {
      await a.membership?.refresh()
      const key = inviteKeyPair(parseInvite(line).seed).publicKey.toString('hex')
      assert.is(a.membership?.admit(key), null)
      assert.match(a.membership?.refusalOf(key) ?? '', why)
      const error = await refusal('EHOSTUNREACH', world.join(c, line))
      assert.match(error.message, /expired, revoked or used up is not let in at all/)
    }

    const used = await world.invite()
    await world.join(world.machine('node-b'), used)
    await whileBehind(a, () => behind(used, /the invite is used up/))
    await inHandshake(used, /^invite [0-9a-f]{32}, used up$/)

    const revoked = await world.invite()
    const [newest] = (await listInvites(world.coordinator)).filter(({ usesLeft }) => usesLeft > 0)
    await revokeInvite(a.authority, newest?.id ?? '')
    assert.ok((await revokeInvite(a.authority, newest?.id ?? '')).revokedAt)
    await whileBehind(a, () => behind(revoked, /the invite was revoked at 2026-11-28T/))
    await inHandshake(revoked, /revoked$/)
    await refusal('ENOENT', revokeInvite(a.authority, 'f'.repeat(32)))

    const expired = await world.invite({ lifetimeMs: 60_000 })
    world.clock.advance(61_000)
    await inHandshake(expired, /expired$/)
    const error = await refusal('EHOSTUNREACH', world.join(c, expired))
    assert.match(error.message, /By this machine's clock the invite expired at 2026-11-28T00:01:0/)

    await inWorld(async (other) => {
      const foreign = await other.invite()
      await refusal('EHOSTUNREACH', world.join(c, foreign))
    })
  }))

/** As a member whose watch lags: it still lets in whoever holds a dead invite. */
async function whileBehind(node: Node, work: () => Promise<void>): Promise<void> {
  const { membership } = node
  assert.ok(membership)
  const { admit } = membership
  membership.admit = (key) => admit.call(membership, key) ?? 'guest'
  try {
    await work()
  } finally {
    membership.admit = admit
  }
}

test('a request for another cluster, another member or another session is not answered as ours', () =>
  inWorld(async (world) => {
    const { a } = world
    const b = world.machine('node-b')
    const invite = parseInvite(await world.invite())
    const pair = inviteKeyPair(invite.seed)
    const { keys } = b.authority.self
    const request: JoinRequest = {
      cluster: invite.cluster,
      inviteKey: pair.publicKey.toString('hex'),
      node: b.authority.self.id,
      signKey: b.key,
      boxKey: keys.box.publicKey.toString('hex'),
      ...b.words,
      sentMs: world.clock.ms,
      to: a.key,
    }
    const guest = request.inviteKey
    const answered = async (changed: Partial<JoinRequest>, remote: string, node = keys.sign) =>
      answerJoin(a.authority, encodeJoinRequest({ ...request, ...changed }, node, pair), remote)
    const dropped = async (work: Promise<unknown>) =>
      assert.instance(await work.catch((error: unknown) => error), ProtocolError)

    await dropped(answered({}, 'c'.repeat(64)))
    await dropped(answered({ to: b.key }, guest))
    await dropped(answered({ node: 'd'.repeat(32) as NodeId }, guest))
    await dropped(answered({}, guest, pair))
    await dropped(answered({ inviteKey: a.key }, guest))
    const elsewhere = await answered({ cluster: 'e'.repeat(32) as typeof request.cluster }, guest)
    assert.match(
      elsewhere.toString(),
      /"reason":"wrong-cluster".*the cluster e{32}, this node is of lab/,
    )
    const random = seeded(7)
    for (let i = 0; i < 300; i++) {
      const body = encodeJoinRequest(request, keys.sign, pair)
      const at = random.below(body.length)
      body[at] = (body[at] ?? 0) ^ (1 << random.below(8))
      await dropped(answerJoin(a.authority, body, guest))
    }
    await a.membership?.refresh()
    assert.is(a.membership?.members().length, 1)
    assert.match((await answered({}, guest)).toString(), /"result":"admitted"/)
  }))

test('of many that join at once with one use, exactly one is in', () =>
  inWorld(async (world) => {
    const line = await world.invite()
    const machines = Array.from({ length: 12 }, (_, i) => world.machine(`node-${i}`))
    const ends = await Promise.allSettled(machines.map((node) => world.join(node, line)))
    assert.is(ends.filter(({ status }) => status === 'fulfilled').length, 1)
    for (const end of ends) {
      if (end.status === 'rejected') assert.match(String(end.reason.message), /used up/)
    }
    await world.a.membership?.refresh()
    assert.is(world.a.membership?.members().length, 2)
    const [invite] = await listInvites(world.coordinator)
    assert.is(invite?.usesLeft, 0)
    assert.is(invite?.usedBy.length, 1)
  }))

test('an invite of three uses admits three of many, and one name of one use is given once', () =>
  inWorld(async (world) => {
    const line = await world.invite({ uses: 3 })
    const machines = Array.from({ length: 8 }, (_, i) => world.machine(`node-${i}`))
    const ends = await Promise.allSettled(machines.map((node) => world.join(node, line)))
    assert.is(ends.filter(({ status }) => status === 'fulfilled').length, 3)
    const twins = [1, 2].map((i) => world.machine(`twin-${i}`, { name: 'twin' }))
    const two = await world.invite({ uses: 2 })
    const twinEnds = await Promise.allSettled(twins.map((node) => world.join(node, two)))
    assert.is(twinEnds.filter(({ status }) => status === 'fulfilled').length, 1)
    assert.is(
      (await listInvites(world.coordinator)).find(({ usesLeft }) => usesLeft === 1)?.usedBy.length,
      1,
    )
  }))

test('an answer that was lost is asked for again with the same invite, and nothing is counted twice', () =>
  inWorld(async (world) => {
    for (const uses of [1, 2]) {
      const line = await world.invite({ uses })
      const node = world.machine(`lost-${uses}`)
      world.wire.faults.push('lose answer', 'lose answer')
      await refusal('EHOSTUNREACH', world.join(node, line))
      assert.is(existsSync(join(node.home, 'cluster.json')), false)
      await world.a.membership?.refresh()
      const before = world.a.membership?.member(node.authority.self.id)
      assert.ok(before, 'it is a member already')
      await world.join(node, line)
      await world.join(node, line)
      assert.equal(cacheOf(node)?.view.members.get(node.authority.self.id)?.member, before)
      const used = (await listInvites(world.coordinator)).find(({ usedBy }) =>
        usedBy.includes(node.authority.self.id),
      )
      assert.is(used?.usesLeft, uses - 1)
    }
  }))

test('a joiner cut off at any step joins when it does the same again', () =>
  inWorld(async (world) => {
    for (let calls = 0; ; calls++) {
      const line = await world.invite()
      const node = world.machine(`cut-${calls}`)
      const disk = new SimulatedDisk()
      disk.mkdir(node.home)
      disk.powerOffAfter(calls)
      const first = await world.join(node, line, { disk }).then(
        () => 'joined',
        (error: unknown) => error,
      )
      disk.powerCut(seeded(calls))
      await world.a.membership?.refresh()
      if (first === 'joined') {
        assert.ok(calls > 3, 'the cut hits each step of writing it down')
        assert.ok(readCache(node.home, disk, node.authority.self))
        break
      }
      assert.instance(first, FsError)
      disk.mkdir(node.home)
      await world.join(node, line, { disk })
      assert.is(readCache(node.home, disk, node.authority.self)?.view.record.name, 'lab')
      const used = (await listInvites(world.coordinator)).filter(({ usedBy }) =>
        usedBy.includes(node.authority.self.id),
      )
      assert.is(used.length, 1)
    }
  }))

test('a member that cannot reach the coordinator leaves the joiner to the next', () =>
  inWorld(async (world) => {
    const b = await world.member('node-b')
    const line = await world.invite()
    await b.membership?.refresh()
    const c = world.machine('node-c')
    world.a.away = true
    b.away = true
    const error = await refusal('EHOSTUNREACH', world.join(c, line))
    assert.match(
      error.message,
      /cannot change the member list now \(EHOSTUNREACH\); its log says why/,
    )
    b.away = false
    await world.join(c, line)
    assert.is(cacheOf(c)?.view.members.size, 3)
    assert.match(world.a.lines.join(), /"reason":"unavailable".*coordinator away/)
    assert.match(b.lines.at(-1) ?? '', /node joined/)
  }))

test('an answer that is not of this node and this cluster is not believed, nor is garbage', () =>
  inWorld(async (world) => {
    const b = await world.member('node-b')
    const c = world.machine('node-c')
    const line = await world.invite()
    const joinBy = (call: Call) =>
      joinCluster({
        ...c.authority,
        home: c.home,
        disk: systemDisk,
        invite: parseInvite(line),
        node: c.words,
        asGuest: call,
        asNode: call,
      })
    const ofOthers = cacheOf(b)?.view
    assert.ok(ofOthers)
    const view = closeView(ofOthers)
    const elsewhere = { ...view, record: { ...view.record, id: 'f'.repeat(32) as ClusterId } }
    const answers: [Buffer, RegExp][] = [
      [encodeJoinAnswer({ result: 'admitted', view }), /does not list this node/],
      [encodeJoinAnswer({ result: 'admitted', view: elsewhere }), /did not sign/],
      [Buffer.from('hello'), /not JSON/],
      [encodeJoinAnswer({ result: 'refused', reason: 'unavailable', message: 'later' }), /later/],
    ]
    for (const [answer, words] of answers) {
      const { message } = await refusal(
        'EHOSTUNREACH',
        joinBy(async () => answer),
      )
      assert.match(message, words)
    }
    const said = encodeJoinAnswer({ result: 'refused', reason: 'of-a-newer-build', message: 'no' })
    const { message } = await refusal(
      'EACCES',
      joinBy(async () => said),
    )
    assert.is(message, 'cluster join: no')
    assert.is(cacheOf(c), null)
    await world.join(c, line)
  }))

test('a home that is in a cluster stays in it', () =>
  inWorld(async (world) => {
    const b = await world.member('node-b')
    await inWorld(async (other) => {
      const error = await refusal('EEXIST', world.join(b, await other.invite()))
      assert.match(
        error.message,
        /join: this node is in the cluster lab .*, and a node is in one; remove it there first/,
      )
    })
  }))

test('a cluster is made once, also by a node that is cut off at any step and does the same again', () =>
  inWorld(async (world) => {
    const taken = world.machine('taken')
    const place = { home: taken.home, disk: systemDisk }
    const error = await refusal('EEXIST', createCluster(taken.authority, place, newLab(taken)))
    assert.match(error.message, /this coordinator holds the cluster lab already; join it/)
    const { a } = world
    const there = { home: a.home, disk: systemDisk }
    const again = await createCluster(a.authority, there, newLab(a))
    assert.is(again.view.record.id, a.membership?.record.id)
    await refusal('EEXIST', createCluster(a.authority, there, { ...newLab(a), name: 'other' }))
    await refusal('EINVAL', createCluster(a.authority, there, { ...newLab(a), name: '-' }))
    const nowhereAtAll = { kind: 'etcd', endpoints: [] } as const
    await refusal(
      'EINVAL',
      createCluster(taken.authority, place, { ...newLab(taken), coordinator: nowhereAtAll }),
    )

    for (let calls = 0; ; calls++) {
      const coordinator = await openEmbeddedCoordinator(join(world.dir, `coordinator-${calls}`))
      const node = world.machine(`first-${calls}`)
      const disk = new SimulatedDisk()
      disk.mkdir(node.home)
      disk.powerOffAfter(calls)
      const authority = { ...node.authority, coordinator }
      const make = () => createCluster(authority, { home: node.home, disk }, newLab(node))
      const first = await make().then(
        () => 'made',
        (thrown: unknown) => thrown,
      )
      disk.powerCut(seeded(calls))
      disk.mkdir(node.home)
      const { view } = await make()
      assert.is(view.members.size, 1)
      await coordinator.close()
      if (first !== 'made') continue
      assert.ok(calls > 3, 'the cut hits each step of writing it down')
      break
    }
  }))

test('a dead invite is explained for a week and then forgotten', () =>
  inWorld(async (world) => {
    const { a } = world
    const line = await world.invite({ lifetimeMs: 1000 })
    const b = world.machine('node-b')
    world.clock.advance(6 * 24 * 60 * 60 * 1000)
    await world.invite()
    await whileBehind(a, async () => {
      const { message } = await refusal('EKEYREJECTED', world.join(b, line))
      assert.match(message, /the invite expired at 2026-11-28T00:00:01.000Z; ask for a new one/)
    })
    world.clock.advance(2 * 24 * 60 * 60 * 1000)
    await world.invite()
    assert.is((await listInvites(world.coordinator)).length, 2)
    await whileBehind(a, async () => {
      const { message } = await refusal('EKEYREJECTED', world.join(b, line))
      assert.match(message, /the cluster knows no such invite; ask for a new one/)
    })
  }))

test('an invite for no use, or for too long, is refused', () =>
  inWorld(async (world) => {
    for (const uses of [0, -1, 1.5, limits.inviteUsesMax + 1, Number.NaN]) {
      const { message } = await refusal('EINVAL', world.invite({ uses }))
      assert.match(message, /give a whole number from 1 to 1000/)
    }
    for (const lifetimeMs of [0, 999, limits.inviteMsMax + 1]) {
      const { message } = await refusal('EINVAL', world.invite({ lifetimeMs }))
      assert.match(message, /give at least a second and at most 30 days/)
    }
    assert.equal(await listInvites(world.coordinator), [])
  }))

test('a removed node is refused by every invite, and its name is free again', () =>
  inWorld(async (world) => {
    const b = await world.member('node-b')
    await removeMember(world.a.authority, b.authority.self.id, 'sold')
    await b.membership?.refresh()
    await b.membership?.close()
    const line = await world.invite()
    for (let round = 0; round < 2; round++) {
      const error = await refusal('EKEYREJECTED', world.join(b, line))
      assert.match(
        error.message,
        /removed from the cluster at 2026-11-28T.* \(sold\), .*empty home/,
      )
      if (round === 0) systemDisk.unlink(join(b.home, 'cluster.json'))
    }
    await world.join(world.machine('again', { name: 'node-b' }), await world.invite())
  }))

test.run()
