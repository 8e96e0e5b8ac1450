import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CorruptError, type KeyEpoch, systemClock } from '../../src/base/index.ts'
import {
  newBoxKeyPair,
  openBlob,
  passphraseMinimum,
  rotate,
  sameBytes,
  sealBlob,
  wipeOpened,
} from '../../src/crypto/index.ts'
import { systemDisk } from '../../src/disk/index.ts'
import {
  KeysService,
  openNodeIdentity,
  parseRecipient,
  type StoredVolume,
} from '../../src/volumes/index.ts'
import { openVolumesWorld, refusal, type VolumesWorld } from './world.ts'

const node = { kind: 'node' } as const
const phrase = (text: string) => ({ kind: 'passphrase' as const, passphrase: Buffer.from(text) })
const addPhrase = (text: string) => ({ ...phrase(text), label: text, ...passphraseMinimum })

function inWorld(work: (world: VolumesWorld, volume: StoredVolume) => Promise<void>) {
  return async () => {
    const world = await openVolumesWorld()
    try {
      await work(world, await world.create('name=a'))
    } finally {
      await world.close()
    }
  }
}

/** A second node with a home of its own, at work on the same coordinator. */
function anotherNode(world: VolumesWorld): KeysService {
  const identity = openNodeIdentity(
    join(world.dir, 'home-2'),
    systemDisk,
    '2026-11-23T00:00:00.000Z',
  )
  return new KeysService(world.another(), identity, systemClock())
}

const now = async (world: VolumesWorld) => (await world.registry.find('a')).record

test(
  'the node that creates a volume opens it, and the list shows its slot',
  inWorld(async ({ keys }, { record }) => {
    const opened = await keys.open(record, node)
    assert.equal(opened.keys.epochs(), [1])
    wipeOpened(opened)
    const [slot] = keys.list(record)
    assert.ok(slot?.thisNode)
    assert.is(slot.kind, 'node')
    assert.not.ok('sealed' in slot)
  }),
)

test('a passphrase and recipients given at creation open the volume too', async () => {
  const world = await openVolumesWorld()
  try {
    const pair = newBoxKeyPair()
    const recipients = [pair.publicKey.toString('base64')]
    const { spec, copies } = (await world.create('name=x')).record
    const places = copies.map(({ node, drive }) => ({ node, drive }))
    const { record } = await world.registry.create({
      spec: { ...spec, name: 'y' },
      places,
      makeKeys: (id) =>
        world.keys.createKeys(id, { passphrase: Buffer.from('open sesame'), recipients }),
    })
    assert.equal(
      world.keys.list(record).map(({ kind }) => kind),
      ['node', 'recipient', 'passphrase'],
    )
    wipeOpened(await world.keys.open(record, phrase('open sesame')))
    wipeOpened(await world.keys.open(record, { kind: 'keypair', ...pair }))
    await refusal('EKEYREJECTED', world.keys.open(record, phrase('wrong')))
  } finally {
    await world.close()
  }
})

test(
  'a node without a slot is told how to open the volume',
  inWorld(async (world, { record }) => {
    const error = await refusal('ENOKEY', anotherNode(world).open(record, node))
    assert.is(error.message, 'volume a: this node has no key slot for it')
  }),
)

test(
  'slots are added and removed; the last one stays',
  inWorld(async (world, { record }) => {
    const { keys } = world
    const added = await keys.add(record.id, addPhrase('one'), node)
    assert.is(added.slot.id, 2)
    assert.equal(added.shares, [])
    wipeOpened(await keys.open(await now(world), phrase('one')))
    await keys.remove(record.id, 1)
    const last = await refusal('EBUSY', keys.remove(record.id, 2))
    assert.match(last.message, 'slot 2 is the last one')
    await refusal('ENOENT', keys.remove(record.id, 9))
    await refusal('ENOKEY', keys.add(record.id, addPhrase('two'), node))
    await keys.add(record.id, addPhrase('two'), phrase('one'))
    assert.equal(
      keys.list(await now(world)).map(({ label }) => label),
      ['one', 'two'],
    )
  }),
)

test(
  'two nodes that add slots at once lose neither',
  inWorld(async (world, { record }) => {
    const other = new KeysService(world.another(), world.node, systemClock())
    const results = await Promise.all(
      [0, 1, 2, 3].map((i) =>
        (i % 2 ? other : world.keys).add(record.id, addPhrase(`p${i}`), node),
      ),
    )
    const slots = world.keys.list(await now(world))
    assert.is(slots.length, 5)
    assert.is(new Set(slots.map(({ id }) => id)).size, 5)
    for (const { slot } of results)
      assert.ok(slots.some(({ id, label }) => id === slot.id && label === slot.label))
  }),
)

test(
  'rotation gives a new key epoch that every slot opens, and the old keys open nothing new',
  inWorld(async (world, { record }) => {
    await world.keys.add(record.id, addPhrase('one'), node)
    const before = await world.keys.open(await now(world), node)
    const { opened, stored } = await world.keys.rotate(record.id, {
      kind: 'opened',
      opened: before,
    })
    assert.is(stored.record.keys.newest, 2)
    assert.equal(opened.keys.epochs(), [1, 2])
    for (const opener of [node, phrase('one')]) {
      const again = await world.keys.open(await now(world), opener)
      assert.ok(
        sameBytes(again.keys.get(2 as KeyEpoch).chunk, opened.keys.get(2 as KeyEpoch).chunk),
      )
      wipeOpened(again)
    }
    const sealed = sealBlob(opened.keys.newestKeys().journal, Buffer.from('new'), null)
    assert.throws(() => openBlob(before.keys.newestKeys().journal, sealed, null))
    const dropped = await world.keys.dropEpochs(record.id, 2 as KeyEpoch, node)
    assert.equal(dropped.opened.keys.epochs(), [2])
    for (const each of [before, opened, dropped.opened]) wipeOpened(each)
  }),
)

test(
  'three of five shares recover a volume for a node that had lost its key',
  inWorld(async (world, { record }) => {
    const { shares, slot } = await world.keys.split(
      record.id,
      { shares: 5, threshold: 3, label: 'board' },
      node,
    )
    assert.is(shares.length, 5)
    assert.equal([slot.shares, slot.threshold], [5, 3])
    await world.keys.remove(record.id, 1)
    const other = anotherNode(world)
    await refusal(
      'EKEYREJECTED',
      other.recover(record.id, { kind: 'shares', shares: shares.slice(0, 2) }),
    )
    const recovered = await other.recover(record.id, { kind: 'shares', shares: shares.slice(2) })
    assert.is(recovered.record.keys.slots.length, 2)
    wipeOpened(await other.open(recovered.record, node))
    const again = await other.recover(record.id, { kind: 'shares', shares: shares.slice(0, 3) })
    assert.is(again.record.keys.slots.length, 2, 'a node that has a slot gets no second one')
  }),
)

test(
  'a drill proves a backup and changes nothing',
  inWorld(async (world, { record }) => {
    await world.keys.add(record.id, addPhrase('one'), node)
    const before = await world.registry.get(record.id)
    const text = world.keys.exportBackup(before.record)
    for (const opener of [node, phrase('one')]) {
      const good = await world.keys.drill(before.record, text, opener)
      assert.equal([good.epochs, good.missingEpochs, good.compared], [[1], [], true])
    }
    assert.is((await world.keys.drill(before.record, text, phrase('one'))).slot.label, 'one')
    assert.ok(
      (await world.keys.drill(before.record, null, phrase('one'))).missingEpochs.length === 0,
    )
    await refusal('EKEYREJECTED', world.keys.drill(before.record, text, phrase('wrong')))
    assert.equal(await world.registry.get(record.id), before)
  }),
)

test(
  'a drill names the key epochs that an old backup lacks, also where the node cannot compare',
  inWorld(async (world, { record }) => {
    await world.keys.add(record.id, addPhrase('one'), node)
    const old = world.keys.exportBackup(await now(world))
    wipeOpened((await world.keys.rotate(record.id, node)).opened)
    const stale = await world.keys.drill(await now(world), old, phrase('one'))
    assert.equal([stale.epochs, stale.missingEpochs, stale.compared], [[1], [2], true])
    const blind = await anotherNode(world).drill(await now(world), old, phrase('one'), [
      1 as KeyEpoch,
    ])
    assert.equal([blind.missingEpochs, blind.compared], [[2], false])
  }),
)

test(
  'importing a backup brings back slots that were removed',
  inWorld(async (world, { record }) => {
    await world.keys.add(record.id, addPhrase('one'), node)
    const text = world.keys.exportBackup(await now(world))
    await world.keys.add(record.id, addPhrase('two'), node)
    await world.keys.remove(record.id, 2)
    const { replaced, stored } = await world.keys.importBackup(record.id, text, node)
    assert.not.ok(replaced)
    assert.equal(
      world.keys
        .list(stored.record)
        .map(({ label, id }) => [label, id])
        .slice(1),
      [
        ['two', 3],
        ['one', 4],
      ],
    )
    wipeOpened(await world.keys.open(stored.record, phrase('one')))
    wipeOpened(await world.keys.open(stored.record, phrase('two')))
  }),
)

test(
  'importing mends keys that are damaged, and keeps what it replaced',
  inWorld(async (world, { record }) => {
    const text = world.keys.exportBackup(record)
    const { version } = await world.registry.get(record.id)
    const damaged = { ...record.keys, keyringSealed: Buffer.alloc(113, 3).toString('base64') }
    await world.registry.setKeys(record.id, damaged, version)
    const opening = await world.keys.open(await now(world), node).catch((error: unknown) => error)
    assert.instance(opening, CorruptError)
    const { replaced, stored } = await world.keys.importBackup(record.id, text, node)
    assert.ok(replaced)
    wipeOpened(await world.keys.open(stored.record, node))
    const kept = await world.coordinator.list(`replaced-keys/${record.id}/`)
    assert.equal(
      kept.map(({ value }) => JSON.parse(value.toString())),
      [damaged],
    )
    await world.registry.markDeleting(record.id)
    await world.registry.remove(record.id)
    assert.equal(
      await world.coordinator.list('replaced-keys/'),
      [],
      'with the volume goes every key of it',
    )
  }),
)

test(
  'importing never puts older or other keys in the place of whole ones',
  inWorld(async (world, { record }) => {
    await world.keys.add(record.id, addPhrase('one'), node)
    const old = world.keys.exportBackup(await now(world))
    const atOne = await now(world)
    wipeOpened((await world.keys.rotate(record.id, node)).opened)
    const rotated = await world.registry.get(record.id)
    const older = await refusal('EINVAL', world.keys.importBackup(record.id, old, phrase('one')))
    assert.is(
      older.message,
      'volume a: the backup ends at key epoch 1 and the volume is at 2, what was written since could not be read; use a newer backup',
    )
    assert.equal(await world.registry.get(record.id), rotated)
    // A second life of epoch 2: the record was put back from the old bundle by force, and rotated again.
    const other = anotherNode(world)
    const opened = await other.open(atOne, phrase('one'))
    const fork = rotate(atOne.keys, opened)
    const forked = other.exportBackup({ ...atOne, keys: fork.bundle })
    const refused = await refusal(
      'EEXIST',
      world.keys.importBackup(record.id, forked, phrase('one')),
    )
    assert.match(
      refused.message,
      'its keys are whole, and the backup has others for key epoch 2; nothing was changed',
    )
    assert.equal(await world.registry.get(record.id), rotated)
    const drilled = await world.keys.drill(rotated.record, forked, phrase('one'))
    assert.equal(drilled.missingEpochs, [2])
    wipeOpened(opened)
    wipeOpened(fork.opened)
  }),
)

test(
  'a backup of another volume is refused',
  inWorld(async (world, { record }) => {
    const other = await world.create('name=b')
    const text = world.keys.exportBackup(other.record)
    await refusal('EINVAL', world.keys.importBackup(record.id, text, node))
    await refusal('EINVAL', world.keys.drill(record, text, node))
    // A file that a person gives: its damage is no bug of the node's.
    const cut = text.slice(0, 300)
    assert.match(
      (await refusal('EINVAL', world.keys.drill(record, cut, node))).message,
      /damaged backup: .*cut short/,
    )
    await refusal('EINVAL', world.keys.importBackup(record.id, cut, node))
  }),
)

test('a recipient that is no public key is refused with the command that makes one', () => {
  const good = newBoxKeyPair().publicKey.toString('base64')
  assert.is(parseRecipient(`${good}\n`).length, 32)
  for (const text of ['', 'x', good.slice(1), `${good}=`, 'ssh-ed25519 AAAA']) {
    assert.throws(
      () => parseRecipient(text),
      /not a public key \(44 characters of base64\); weft key create/,
    )
  }
})

test.run()
