/** Ends while the mount stands that the one beside it, leaves-a-mount.ts, has made: which is not its fault. */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { comesTrue } from './others-of-run.ts'

test('ends while a mount of another stands', async () => {
  const stands = () => readFileSync('/proc/self/mountinfo', 'utf8').includes('/forgotten ')
  assert.ok(await comesTrue(stands, 20_000))
})
test.run()
