/** A file the test runner must report red: the first suite stops in its hook, the second is green, and uvu exits 0. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

const first = suite('first')
first.before(() => {
  throw new Error('set-up failed')
})
first('is never run', () => {
  assert.ok(true)
})
first.run()

const second = suite('second')
second('passes', () => {
  assert.ok(true)
})
second.run()
