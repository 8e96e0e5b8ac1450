/** A file the test runner must report red: its tests are green but a process of its own lives on, in a session of its own. */
import { spawn } from 'node:child_process'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

test('starts a daemon and forgets it', () => {
  const child = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' })
  child.unref()
  assert.ok(child.pid)
})
test.run()
