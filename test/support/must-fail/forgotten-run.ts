/** A file the test runner must report red: the tests are declared and `.run()` is forgotten. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'

test('is never run', () => {
  assert.ok(true)
})
