// alone: it is the sample for this line
/** Must be alone, and says so: green with whatever else is in the run. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { comesTrue, othersOfRun } from './others-of-run.ts'

test('nobody runs beside', async () => {
  assert.not.ok(await comesTrue(() => othersOfRun().length > 0, 1000))
})
test.run()
