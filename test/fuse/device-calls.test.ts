import { spawnSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { deviceCalls, nodeCalls } from '../../src/fuse/device-calls.ts'

test('a call that fails is a negative number, past Node and by Node', () => {
  assert.is.not(deviceCalls(), nodeCalls, 'read and write can be called here')
  const dir = mkdtempSync(join(tmpdir(), 'weft-calls-'))
  const path = join(dir, 'pipe')
  assert.is(spawnSync('mkfifo', [path]).status, 0)
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  try {
    for (const calls of [deviceCalls(), nodeCalls]) {
      const buffer = Buffer.from('request and more')
      assert.ok(calls.read(fd, buffer) < 0)
      assert.is(calls.write(fd, buffer, 7), 7)
      const got = Buffer.alloc(20)
      assert.is(calls.read(fd, got), 7)
      assert.is(got.toString('latin1', 0, 8), 'request\0')
      assert.ok(calls.write(-1, buffer, 7) < 0)
    }
  } finally {
    closeSync(fd)
    rmSync(dir, { recursive: true })
  }
})

test.run()
