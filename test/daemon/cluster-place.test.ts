import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'
import { formatEtcd, movedTo, parseEtcd, placeOf, wordsOf } from '../../src/daemon/cluster-place.ts'

test('an etcd is read as a person names it, and written so that it is read the same', () => {
  const given = {
    'etcd://h1:2379,h2:2380': ['http://h1:2379', 'http://h2:2380'],
    'etcd://[fd00::1]:2379': ['http://[fd00::1]:2379'],
  }
  for (const [text, endpoints] of Object.entries(given)) {
    const place = parseEtcd(text)
    assert.equal(place, { kind: 'etcd', endpoints })
    assert.is(formatEtcd(place), text)
  }
  assert.equal(parseEtcd('etcd://h1:2379/').endpoints, ['http://h1:2379'])
})

test('what names no etcd is refused', () => {
  for (const text of ['', 'etcd://', 'h1:2379', 'http://h1:2379', 'etcd://h1', 'etcd://h1:2379,'])
    assert.throws(
      () => parseEtcd(text),
      (error: unknown) => error instanceof FsError && error.code === 'EINVAL',
      text,
    )
})

test('over TLS it is said so, and what only members can open is in the words for them alone', () => {
  const place = placeOf('etcd://h1:2379,h2:2379', { ca: 'PEM', user: 'weft', password: 'pw' })
  assert.equal(place, { kind: 'etcd', endpoints: ['https://h1:2379', 'https://h2:2379'] })
  const sealed = { ...place, access: 'c2VhbGVk+/==' }
  assert.equal(parseEtcd(wordsOf(sealed)), sealed)
  assert.is(formatEtcd(sealed), 'etcds://h1:2379,h2:2379')
  for (const access of [
    { cert: 'c', key: 'k' },
    { ca: 'a', cert: 'c' },
    { user: 'u' },
    { password: 'p' },
  ]) {
    assert.throws(
      () => placeOf('etcd://h1:2379', access),
      (error: unknown) => error instanceof FsError && error.code === 'EINVAL',
      JSON.stringify(access),
    )
  }
  assert.throws(() => placeOf('etcds://h1:2379', {}), /over TLS/)
})

test('a coordinator that has moved says where to, and other failures say nothing of the kind', () => {
  const moved = new FsError('ESTALE', 'coordinator', { to: 'etcd://h1:2379', generation: 2 })
  assert.equal(movedTo(moved), parseEtcd('etcd://h1:2379'))
  // Frozen: the old one is asked again.
  const frozen = new FsError('EAGAIN', 'coordinator', { to: 'etcd://h1:2379', generation: 2 })
  for (const other of [frozen, new FsError('ESTALE', 'coordinator'), new Error('to'), null])
    assert.is(movedTo(other), null)
})

test.run()
