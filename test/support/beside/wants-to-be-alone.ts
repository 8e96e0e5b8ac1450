/** Must be alone and does not say so: red beside stays-a-second.ts. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { comesTrue, othersOfRun } from './others-of-run.ts'

test('nobody runs beside', async () => {
  assert.not.ok(await comesTrue(() => othersOfRun().length > 0, 1000))
})
test.run()
