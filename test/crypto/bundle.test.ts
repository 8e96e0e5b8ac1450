import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CorruptError, codeOf, hexId, type KeyEpoch, type VolumeId } from '../../src/base/index.ts'
import {
  addSlot,
  createBundle,
  dropEpochs,
  formatShare,
  type KeyBundle,
  type KeyPair,
  newBoxKeyPair,
  newSecret,
  type OpenedKeys,
  type Opener,
  openBlob,
  openBundle,
  parseBundle,
  parseShare,
  passphraseMinimum,
  removeSlot,
  rotate,
  sealBlob,
  splitSeed,
  wipeOpened,
} from '../../src/crypto/index.ts'
import { goldenBundle, goldenNode, goldenPassphrase, goldenShares } from './golden.ts'

const volume = hexId<VolumeId>('0123456789abcdef0123456789abcdef')
const other = hexId<VolumeId>('ffffffffffffffffffffffffffffffff')
const when = '2025-11-23T00:00:00Z'

interface World {
  node: KeyPair
  bundle: KeyBundle
  opened: OpenedKeys
  shares: Buffer[]
  close(): void
}

/** A volume with slots 1 node, 2 recipient, 3 passphrase "open sesame", 4 shares 3 of 5. */
async function world(): Promise<World & { friend: KeyPair }> {
  const node = newBoxKeyPair()
  const friend = newBoxKeyPair()
  const made = await createBundle(
    volume,
    [{ kind: 'node', label: 'a', publicKey: node.publicKey }],
    when,
  )
  const { opened } = made
  let { bundle } = made
  const recipient = { kind: 'recipient', label: 'friend', publicKey: friend.publicKey } as const
  bundle = (await addSlot(bundle, opened, recipient, when)).bundle
  const passphrase = Buffer.from('open sesame')
  const words = { kind: 'passphrase', label: 'words', passphrase, ...passphraseMinimum } as const
  bundle = (await addSlot(bundle, opened, words, when)).bundle
  const split = await addSlot(
    bundle,
    opened,
    { kind: 'shares', label: 'board', shares: 5, threshold: 3 },
    when,
  )
  const close = () => wipeOpened(opened)
  return { node, friend, bundle: split.bundle, opened, shares: split.shares ?? [], close }
}

const byPair = (pair: KeyPair): Opener => ({ kind: 'keypair', ...pair })
const byWords = (words: string): Opener => ({ kind: 'passphrase', passphrase: Buffer.from(words) })
const byShares = (shares: Buffer[]): Opener => ({ kind: 'shares', shares })

async function failure(work: () => unknown): Promise<Error & { code?: string }> {
  try {
    await work()
  } catch (error) {
    if (error instanceof Error) return error
  }
  throw new Error('expected a failure')
}

function everyOpener({ node, friend, shares }: World & { friend: KeyPair }): Opener[] {
  return [byPair(node), byPair(friend), byWords('open sesame'), byShares(shares.slice(1, 4))]
}

test('every opener gets the same keys, through its own slot', async () => {
  const w = await world()
  try {
    const value = sealBlob(w.opened.keys.newestKeys().view, Buffer.from('hello'), null)
    const slots: number[] = []
    for (const opener of everyOpener(w)) {
      const opened = await openBundle(w.bundle, volume, opener)
      slots.push(opened.slot.id)
      assert.is(openBlob(opened.keys.newestKeys().view, value, null).toString(), 'hello')
      assert.ok(opened.keys.nameKey.equals(w.opened.keys.nameKey))
      wipeOpened(opened)
      assert.ok(opened.kek.every((byte) => byte === 0))
    }
    assert.equal(slots, [1, 2, 3, 4])
  } finally {
    w.close()
  }
})

test('a bundle is JSON that survives a round trip and holds no secret in clear', async () => {
  const w = await world()
  try {
    const text = JSON.stringify(w.bundle)
    const read = parseBundle(JSON.parse(text))
    assert.equal(read, w.bundle)
    wipeOpened(await openBundle(read, volume, byPair(w.node)))
    const { chunk } = w.opened.keys.newestKeys()
    for (const secret of [w.opened.kek, chunk, w.opened.keys.nameKey]) {
      assert.not(text.includes(secret.toString('base64')))
      assert.not(text.includes(secret.toString('base64').slice(0, 20)))
    }
    assert.not(text.includes('open sesame'))
  } finally {
    w.close()
  }
})

test('a wrong passphrase is EKEYREJECTED, and an opener without a slot of its sort is ENOKEY', async () => {
  const w = await world()
  try {
    const wrong = await failure(() => openBundle(w.bundle, volume, byWords('open sesam')))
    assert.is(wrong.code, 'EKEYREJECTED')
    assert.match(wrong.message, /wrong passphrase/)
    const stranger = await failure(() => openBundle(w.bundle, volume, byPair(newBoxKeyPair())))
    assert.is(stranger.code, 'ENOKEY')
    const mixed = { ...byPair(w.node), secretKey: newBoxKeyPair().secretKey } as Opener
    assert.is((await failure(() => openBundle(w.bundle, volume, mixed))).code, 'EKEYREJECTED')
    const bare = removeSlot(removeSlot(w.bundle, 3), 4)
    const words = byWords('open sesame')
    assert.is((await failure(() => openBundle(bare, volume, words))).code, 'ENOKEY')
    const board = byShares(w.shares)
    assert.is((await failure(() => openBundle(bare, volume, board))).code, 'ENOKEY')
    assert.is((await failure(() => openBundle(w.bundle, volume, byWords('')))).code, 'EINVAL')
  } finally {
    w.close()
  }
})

test('any three of five shares open the volume and no two do', async () => {
  const w = await world()
  try {
    const { shares } = w
    assert.is(shares.length, 5)
    // A bundle that claims two are enough: the refusal must come from the mathematics, not from counting.
    const lying: KeyBundle = {
      ...w.bundle,
      slots: w.bundle.slots.map((slot) =>
        slot.kind === 'shares' ? { ...slot, threshold: 2 } : slot,
      ),
    }
    for (let mask = 1; mask < 32; mask++) {
      const some = shares.filter((_, i) => mask & (1 << i))
      if (some.length >= 3) {
        wipeOpened(await openBundle(w.bundle, volume, byShares(some)))
        continue
      }
      const few = await failure(() => openBundle(w.bundle, volume, byShares(some)))
      assert.is(few.code, 'EKEYREJECTED')
      assert.match(few.message, /needs 3 of 5/)
      if (some.length < 2) continue
      assert.is(
        (await failure(() => openBundle(lying, volume, byShares(some)))).code,
        'EKEYREJECTED',
      )
    }
  } finally {
    w.close()
  }
})

test('a share that is wrong, given twice, or of another length is refused', async () => {
  const w = await world()
  try {
    const [a, b, c] = w.shares as [Buffer, Buffer, Buffer]
    const bent = Buffer.from(c)
    bent[0] = (bent[0] as number) ^ 1
    const open = (shares: Buffer[]) => openBundle(w.bundle, volume, byShares(shares))
    assert.is((await failure(() => open([a, b, bent]))).code, 'EKEYREJECTED')
    assert.is((await failure(() => open([a, b, a]))).code, 'EINVAL')
    assert.is((await failure(() => open([a, b, c.subarray(1)]))).code, 'EINVAL')
    const short = [a, b, c].map((share) => share.subarray(1))
    assert.is((await failure(() => open(short))).code, 'EKEYREJECTED')
  } finally {
    w.close()
  }
})

test('a written share reads back, and a slip in any character is noticed', async () => {
  const [share] = (await splitSeed(newSecret(), 2, 2)) as [Buffer, Buffer]
  const line = formatShare(volume, 4, 3, share)
  const read = parseShare(`  ${line}\n`)
  assert.equal(
    { ...read, share: read.share.toString('hex') },
    { volumeStart: '01234567', slot: 4, threshold: 3, share: share.toString('hex') },
  )
  for (let i = 0; i < line.length; i++) {
    const slip = line.slice(0, i) + (line[i] === '1' ? '2' : '1') + line.slice(i + 1)
    assert.is((await failure(() => parseShare(slip))).code, 'EINVAL', slip)
    assert.is((await failure(() => parseShare(line.slice(0, i)))).code, 'EINVAL')
  }
})

test('a seed is split only into numbers of shares that make sense', async () => {
  for (const [n, k] of [
    [1, 1],
    [5, 1],
    [2, 3],
    [256, 3],
    [5, 2.5],
    [Number.NaN, 2],
  ] as const) {
    assert.is((await failure(() => splitSeed(newSecret(), n, k))).code, 'EINVAL', `${k} of ${n}`)
  }
})

test('after a rotation every opener works, has both epochs, and the old secrets open nothing new', async () => {
  const w = await world()
  try {
    const old = w.opened
    const before = sealBlob(old.keys.newestKeys().journal, Buffer.from('before'), null)
    const turned = rotate(w.bundle, old)
    const { bundle } = turned
    assert.is(bundle.newest, 2)
    const after = sealBlob(turned.opened.keys.newestKeys().journal, Buffer.from('after'), null)
    for (const opener of everyOpener(w)) {
      const opened = await openBundle(bundle, volume, opener)
      assert.equal(opened.keys.epochs(), [1, 2])
      const [first, second] = [opened.keys.get(1 as KeyEpoch), opened.keys.newestKeys()]
      assert.is(openBlob(first.journal, before, null).toString(), 'before')
      assert.is(openBlob(second.journal, after, null).toString(), 'after')
      assert.ok(opened.keys.nameKey.equals(old.keys.nameKey), 'names are found by the same hash')
      wipeOpened(opened)
    }
    // The old keys neither hold the new epoch, nor open its bytes, nor open or change the new bundle.
    assert.is(codeOf(await failure(() => old.keys.get(2 as KeyEpoch))), 'ENOKEY')
    const stale = await failure(() => openBlob(old.keys.newestKeys().journal, after, null))
    assert.instance(stale, CorruptError)
    assert.not(old.kek.equals(turned.opened.kek))
    assert.instance(await failure(() => rotate(bundle, old)), CorruptError)
    assert.instance(await failure(() => dropEpochs(bundle, old, 1 as KeyEpoch)), CorruptError)
    const late = { kind: 'node', label: 'late', publicKey: newBoxKeyPair().publicKey } as const
    assert.instance(await failure(() => addSlot(bundle, old, late, when)), CorruptError)
    wipeOpened(turned.opened)
  } finally {
    w.close()
  }
})

test('a removed slot opens the rotated bundle no more', async () => {
  const w = await world()
  try {
    const { bundle } = rotate(removeSlot(w.bundle, 2), w.opened)
    assert.is((await failure(() => openBundle(bundle, volume, byPair(w.friend)))).code, 'ENOKEY')
    // Not even with his old slot put back: it wraps the old KEK.
    const old = w.bundle.slots.find((slot) => slot.id === 2)
    assert.ok(old)
    const forged = { ...bundle, slots: [...bundle.slots, old] }
    assert.instance(await failure(() => openBundle(forged, volume, byPair(w.friend))), CorruptError)
  } finally {
    w.close()
  }
})

test('dropped key epochs are gone for every opener, and the newest cannot be dropped', async () => {
  const w = await world()
  try {
    const once = rotate(w.bundle, w.opened)
    const twice = rotate(once.bundle, once.opened)
    const dropped = dropEpochs(twice.bundle, twice.opened, 3 as KeyEpoch)
    assert.equal(dropped.opened.keys.epochs(), [3])
    for (const opener of everyOpener(w)) {
      const { keys } = await openBundle(dropped.bundle, volume, opener)
      assert.equal(keys.epochs(), [3])
      assert.is(codeOf(await failure(() => keys.get(2 as KeyEpoch))), 'ENOKEY')
    }
    assert.is(rotate(dropped.bundle, dropped.opened).bundle.newest, 4)
    const all = () => dropEpochs(twice.bundle, twice.opened, 4 as KeyEpoch)
    assert.is((await failure(all)).code, 'EINVAL')
    wipeOpened(twice.opened)
    assert.not(
      dropped.opened.kek.every((byte) => byte === 0),
      'what was returned is independent of what was given',
    )
  } finally {
    w.close()
  }
})

test('the last slot stays, an unknown one is named, and a slot number is never given twice', async () => {
  const w = await world()
  try {
    let { bundle } = w
    const unknown = await failure(() => removeSlot(bundle, 9))
    assert.is(unknown.code, 'ENOENT')
    assert.match(unknown.message, /1, 2, 3, 4/)
    for (const id of [4, 1, 2]) bundle = removeSlot(bundle, id)
    const last = await failure(() => removeSlot(bundle, 3))
    assert.is(last.code, 'EBUSY')
    assert.match(last.message, /last one/)
    wipeOpened(await openBundle(bundle, volume, byWords('open sesame')))
    const request = { kind: 'recipient', label: 'new', publicKey: w.friend.publicKey } as const
    assert.is((await addSlot(bundle, w.opened, request, when)).slot.id, 5)
  } finally {
    w.close()
  }
})

test('verbs change no bundle they are given', async () => {
  const w = await world()
  try {
    const before = JSON.stringify(w.bundle)
    removeSlot(w.bundle, 1)
    dropEpochs(w.bundle, w.opened, 1 as KeyEpoch)
    rotate(w.bundle, w.opened)
    const request = { kind: 'node', label: 'x', publicKey: newBoxKeyPair().publicKey } as const
    await addSlot(w.bundle, w.opened, request, when)
    assert.is(JSON.stringify(w.bundle), before)
  } finally {
    w.close()
  }
})

test('slots that cannot be are refused with a reason', async () => {
  const w = await world()
  try {
    const add = (request: Parameters<typeof addSlot>[2]) =>
      failure(() => addSlot(w.bundle, w.opened, request, when))
    const fresh = newBoxKeyPair().publicKey
    const kind = 'recipient'
    assert.is((await add({ kind, label: '', publicKey: w.node.publicKey })).code, 'EEXIST')
    assert.is((await add({ kind, label: '', publicKey: fresh.subarray(1) })).code, 'EINVAL')
    assert.is((await add({ kind, label: '', publicKey: Buffer.alloc(32) })).code, 'EINVAL')
    assert.is((await add({ kind, label: 'a\nb', publicKey: fresh })).code, 'EINVAL')
    assert.is((await add({ kind, label: 'x'.repeat(201), publicKey: fresh })).code, 'EINVAL')
    assert.is((await add({ kind: 'shares', label: '', shares: 2, threshold: 3 })).code, 'EINVAL')
    const words = { kind: 'passphrase', label: '', passphrase: Buffer.from('x') } as const
    assert.is((await add({ ...words, passphrase: Buffer.alloc(0) })).code, 'EINVAL')
    assert.is((await add({ ...words, opsLimit: 0 })).code, 'EINVAL')
    assert.is((await add({ ...words, opsLimit: 1000 })).code, 'EINVAL')
    assert.is((await add({ ...words, memLimitBytes: 2 ** 40 })).code, 'EINVAL')
    assert.is((await failure(() => createBundle(volume, [], when))).code, 'EINVAL')
  } finally {
    w.close()
  }
})

test('a bundle belongs to one volume, and a change to its keyring or newest epoch is noticed', async () => {
  const w = await world()
  try {
    const open = (bundle: KeyBundle, id: VolumeId) =>
      failure(() => openBundle(bundle, id, byPair(w.node)))
    assert.instance(await open(w.bundle, other), CorruptError)
    assert.instance(await open({ ...w.bundle, newest: 2 }, volume), CorruptError)
    const sealed = Buffer.from(w.bundle.keyringSealed, 'base64')
    for (let i = 0; i < sealed.length; i++) {
      sealed[i] = (sealed[i] as number) ^ 4
      const keyringSealed = sealed.toString('base64')
      assert.instance(await open({ ...w.bundle, keyringSealed }, volume), CorruptError)
      sealed[i] = (sealed[i] as number) ^ 4
    }
    const damaged = w.bundle.slots.map((slot) => ({ ...slot, sealed: 'AAAA'.repeat(27) }))
    const bent = { ...w.bundle, slots: damaged }
    assert.is((await open(bent, volume)).code, 'EKEYREJECTED')
    const words = byWords('open sesame')
    assert.instance(await failure(() => openBundle(bent, volume, words)), CorruptError)
  } finally {
    w.close()
  }
})

test('the default passphrase slot costs argon2id at libsodium INTERACTIVE and opens', async () => {
  const w = await world()
  try {
    const passphrase = Buffer.from('slow words')
    const request = { kind: 'passphrase', label: '', passphrase } as const
    const { bundle, slot } = await addSlot(w.bundle, w.opened, request, when)
    assert.is(slot.opsLimit, 2)
    assert.is(slot.memLimitBytes, 64 * 1024 * 1024)
    const opened = await openBundle(bundle, volume, byWords('slow words'))
    assert.is(opened.slot.id, slot.id)
    assert.is(passphrase.toString(), 'slow words', 'the passphrase stays its owner to wipe')
  } finally {
    w.close()
  }
})

test('a bundle written by format version 1 opens in every way', async () => {
  const bundle = parseBundle(JSON.parse(goldenBundle))
  const node = {
    kind: 'keypair',
    publicKey: Buffer.from(goldenNode.publicKey, 'hex'),
    secretKey: Buffer.from(goldenNode.secretKey, 'hex'),
  } as const
  const shares = goldenShares.map((line) => parseShare(line).share)
  for (const opener of [node, byWords(goldenPassphrase), byShares(shares)]) {
    const { keys } = await openBundle(bundle, volume, opener)
    assert.equal(keys.epochs(), [1, 2])
    assert.is(keys.nameKey.toString('hex'), goldenNode.nameKey)
    assert.is(keys.get(1 as KeyEpoch).chunk.toString('hex'), goldenNode.chunkKey1)
  }
})

test('what is not a bundle is refused by name, whatever it is', async () => {
  const w = await world()
  try {
    const good = JSON.parse(JSON.stringify(w.bundle))
    const newer = await failure(() => parseBundle({ ...good, version: 2 }))
    assert.is(newer.code, 'ENOTSUP')
    assert.match(newer.message, /newer weft/)
    const [node, , words, board] = good.slots
    const wrong: unknown[] = [null, 1, 'x', [], {}, { ...good, version: '1' }]
    wrong.push({ ...good, slots: [] }, { ...good, slots: 'x' }, { ...good, slots: [node, node] })
    wrong.push({ ...good, newest: 0 }, { ...good, newest: 1.5 }, { ...good, nextSlot: 4 })
    wrong.push({ ...good, keyringSealed: 'not base64!' })
    for (const bad of [
      { ...node, kind: 'king' },
      { ...node, id: -1 },
      { ...node, label: 7 },
      { ...node, publicKey: 'AAAA' },
      { ...node, sealed: node.publicKey },
      { ...words, salt: undefined },
      { ...words, memLimitBytes: 2 ** 41 },
      { ...words, opsLimit: 1e9 },
      { ...board, threshold: 6 },
      { ...board, threshold: 1 },
      { ...board, shares: 256 },
    ]) {
      wrong.push({ ...good, slots: [bad] })
    }
    for (const value of wrong) {
      assert.instance(await failure(() => parseBundle(value)), CorruptError, JSON.stringify(value))
    }
  } finally {
    w.close()
  }
})

test.run()
