import { spawnSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { systemClock } from '../../src/base/index.ts'
import { RequestReader } from '../../src/fuse/request-reader.ts'

const { O_RDWR, O_NONBLOCK } = constants

/** Two pipes in place of a connection's two descriptors, and a clock that stands still unless told. */
function makeWorld() {
  const dir = mkdtempSync(join(tmpdir(), 'weft-reader-'))
  const open = (name: string, flags: number) => {
    const path = join(dir, name)
    assert.is(spawnSync('mkfifo', [path]).status, 0)
    return openSync(path, flags)
  }
  const fd = open('waits', O_RDWR)
  const polledFd = open('asks', O_RDWR | O_NONBLOCK)
  let nowMs = 0
  let stepMs = 0
  let asked = 0
  let connected = true
  const reader = new RequestReader({
    fd,
    polledFd,
    polled: () => {
      asked += 1
      return connected
    },
    clock: {
      ...systemClock(),
      monotonicMs: () => {
        nowMs += stepMs
        return nowMs
      },
    },
    sleep: () => {},
  })
  const buffer = Buffer.alloc(64)
  return {
    fd,
    polledFd,
    reader,
    send: (to: number, text: string) => writeSync(to, text),
    next: () => buffer.toString('latin1', 0, reader.next(buffer)),
    disconnect: () => {
      connected = false
    },
    /** From now on this much passes between any two looks at the clock. */
    pace: (ms: number) => {
      stepMs = ms
    },
    asked: () => asked,
    close: () => {
      closeSync(fd)
      closeSync(polledFd)
      rmSync(dir, { recursive: true })
    },
  }
}

test('a request that is there is taken from the descriptor that does not wait, and answered there', () => {
  const world = makeWorld()
  try {
    world.send(world.polledFd, 'one')
    assert.is(world.next(), 'one')
    assert.is(world.reader.fd, world.polledFd)
  } finally {
    world.close()
  }
})

test('one that comes later is waited for, and answered where it was read', () => {
  const world = makeWorld()
  try {
    world.pace(1)
    world.send(world.fd, 'late')
    assert.is(world.next(), 'late')
    assert.is(world.reader.fd, world.fd)
  } finally {
    world.close()
  }
})

test('before the clone is connected nothing is asked of it', () => {
  const world = makeWorld()
  try {
    world.disconnect()
    world.send(world.polledFd, 'not yet ours')
    world.send(world.fd, 'ours')
    assert.is(world.next(), 'ours')
  } finally {
    world.close()
  }
})

test('asking ends when it keeps finding nothing, and begins again with short pauses', () => {
  const world = makeWorld()
  const take = (count: number) => {
    const before = world.asked()
    for (let i = 0; i < count; i++) {
      world.send(world.fd, 'x')
      assert.is(world.next(), 'x')
    }
    return world.asked() - before
  }
  try {
    world.pace(1)
    const asked = take(40)
    assert.ok(asked > 3 && asked < 20, `asked ${asked} times`)
    assert.is(take(40), 0)
    world.pace(0.001)
    assert.ok(take(20) > 0, 'asks again')
  } finally {
    world.close()
  }
})

test.run()
