import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { OpensslPages, type PageSeal } from '../../src/crypto/openssl-pages.ts'
import { sodiumPages } from '../../src/crypto/sodium-pages.ts'
import { seeded } from '../support/seeded.ts'

function both(): { openssl: OpensslPages; sodium: PageSeal } {
  const openssl = OpensslPages.find()
  if (openssl === null) throw new Error('OpenSSL cannot be called here: is koffi installed?')
  return { openssl, sodium: sodiumPages }
}

function sealBy(seal: PageSeal, plain: Buffer, nonce: Buffer, key: Buffer) {
  const cipher = Buffer.alloc(plain.length)
  const tag = Buffer.alloc(16)
  seal.seal(cipher, tag, plain, nonce, key)
  return { cipher, tag }
}

test('OpenSSL and libsodium make the same bytes and open each other’s, whatever came before', () => {
  const { openssl, sodium } = both()
  const dice = seeded(30)
  const keys = [dice.bytes(32), dice.bytes(32)]
  const chunks = [dice.bytes(16), dice.bytes(16)]
  for (let round = 0; round < 600; round++) {
    const key = keys[dice.below(2)] as Buffer
    const nonce = Buffer.concat([chunks[dice.below(2)] as Buffer, dice.bytes(8)])
    const plain = dice.bytes(dice.below(300) * (round % 40 === 0 ? 61 : 1))
    const made = sealBy(openssl, plain, nonce, key)
    assert.equal(made, sealBy(sodium, plain, nonce, key), `round ${round}`)
    const opened = Buffer.alloc(plain.length, 0x55)
    const opener = dice.below(2) === 0 ? openssl : sodium
    assert.ok(opener.open(opened, made.cipher, made.tag, nonce, key))
    assert.ok(opened.equals(plain))
    if (round % 50 === 0) openssl.wipe()
  }
})

test('what fails its seal is zeros, and the page behind it opens', () => {
  const { openssl, sodium } = both()
  for (const seal of [openssl, sodium]) {
    const key = Buffer.alloc(32, 1)
    const nonce = Buffer.alloc(24, 2)
    const { cipher, tag } = sealBy(seal, Buffer.alloc(100, 3), nonce, key)
    const out = Buffer.alloc(100, 4)
    const wrong = Buffer.from(tag)
    wrong[3] = (wrong[3] as number) ^ 1
    assert.not(seal.open(out, cipher, wrong, nonce, key))
    assert.ok(out.every((byte) => byte === 0))
    assert.ok(seal.open(out, cipher, tag, nonce, key))
    assert.ok(out.every((byte) => byte === 3))
  }
})

test('a key that was changed in its place is another key', () => {
  const { openssl } = both()
  const key = Buffer.alloc(32, 1)
  const nonce = Buffer.alloc(24, 2)
  const plain = Buffer.alloc(50, 3)
  const before = sealBy(openssl, plain, nonce, key)
  key.fill(9)
  const behind = sealBy(openssl, plain, nonce, key)
  assert.not.equal(behind, before)
  assert.equal(behind, sealBy(sodiumPages, plain, nonce, key))
})

test.run()
