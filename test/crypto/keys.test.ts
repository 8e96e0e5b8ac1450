import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { KeyEpoch } from '../../src/base/index.ts'
import {
  deriveNameKey,
  deriveSubKeys,
  type ExportedKeys,
  identityFromSeed,
  nameHash,
  newBoxKeyPair,
  newDataKey,
  newIdentity,
  newSecret,
  openBlob,
  type SubKeys,
  sameBytes,
  secretFrom,
  sign,
  VolumeKeys,
  verify,
  wipe,
  wipeIdentity,
} from '../../src/crypto/index.ts'

const zero = (bytes: Uint8Array) => bytes.every((byte) => byte === 0)

function threeEpochs(): VolumeKeys {
  const byEpoch = new Map<KeyEpoch, SubKeys>()
  for (const epoch of [3, 1, 2]) byEpoch.set(epoch as KeyEpoch, deriveSubKeys(newDataKey()))
  return new VolumeKeys(3 as KeyEpoch, deriveNameKey(newSecret()), byEpoch)
}

test('a secret moves into memory of its own and its source is wiped', () => {
  const source = Buffer.from('correct horse')
  const secret = secretFrom(source)
  assert.is(secret.toString(), 'correct horse')
  assert.ok(zero(source))
  assert.is(secret.buffer.byteLength, secret.length, 'not a slice of the shared pool')
  wipe(secret)
  assert.ok(zero(secret))
})

test('new secrets have the length asked for and are never the same', () => {
  assert.is(newSecret().length, 32)
  assert.is(newSecret(16).length, 16)
  assert.not(sameBytes(newSecret(), newSecret()))
  assert.not(sameBytes(newSecret(), newSecret(31)))
})

// The values were made with Python's hashlib.blake2b (key, salt = number, person = context) as well.
test('sub-keys follow from the data key as in format version 1, and none tells another', () => {
  const dataKey = Buffer.from(Array.from({ length: 32 }, (_, i) => i))
  const { chunk, journal, view } = deriveSubKeys(dataKey)
  assert.is(
    chunk.toString('hex'),
    '3943656b97266dc931db3251adad2565c445ed97dc48b853bd7dafc83469253c',
  )
  assert.is(
    journal.toString('hex'),
    '690769cc6c5f6bc9740a1898999837ee29323cbc05dcc6752df099a19b76d767',
  )
  assert.is(
    view.toString('hex'),
    '44e7f2cb034c82275f91d5d5cd9365609c536fcdce610974e02049782dab0026',
  )
  assert.is(deriveNameKey(dataKey).toString('hex'), '00038e759cf9ffe3057ade612f11ec38')
})

test('a name hash is siphash-2-4, written where asked', () => {
  const key = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex')
  const out = Buffer.alloc(12, 0xee)
  // The example of the SipHash paper, appendix A: 0xa129ca6149be45e5 for the bytes 00 to 0e.
  nameHash(key, Buffer.from('000102030405060708090a0b0c0d0e', 'hex'), out, 2)
  assert.is(out.toString('hex'), 'eeeee545be4961ca29a1eeee')
  assert.throws(() => nameHash(key, out, out, 5))
})

test('keys of an epoch that a volume does not have are refused with ENOKEY', () => {
  const keys = threeEpochs()
  assert.equal(keys.epochs(), [1, 2, 3])
  assert.is(keys.newestKeys(), keys.get(3 as KeyEpoch))
  assert.is.not(keys.get(1 as KeyEpoch), keys.get(2 as KeyEpoch))
  assert.throws(
    () => keys.get(4 as KeyEpoch),
    (error: { code?: string; errno?: number; message: string }) =>
      error.code === 'ENOKEY' && error.errno === -126 && error.message.includes('1, 2, 3'),
  )
})

test('wiped volume keys are zeros and answer ENOKEY for every epoch', () => {
  const keys = threeEpochs()
  const { chunk, journal, view } = keys.get(2 as KeyEpoch)
  const { nameKey } = keys
  keys.wipe()
  for (const buffer of [chunk, journal, view, nameKey]) assert.ok(zero(buffer))
  const locked = (error: { code?: string }) => error.code === 'ENOKEY'
  assert.throws(() => keys.get(2 as KeyEpoch), locked)
  assert.throws(() => keys.newestKeys(), locked)
  assert.throws(() => keys.export(), locked)
})

test('exported keys move by transfer, arrive whole, and leave no copy on either side', () => {
  const keys = threeEpochs()
  const { port1, port2 } = new MessageChannel()
  try {
    const exported = keys.export()
    port1.postMessage(exported, [exported.bytes])
    assert.is(exported.bytes.byteLength, 0, 'the sender has it no more')
    const received = receiveMessageOnPort(port2)?.message as ExportedKeys
    const arrived = VolumeKeys.import(received)
    assert.ok(zero(new Uint8Array(received.bytes)))
    assert.is(arrived.newest, 3)
    assert.equal(arrived.epochs(), [1, 2, 3])
    assert.ok(arrived.nameKey.equals(keys.nameKey))
    for (const epoch of keys.epochs()) {
      const [ours, theirs] = [keys.get(epoch), arrived.get(epoch)]
      assert.ok(ours.chunk.equals(theirs.chunk))
      assert.ok(ours.journal.equals(theirs.journal))
      assert.ok(ours.view.equals(theirs.view))
    }
  } finally {
    port1.close()
    port2.close()
  }
})

test('a worker thread seals with imported keys what the main thread opens', async () => {
  const keys = threeEpochs()
  const exported = keys.export()
  const room = new URL('../../src/crypto/index.js', import.meta.url).href
  const script = `
    const { parentPort, workerData } = require('node:worker_threads')
    import(workerData.room).then(({ VolumeKeys, sealBlob }) => {
      const keys = VolumeKeys.import(workerData.exported)
      parentPort.postMessage(sealBlob(keys.newestKeys().view, Buffer.from('from the worker'), null))
    })`
  const worker = new Worker(script, {
    eval: true,
    workerData: { room, exported },
    transferList: [exported.bytes],
  })
  try {
    const sealed = await new Promise<Uint8Array>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
    assert.is(
      openBlob(keys.newestKeys().view, Buffer.from(sealed), null).toString(),
      'from the worker',
    )
  } finally {
    await worker.terminate()
  }
})

test('a signature is Ed25519 and holds for its own message and key only', () => {
  // RFC 8032, 7.1, test 2.
  const publicKey = Buffer.from(
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    'hex',
  )
  const secretKey = Buffer.concat([
    Buffer.from('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb', 'hex'),
    publicKey,
  ])
  const message = Buffer.from([0x72])
  const signature = sign(message, secretKey)
  assert.is(
    signature.toString('hex'),
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da' +
      '085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  )
  assert.ok(verify(message, signature, publicKey))
  assert.not(verify(Buffer.from([0x73]), signature, publicKey))
  assert.not(verify(message, signature, newIdentity().sign.publicKey))
  assert.not(verify(message, signature.subarray(1), publicKey))
  assert.not(verify(message, signature, publicKey.subarray(1)))
})

test('an identity comes back from its seed, and two are never alike', () => {
  const one = newIdentity()
  const again = identityFromSeed(secretFrom(Buffer.from(one.seed)))
  assert.ok(again.sign.publicKey.equals(one.sign.publicKey))
  assert.ok(again.box.publicKey.equals(one.box.publicKey))
  const other = newIdentity()
  assert.not(other.sign.publicKey.equals(one.sign.publicKey))
  assert.not(one.sign.publicKey.equals(one.box.publicKey))
  assert.not(newBoxKeyPair().publicKey.equals(newBoxKeyPair().publicKey))
  wipeIdentity(one)
  for (const secret of [one.seed, one.sign.secretKey, one.box.secretKey]) assert.ok(zero(secret))
  assert.throws(
    () => identityFromSeed(Buffer.alloc(31)),
    (error: { code?: string }) => error.code === 'EINVAL',
  )
})

test('an identity comes from its seed as in format version 1', () => {
  const { sign: signPair, box } = identityFromSeed(secretFrom(Buffer.alloc(32, 7)))
  assert.is(
    signPair.publicKey.toString('hex'),
    '221f3cf9620c0d0c097c48ad55b87c79a85bd86bee18648f4c7c8b2b545a5b0e',
  )
  assert.is(
    box.publicKey.toString('hex'),
    'afe5200123bbb2353746032e77392d390ca4f7a55d991c6e638495dcab860722',
  )
})

test.run()
