/** Leaves a mount that stands while the one beside it, ends-beside-a-mount.ts, ends and is judged. */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sleep } from '../node-world.ts'
import { comesTrue, othersOfRun } from './others-of-run.ts'

test('mounts and forgets it, and ends after the one beside', async () => {
  assert.ok(await comesTrue(() => othersOfRun().length > 0, 10_000), 'another runs beside')
  const dir = join(tmpdir(), 'forgotten')
  mkdirSync(dir)
  execFileSync('mount', ['-t', 'tmpfs', 'forgotten', dir])
  assert.ok(await comesTrue(() => othersOfRun().length === 0, 10_000), 'it has ended')
  // Judged as well.
  await sleep(500)
})
test.run()
