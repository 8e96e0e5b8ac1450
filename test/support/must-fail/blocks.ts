/** A file the test runner must report red: a test blocks the thread, so only a kill from outside ends it. */
import { test } from 'uvu'

test('blocks for ever', () => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
})
test.run()
