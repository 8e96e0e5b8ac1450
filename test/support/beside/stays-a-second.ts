/** Runs long enough to be seen. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sleep } from '../node-world.ts'

test('stays a second', async () => {
  await sleep(1000)
  assert.ok(true)
})
test.run()
