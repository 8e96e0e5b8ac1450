/** A file the test runner must report red: its tests are green but a mount of its own still stands. */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

test('mounts and forgets it', () => {
  const dir = join(tmpdir(), 'forgotten')
  mkdirSync(dir)
  execFileSync('mount', ['-t', 'tmpfs', 'forgotten', dir])
  assert.ok(true)
})
test.run()
