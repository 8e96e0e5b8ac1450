import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CorruptError, FsError } from '../../src/base/index.ts'
import {
  discoveryTopic,
  identityFromSeed,
  inviteIdOf,
  inviteKeyPair,
  newClusterKeys,
  newIdentity,
  nodeIdOf,
  openClusterKeys,
  sealClusterKeys,
  secretFrom,
  signStatement,
  verifyStatement,
  wipeClusterKeys,
} from '../../src/crypto/index.ts'

const clusterId = '0123456789abcdef0123456789abcdef'
const of = { clusterId, keyEpoch: 7 }
const node = identityFromSeed(secretFrom(Buffer.alloc(32, 1)))
/** Seed of 5s and secret of 6s, sealed to the box key of `node`, as version 1 did. */
const SEALED =
  'jZRF3o7qAnIgm5GnE46tOjeia+fNBuc7jtbFnBIi6kG9Dd3eJy6r2AnLK31RPwRHUTdr9kO+NFik6AUxHYyTb1Q8lvawQ6uxA21Ml7J85DrGoXL7wt9Rw7AZWskkt8doq0onjK1hPYfV31aZ2ZYMkM12F2gzzLfQkODbBkRlJ9V77QLvyA=='

const corrupt = (work: () => unknown, words: RegExp) =>
  assert.throws(
    work,
    (error: unknown) => error instanceof CorruptError && words.test(error.message),
  )

test('cluster keys sealed by version 1 open, with the pair they were sealed for and as what they are alone', () => {
  const sealed = Buffer.from(SEALED, 'base64')
  const keys = openClusterKeys(sealed, of, node.box)
  assert.ok(keys.seed.equals(Buffer.alloc(32, 5)))
  assert.ok(keys.secret.equals(Buffer.alloc(32, 6)))
  assert.is(keys.sign.publicKey.toString('hex').length, 64)
  corrupt(() => openClusterKeys(sealed, of, newIdentity().box), /do not open with this node key/)
  corrupt(() => openClusterKeys(sealed, { ...of, keyEpoch: 8 }, node.box), /another cluster or key/)
  corrupt(
    () => openClusterKeys(sealed, { ...of, clusterId: 'f'.repeat(32) }, node.box),
    /another cluster or key epoch/,
  )
  for (let at = 0; at < sealed.length; at++) {
    const damaged = Buffer.from(sealed)
    damaged[at] = (damaged[at] ?? 0) ^ 1
    corrupt(() => openClusterKeys(damaged, of, node.box), /do not open/)
  }
  corrupt(() => openClusterKeys(sealed.subarray(1), of, node.box), /do not open/)
})

test('new cluster keys are sealed for a node, and wiped', () => {
  const keys = newClusterKeys()
  const opened = openClusterKeys(sealClusterKeys(keys, of, node.box.publicKey), of, node.box)
  assert.ok(opened.sign.publicKey.equals(keys.sign.publicKey))
  assert.ok(opened.secret.equals(keys.secret))
  wipeClusterKeys(opened)
  for (const one of [opened.seed, opened.secret, opened.sign.secretKey])
    assert.ok(one.every((byte) => byte === 0))
  assert.not(keys.seed.every((byte) => byte === 0))
  for (const key of [Buffer.alloc(31), Buffer.alloc(32)]) {
    assert.throws(
      () => sealClusterKeys(keys, of, key),
      (error: unknown) => error instanceof FsError && error.code === 'EINVAL',
    )
  }
})

// Made with Python's hashlib.blake2b, hashlib.sha256 and cryptography's Ed25519 as well.
test('topic, invite key and ids follow as in format version 1', () => {
  assert.is(
    discoveryTopic(secretFrom(Buffer.alloc(32, 5))).toString('hex'),
    '26b90493311a41399a61746af24331f921623db2483eb06d168d311b3a30383d',
  )
  const { publicKey } = inviteKeyPair(secretFrom(Buffer.alloc(32, 2)))
  assert.is(
    publicKey.toString('hex'),
    '95cefe8fe06e02dab6d8f5b812a108652172b1f5bcc9d230364ef0ce987ba497',
  )
  assert.is(inviteIdOf(publicKey), 'e2984f229eafb47fcd5c28e52e7c9400')
  assert.is(nodeIdOf(node.sign.publicKey), 'e9bd55787d95a9127a8c27fdb89740fe')
  assert.is.not(inviteIdOf(node.sign.publicKey), nodeIdOf(node.sign.publicKey))
})

test('a statement holds for its kind, cluster, text and key alone', () => {
  const { publicKey, secretKey } = node.sign
  const made = signStatement('member', clusterId, 'text', secretKey)
  assert.ok(verifyStatement('member', clusterId, 'text', made, publicKey))
  assert.not(verifyStatement('removal', clusterId, 'text', made, publicKey))
  assert.not(verifyStatement('member', 'f'.repeat(32), 'text', made, publicKey))
  assert.not(verifyStatement('member', clusterId, 'texts', made, publicKey))
  assert.not(verifyStatement('member', clusterId, 'text', made.subarray(1), publicKey))
  assert.not(verifyStatement('member', clusterId, 'text', made, newIdentity().sign.publicKey))
})

test.run()
