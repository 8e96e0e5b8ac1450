import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CorruptError, FsError, ProtocolError, systemRandom } from '../../src/base/index.ts'
import { readCluster, withClusterKeys } from '../../src/cluster/authority.ts'
import {
  clusterStatus,
  inviteInfo,
  judgeLife,
  listInvites,
  Membership,
  type MembershipChange,
  nodeList,
  readCache,
  recordMove,
  removeMember,
  restateMember,
  rotateClusterKeys,
  toClusterStatus,
  toInviteInfo,
  toNodeList,
} from '../../src/cluster/index.ts'
import { decodeMemberList, encodeMemberList } from '../../src/cluster/member-list.ts'
import { decodeRecord, encodeRecord, RECORD_KEY } from '../../src/cluster/record.ts'
import { systemDisk } from '../../src/disk/index.ts'
import { seeded } from '../support/seeded.ts'
import { copyOfSecrets } from './canary.ts'
import { type ClusterWorld, inWorld, type Node, refusal } from './world.ts'

const idOf = (node: Node) => node.authority.self.id
const cachePath = (node: Node) => join(node.home, 'cluster.json')

/** Until the condition holds; turns of the event loop, as the watch needs them. */
async function eventually(what: string, holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 1000; turn++) {
    if (holds()) return
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.unreachable(`never: ${what}`)
}

test('a change reaches every member by the watch, and listeners are told what it was', () =>
  inWorld(async (world) => {
    const { a } = world
    const changes: MembershipChange[] = []
    const cancel = a.membership?.onChange((change) => changes.push(change))
    const b = await world.member('node-b')
    await eventually('joined', () => changes.some(({ joined }) => joined.includes(idOf(b))))
    await restateMember(b.authority, { addresses: [{ host: 'b.example', port: 1 }] })
    await eventually('restated', () => changes.some(({ restated }) => restated.includes(idOf(b))))
    assert.is(a.membership?.member(idOf(b))?.serial, 2)
    const topic = a.membership?.topic
    await rotateClusterKeys(b.authority)
    await eventually('keys', () => changes.some(({ keys, record }) => keys && record))
    assert.not.equal(a.membership?.topic, topic)
    await removeMember(a.authority, idOf(b), '')
    await eventually('removed', () => changes.some(({ removed }) => removed.includes(idOf(b))))
    await eventually('the removed knows it', () => b.membership?.self === null)
    assert.ok(b.membership?.isRemoved(idOf(b)))
    cancel?.()
    const told = changes.length
    await world.member('node-c')
    assert.is(changes.length, told)
  }))

test('a move of the coordinator is recorded once, reaches every member, and an older generation is not obeyed again', () =>
  inWorld(async (world) => {
    const { a } = world
    const b = await world.member('node-b')
    const before = a.membership?.record.coordinator
    const etcd = { kind: 'etcd', endpoints: ['http://h1:2379'] } as const
    await recordMove(a.authority, etcd, 2)
    await eventually('told', () => b.membership?.record.coordinator.kind === 'etcd')
    assert.equal(b.membership?.record.coordinator, etcd)
    assert.is(b.membership?.record.generation, 2)
    const [entry] = await world.coordinator.list(RECORD_KEY)
    await recordMove(b.authority, etcd, 2)
    assert.is((await world.coordinator.get(RECORD_KEY))?.version, entry?.version, 'no change')

    const record = decodeRecord((entry as NonNullable<typeof entry>).value)
    const old = encodeRecord({ ...record, coordinator: before ?? etcd, generation: 1 })
    await world.coordinator.compareAndSet(RECORD_KEY, entry?.version ?? 0, old)
    await refusal('ESTALE', b.membership?.refresh() ?? Promise.resolve())
    assert.equal(b.membership?.record.coordinator, etcd)
  }))

test('with the coordinator away a node starts, knows its peers and refuses strangers', () =>
  inWorld(async (world) => {
    const b = await world.member('node-b')
    const c = await world.member('node-c')
    for (const node of [b, c]) node.away = true
    const membership = await b.start()
    assert.is(membership.admit(world.a.key), 'member')
    assert.is(membership.admit(c.key), 'member')
    assert.is(membership.admit('e'.repeat(64)), null)
    assert.match(membership.refusalOf('e'.repeat(64)), /^a stranger/)
    assert.is(membership.refusalOf(c.key), '')
    await eventually('says so', () => membership.freshness.state === 'cached')
    const { freshness } = membership
    assert.is(freshness.state === 'cached' && freshness.reason, 'coordinator away')
    assert.is(b.lines.filter((line) => line.includes('members are as last known')).length, 1)
    b.away = false
    world.clock.advance(5000)
    await eventually('current again', () => membership.freshness.state === 'current')
  }))

test("this node's own key is refused: who shows it is a copy of this machine", () =>
  inWorld(async ({ a }) => {
    assert.is(a.membership?.admit(a.key), null)
    assert.match(a.membership?.refusalOf(a.key) ?? '', /a copy of this machine/)
  }))

test('a removed member is refused for ever: with its old certificate, after a restart, without the coordinator', () =>
  inWorld(async (world) => {
    const { a } = world
    const b = await world.member('node-b')
    const c = await world.member('node-c')
    const old = c.membership?.memberList()
    assert.ok(old)
    const { removedAt } = await removeMember(b.authority, idOf(c), 'stolen')
    assert.is((await removeMember(a.authority, idOf(c), 'again')).reason, 'stolen', 'once')
    await a.membership?.refresh()
    const refused = (membership: Membership | null) => {
      assert.ok(membership)
      membership.learn(old)
      assert.is(membership.admit(c.key), null)
      assert.is(membership.member(idOf(c)), null)
      assert.is(membership.refusalOf(c.key), `node ${idOf(c)}, removed at ${removedAt}`)
    }
    refused(a.membership)
    a.away = true
    refused(await a.start())
    a.away = false
    // A coordinator restored from before the removal brings nobody back.
    const entry = await world.coordinator.get(`removed/${idOf(c)}`)
    await world.coordinator.compareAndSet(`removed/${idOf(c)}`, entry?.version ?? 0, null)
    const signed = decodeMemberList(old).members.find(({ text }) => text.includes(idOf(c)))
    await world.coordinator.compareAndSet(
      `member/${idOf(c)}`,
      0,
      Buffer.from(JSON.stringify(signed)),
    )
    await a.membership?.refresh()
    refused(a.membership)
  }))

test('a member hears of joins and removals from another one while the coordinator is away, and of forgeries nothing', () =>
  inWorld(async (world) => {
    const { a } = world
    const b = await world.member('node-b')
    const c = await world.member('node-c')
    await b.membership?.refresh()
    b.away = true
    const d = await world.member('node-d')
    await removeMember(a.authority, idOf(c), '')
    await a.membership?.refresh()
    assert.is(b.membership?.admit(d.key), null)
    const list = a.membership?.memberList() ?? Buffer.alloc(0)
    b.membership?.learn(list)
    const heard = decodeMemberList(list)
    assert.is(b.membership?.admit(d.key), 'member')
    assert.is(b.membership?.admit(c.key), null)
    b.membership?.learn(encodeMemberList({ members: heard.members, removed: [], succession: null }))
    assert.is(b.membership?.admit(c.key), null)
    const [first] = heard.members
    assert.ok(first)
    const forged = { ...first, text: first.text.replace('node-', 'fake-') }
    assert.throws(
      () =>
        b.membership?.learn(encodeMemberList({ members: [forged], removed: [], succession: null })),
      (error: unknown) => error instanceof ProtocolError && /did not sign/.test(error.message),
    )
    const random = seeded(5)
    for (let i = 0; i < 500; i++) {
      const garbage = Buffer.from(list)
      for (let n = 0; n < 3; n++) garbage[random.below(garbage.length)] = random.below(256)
      const bytes = i % 2 ? garbage : garbage.subarray(0, random.below(list.length))
      const error = caught(() => b.membership?.learn(bytes))
      if (error !== undefined) assert.instance(error, ProtocolError)
    }
    assert.is(
      b.membership?.members().every(({ name }) => name.startsWith('node-')),
      true,
    )
  }))

test('where the coordinator was rebuilt is believed of a member, is not forgotten, and nothing lower is obeyed', () =>
  inWorld(async (world) => {
    const { a } = world
    const b = await world.member('node-b')
    const c = await world.member('node-c')
    for (const { membership } of [a, b, c]) await membership?.refresh()
    const announced = b.membership?.announceSuccession()
    assert.ok(announced)
    const { list, signed } = announced
    assert.is(b.membership?.record.generation, 1, 'said and not done')
    const forged = encodeMemberList({
      ...decodeMemberList(list),
      succession: { ...signed, text: signed.text.replace('"generation":2', '"generation":9') },
    })
    assert.instance(
      caught(() => a.membership?.learn(forged)),
      ProtocolError,
    )
    const stranger = { ...signed, node: 'e'.repeat(32) as typeof signed.node }
    a.membership?.learn(encodeMemberList({ ...decodeMemberList(list), succession: stranger }))
    assert.is(a.membership?.record.generation, 1)

    let told = false
    a.membership?.onChange(({ record }) => {
      told ||= record
    })
    a.membership?.learn(list)
    assert.ok(told)
    const obeyed = { kind: 'embedded', node: idOf(b) }
    assert.equal(a.membership?.record.coordinator, obeyed)
    a.away = true
    const again = await a.start()
    assert.equal([again.record.generation, again.record.coordinator], [2, obeyed])
    a.away = false
    assert.match(String(await again.refresh().catch(String)), /generation 1 is below 2/)
    // From one member to the next, with its own key, also over a restart.
    c.membership?.learn(again.memberList())
    assert.is(c.membership?.record.generation, 2)

    const entries = b.membership?.rebuilt() ?? new Map()
    const keys = [...entries.keys()].filter((key) => !key.startsWith('member-name/')).sort()
    assert.equal(keys, [
      'cluster/keys',
      'cluster/record',
      ...[a, b, c].map((node) => `member/${idOf(node)}`).sort(),
    ])
  }))

test('a list that comes late brings no older certificate back', () =>
  inWorld(async (world) => {
    const { a } = world
    const b = await world.member('node-b')
    b.away = true
    const late = a.membership?.memberList() ?? Buffer.alloc(0)
    await restateMember(a.authority, { name: 'node-z' })
    await a.membership?.refresh()
    b.membership?.learn(a.membership?.memberList() ?? Buffer.alloc(0))
    assert.is(b.membership?.member(idOf(a))?.name, 'node-z')
    b.membership?.learn(late)
    assert.is(b.membership?.member(idOf(a))?.name, 'node-z')
  }))

test('absence removes nobody: a coordinator that lost a member does not put it out', () =>
  inWorld(async (world) => {
    const b = await world.member('node-b')
    const entry = await world.coordinator.get(`member/${idOf(b)}`)
    await world.coordinator.compareAndSet(`member/${idOf(b)}`, entry?.version ?? 0, null)
    await world.a.membership?.refresh()
    assert.is(world.a.membership?.admit(b.key), 'member')
  }))

test('a coordinator of another cluster, of a lower generation or with older keys is not obeyed', () =>
  inWorld(async (world) => {
    const { a, coordinator } = world
    const stored = await coordinator.get(RECORD_KEY)
    assert.ok(stored)
    const record = decodeRecord(stored.value)
    const put = async (change: Partial<typeof record>) => {
      const now = await coordinator.get(RECORD_KEY)
      const value = encodeRecord({ ...record, ...change })
      await coordinator.compareAndSet(RECORD_KEY, now?.version ?? 0, value)
    }
    await put({ generation: 3 })
    await a.membership?.refresh()
    assert.is(a.membership?.record.generation, 3)
    const stale = async (words: RegExp) => {
      const error = await refusal('ESTALE', a.membership?.refresh() ?? Promise.resolve())
      assert.match(error.message, words)
      assert.is(a.membership?.record.generation, 3)
    }
    await put({ generation: 2 })
    await stale(/its generation 2 is below 3/)
    for (const change of [
      () => world.invite(),
      () => restateMember(a.authority, { name: 'node-z' }),
      () => rotateClusterKeys(a.authority),
      () => removeMember(a.authority, idOf(a), ''),
    ]) {
      assert.match((await refusal('ESTALE', change())).message, /not obeyed: its generation 2/)
    }
    await a.start().catch(() => null)
    await stale(/its generation 2 is below 3/)
    await put({ generation: 3, id: 'f'.repeat(32) as typeof record.id })
    await stale(/it is of the cluster lab \(f{32}\)/)
    await put({ generation: 3 })
    await a.membership?.refresh()
    await put({
      generation: 3,
      signingKey: { keyEpoch: 1, publicKey: 'a'.repeat(64) },
    })
    await stale(/its cluster keys \(1\) are not those this node has seen/)
  }))

test('after a rotation the removed member unwraps nothing, and its forgeries by the old key count for nothing', () =>
  inWorld(async (world) => {
    const { a } = world
    const b = await world.member('node-b')
    const c = await world.member('node-c')
    const before = await readCluster(world.a.authority)
    assert.ok(await withClusterKeys(c.authority, before, (keys) => keys.secret.length))
    const stolen = await copyOfSecrets(c.authority)
    await removeMember(a.authority, idOf(c), '')
    await refusal('EACCES', rotateClusterKeys(c.authority))
    assert.is(await rotateClusterKeys(a.authority), 2)
    const after = await readCluster(world.a.authority)
    assert.is(after.record.formerKey, null)
    assert.equal(after.wrapped.sealed.map(({ node }) => node).sort(), [idOf(a), idOf(b)].sort())
    const forged = stolen.forge(before.record, { name: 'node-x' })
    for (const node of [a, b]) {
      await node.membership?.refresh()
      assert.is(node.membership?.members().length, 2)
      assert.is(node.membership?.admit(c.key), null)
      node.membership?.learn(encodeMemberList({ members: [forged], removed: [], succession: null }))
      assert.is(node.membership?.members().length, 2)
      node.away = true
      const restarted = await node.start()
      assert.is(restarted.members().length, 2)
      assert.is(restarted.admit(c.key), null)
      assert.is(restarted.isRemoved(idOf(c)), true)
      node.away = false
    }
    assert.ok(a.membership?.topic && b.membership?.topic?.equals(a.membership.topic))
    await world.member('node-d')
  }))

test('a rotation that dies after any of its changes is finished by the next one', () =>
  inWorld(async (world) => {
    await world.member('node-b')
    const c = await world.member('node-c')
    await removeMember(world.a.authority, idOf(c), '')
    for (let changes = 1; ; changes++) {
      const dies = dyingAfter(world, changes)
      const ended = await rotateClusterKeys({ ...world.a.authority, coordinator: dies }).then(
        () => true,
        () => false,
      )
      await world.a.membership?.refresh()
      assert.is(world.a.membership?.members().length, 2)
      assert.ok(world.a.membership?.topic)
      if (ended) {
        assert.ok(changes > 4, 'it dies after each change once')
        break
      }
      await rotateClusterKeys(world.a.authority)
      assert.is((await readCluster(world.a.authority)).record.formerKey, null)
    }
  }))

/** The coordinator, which takes so many changes and then answers nothing. */
function dyingAfter({ coordinator }: ClusterWorld, changes: number) {
  let left = changes
  const alive = () => {
    if (left-- <= 0) throw new FsError('EHOSTUNREACH', 'coordinator')
  }
  return {
    ...{ get: coordinator.get.bind(coordinator), list: coordinator.list.bind(coordinator) },
    ...{ watch: coordinator.watch.bind(coordinator), close: coordinator.close.bind(coordinator) },
    compareAndSet: async (...change: Parameters<typeof coordinator.compareAndSet>) => {
      alive()
      return coordinator.compareAndSet(...change)
    },
    transaction: async (...change: Parameters<typeof coordinator.transaction>) => {
      alive()
      return coordinator.transaction(...change)
    },
  }
}

test('who cannot be removed is not, and is told why', () =>
  inWorld(async (world) => {
    const { a } = world
    const busy = await refusal('EBUSY', removeMember(a.authority, idOf(a), ''))
    assert.match(busy.message, /node node-a: serves the cluster's coordinator; move that first/)
    const b = world.machine('node-b')
    const missing = await refusal('ENOENT', removeMember(a.authority, idOf(b), ''))
    assert.match(missing.message, /no member of this cluster; "weft node list"/)
    await refusal('EINVAL', removeMember(a.authority, idOf(b), 'two\nlines'))
    await refusal('ENOENT', restateMember(b.authority, {}))
    const c = await world.member('node-c')
    await refusal('EEXIST', restateMember(c.authority, { name: 'NODE-A' }))
    await refusal('EINVAL', restateMember(c.authority, { name: 'no de' }))
    const nine = Array.from({ length: 9 }, () => ({ host: 'h', port: 1 }))
    const { message } = await refusal('EINVAL', restateMember(c.authority, { addresses: nine }))
    assert.match(message, /node node-c: .* at most 8 addresses/)
    assert.is((await restateMember(c.authority, { name: 'node-c' })).serial, 1)
    assert.is((await restateMember(c.authority, { name: 'node-z' })).serial, 2)
    const next = world.machine('next', { name: 'node-c' })
    await world.join(next, await world.invite())
  }))

test('a damaged cache, one of another node and one of a newer build are refused with what to do', () =>
  inWorld(async (world) => {
    const b = await world.member('node-b')
    await b.membership?.close()
    const bytes = readFileSync(cachePath(b))
    const open = () => readCache(b.home, systemDisk, b.authority.self)
    for (let at = 0; at < bytes.length; at += 37) {
      const damaged = Buffer.from(bytes)
      damaged[at] = (damaged[at] ?? 0) ^ 1
      writeFileSync(cachePath(b), damaged)
      const error = caught(open)
      // A bit of the version itself may make it a newer one.
      const newer = error instanceof FsError && error.code === 'ENOTSUP'
      assert.ok(error instanceof CorruptError || newer, `byte ${at}: ${error}`)
    }
    for (const cut of [0, 1, 100, bytes.length - 2]) {
      writeFileSync(cachePath(b), bytes.subarray(0, cut))
      const error = caught(open)
      assert.instance(error, CorruptError)
      assert.match(String(error), /damaged; put it back from a backup, or remove it and join again/)
    }
    writeFileSync(cachePath(b), bytes.toString().replace('"version":1', '"version":2'))
    const newer = caught(open)
    assert.match(String(newer), /written by a newer weft \(version 2, this build reads 1\)/)
    writeFileSync(cachePath(b), readFileSync(cachePath(world.a)))
    const c = world.machine('node-c')
    writeFileSync(cachePath(c), bytes)
    assert.instance(
      caught(() => readCache(c.home, systemDisk, c.authority.self)),
      CorruptError,
    )
    assert.is(readCache(world.dir, systemDisk, c.authority.self), null)
  }))

function caught(work: () => unknown): unknown {
  try {
    work()
    return undefined
  } catch (error) {
    return error
  }
}

test('each start of a home has a higher number, also when its cache was lost, and a copy of the home is found out', () =>
  inWorld(async (world) => {
    const b = await world.member('node-b')
    const first = b.membership?.life
    const second = (await b.start()).life
    assert.ok(first && second.start > first.start && second.session !== first.session)
    systemDisk.unlink(cachePath(b))
    await b.membership?.close()
    await world.join(b, await world.invite())
    world.clock.advance(2000)
    const third = (await b.start()).life
    assert.ok(third.start > second.start)

    const known = { ...second, sinceMs: 0 }
    assert.is(judgeLife(null, second, 0), 'first')
    assert.is(judgeLife(known, second, 1), 'same')
    assert.is(judgeLife(known, third, 1), 'next')
    assert.is(judgeLife(known, first, 1000), 'past')
    assert.is(judgeLife(known, first, 60_000), 'second')
    const clone = { session: systemRandom.bytes(16).toString('hex'), start: second.start }
    assert.is(judgeLife(known, clone, 1), 'second')
    assert.is(judgeLife(known, { ...second, start: 99 }, 1), 'second')
  }))

test('a full disk does not keep a removed member in, and the removal is written when there is room', () =>
  inWorld(async (world) => {
    const b = await world.member('node-b')
    const { a } = world
    await a.membership?.close()
    let full = false
    const disk = {
      ...systemDisk,
      replaceFile(path: string, bytes: Uint8Array) {
        if (full) throw new FsError('ENOSPC', 'disk.replaceFile')
        systemDisk.replaceFile(path, bytes)
      },
    }
    const membership = Membership.open({ ...a.authority, home: a.home, disk })
    assert.ok(membership)
    await membership.refresh()
    full = true
    await removeMember(a.authority, idOf(b), '')
    await membership.refresh()
    assert.is(membership.admit(b.key), null)
    assert.match(a.lines.join('\n'), /members not written down yet/)
    full = false
    await membership.refresh()
    await membership.close()
    assert.ok(readCache(a.home, systemDisk, a.authority.self)?.view.removed.has(idOf(b)))
  }))

test('status, node list and invites take the shapes that the API documents', () =>
  inWorld(async (world) => {
    const { a } = world
    const b = await world.member('node-b')
    await removeMember(a.authority, idOf(b), 'sold')
    await a.membership?.refresh()
    assert.ok(a.membership && b.membership)
    const status = clusterStatus.parse(toClusterStatus(a.membership))
    assert.equal(status.members, { state: 'current', reason: '', count: 1 })
    assert.equal(status.node?.addresses, ['10.0.0.1:4433'])
    await b.membership.refresh()
    assert.is(clusterStatus.parse(toClusterStatus(b.membership)).node, null)
    const { nodes } = nodeList.parse(toNodeList(a.membership, idOf(a)))
    assert.equal(
      nodes.map(({ name, state, self, reason }) => ({ name, state, self, reason })),
      [
        { name: 'node-a', state: 'member', self: true, reason: '' },
        { name: 'node-b', state: 'removed', self: false, reason: 'sold' },
      ],
    )
    await world.invite()
    const states = (await listInvites(world.coordinator)).map(
      (invite) => inviteInfo.parse(toInviteInfo(invite, world.clock.ms)).state,
    )
    assert.equal(states.sort(), ['live', 'used up'])
  }))

test('a home without a cluster has no membership', () =>
  inWorld(async (world) => {
    const b = world.machine('node-b')
    assert.is(Membership.open({ ...b.authority, home: b.home, disk: systemDisk }), null)
    assert.is(existsSync(cachePath(b)), false)
  }))

test.run()
