import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CorruptError } from '../../src/base/index.ts'
import { newBoxKeyPair, openSecret, sealSecret } from '../../src/crypto/index.ts'

const SECRET = Buffer.from('battery staple')

test('a sealed secret opens with its key pair, for what it was sealed for', () => {
  const pair = newBoxKeyPair()
  const sealed = sealSecret(SECRET, 'https://composer', pair.publicKey)
  assert.not(sealed.includes(SECRET))
  assert.equal(Buffer.from(openSecret(sealed, 'https://composer', pair)), SECRET)
})

test('it opens with no other pair, for nothing else, and not when a bit is changed or bytes are missing', () => {
  const pair = newBoxKeyPair()
  const sealed = sealSecret(SECRET, 'https://composer', pair.publicKey)
  const changed = Buffer.from(sealed)
  changed[60] = (changed[60] ?? 0) ^ 1
  const tries: [Buffer, string, typeof pair][] = [
    [sealed, 'https://composer', newBoxKeyPair()],
    [sealed, 'https://elsewhere', pair],
    [changed, 'https://composer', pair],
    [sealed.subarray(0, 70), 'https://composer', pair],
    [Buffer.alloc(0), 'https://composer', pair],
  ]
  for (const [bytes, boundTo, key] of tries) {
    assert.throws(
      () => openSecret(bytes, boundTo, key),
      (error: unknown) => error instanceof CorruptError,
    )
  }
})

test.run()
