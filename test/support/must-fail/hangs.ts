/** A file the test runner must report red: a test never settles and something keeps the event loop alive. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'

test('never settles', async () => {
  setInterval(() => {}, 1000)
  await new Promise(() => {})
  assert.ok(true)
})
test.run()
