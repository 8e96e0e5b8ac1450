/** A file the test runner must report red: an assertion fails. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'

test('passes', () => {
  assert.ok(true)
})
test('says one is two', () => {
  assert.is(1, 2)
})
test.run()
