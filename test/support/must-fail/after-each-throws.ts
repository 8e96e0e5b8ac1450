/** A file the test runner must report red: uvu exits 0 when `after.each` throws, even after a failed test. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'

test.after.each(() => {
  throw new Error('clean-up failed')
})
test('fails', () => {
  assert.is(1, 2)
})
test.run()
