import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { AssertionError, type ErrnoCode, FsError, ProtocolError } from '../../src/base/index.ts'
import { errnoOfThrown, isSurprise } from '../../src/fuse/errors.ts'
import { OffsetTooBigError } from '../../src/fuse/wire/index.ts'

test('an expected failure is told to the kernel as its own errno', () => {
  const expected: [ErrnoCode, number][] = [
    ['ENOENT', -2],
    ['ENOTEMPTY', -39],
    ['ESTALE', -116],
    ['ENOKEY', -126],
    ['ENODATA', -61],
  ]
  for (const [code, errno] of expected) assert.is(errnoOfThrown(new FsError(code, 'op')), errno)
})

test('a request that breaks the protocol is EINVAL, an offset too large EFBIG', () => {
  assert.is(errnoOfThrown(new ProtocolError('bad')), -22)
  assert.is(errnoOfThrown(new OffsetTooBigError('size')), -27)
})

test('an inner error that nobody wrapped is EIO, whatever errno it carries', () => {
  const inner = Object.assign(new Error('lost chunk'), { code: 'ENOENT', errno: -2 })
  for (const thrown of [
    inner,
    new TypeError('x'),
    new AssertionError('x'),
    'text',
    null,
    undefined,
    5,
  ]) {
    assert.is(errnoOfThrown(thrown), -5)
    assert.ok(isSurprise(thrown))
  }
})

test('ENOSYS never reaches the kernel, which would stop asking', () => {
  assert.is(errnoOfThrown(new FsError('ENOSYS', 'ioctl')), -95)
})

test('what rooms announce is no surprise', () => {
  assert.not.ok(isSurprise(new FsError('ENOENT', 'lookup')))
  assert.not.ok(isSurprise(new ProtocolError('bad')))
})

test.run()
