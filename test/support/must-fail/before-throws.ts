/** A file the test runner must report red: uvu shows a green (0 / 1) and exits 0 when `before` throws. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'

test.before(() => {
  throw new Error('set-up failed')
})
test('is never run', () => {
  assert.ok(true)
})
test.run()
