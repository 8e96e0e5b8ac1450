import { spawn, spawnSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { codeOf, systemClock } from '../../src/base/index.ts'
import { LeaseWaits } from '../../src/fuse/lease-waits.ts'
import { SharedVolume, VOLUME_STATE } from '../../src/store/index.ts'

const TERM_MS = 1000
const EIO = -5
const ENOENT = -2

/** A pipe in place of the connection, a clock that the test moves, and the lease of one volume. */
function makeWorld() {
  const dir = mkdtempSync(join(tmpdir(), 'weft-lease-'))
  const path = join(dir, 'fuse')
  assert.is(spawnSync('mkfifo', [path]).status, 0)
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  const at = { ms: 5000 }
  const lease = new SharedVolume()
  lease.replicated = true
  lease.leaseUntilMs = at.ms + TERM_MS
  const waits = new LeaseWaits({ ...systemClock(), monotonicMs: () => at.ms })
  let unique = 0
  return {
    at,
    lease,
    waits,
    /** @param errno null for a request */
    add: (bytes: Buffer, errno: number | null, pid = 0) =>
      waits.add(lease, { uniqueLo: ++unique, uniqueHi: 0, pid }, fd, bytes, errno),
    /** Requests that are to be executed. */
    ready: () => [...waits.ready()].map(({ bytes }) => bytes.toString()),
    /** Answers the kernel got: errno and unique, of struct fuse_out_header. */
    answers: () => {
      const buffer = Buffer.alloc(4096)
      try {
        const end = readSync(fd, buffer)
        const found: { errno: number; unique: number; body: string }[] = []
        for (let i = 0; i < end; i += buffer.readUInt32LE(i)) {
          const body = buffer.toString('latin1', i + 16, i + buffer.readUInt32LE(i))
          found.push({ errno: buffer.readInt32LE(i + 4), unique: buffer.readUInt32LE(i + 8), body })
        }
        return found
      } catch (error) {
        if (codeOf(error) !== 'EAGAIN') throw error
        return []
      }
    },
    close: () => {
      closeSync(fd)
      rmSync(dir, { recursive: true })
    },
  }
}

type World = ReturnType<typeof makeWorld>

async function within(work: (world: World) => Promise<void> | void): Promise<void> {
  const world = makeWorld()
  try {
    await work(world)
  } finally {
    world.close()
  }
}

test('a lease lasts until its moment, and a volume whose owner has never had one has none', () =>
  within(({ at, lease, waits }) => {
    assert.not(waits.lapsed(lease))
    at.ms += TERM_MS
    assert.ok(waits.lapsed(lease))
    const fresh = new SharedVolume()
    fresh.replicated = true
    assert.ok(waits.lapsed(fresh))
  }))

test('requests and answers wait until the lease is back, then go on in their order', () =>
  within(({ at, lease, waits, add, ready, answers }) => {
    at.ms += TERM_MS
    const request = Buffer.from('first')
    add(request, null)
    request.fill(0)
    add(Buffer.from('................made'), 0)
    add(Buffer.alloc(16), ENOENT)
    add(Buffer.from('second'), null)
    assert.equal(ready(), [])
    assert.equal(answers(), [])
    assert.ok(waits.any)
    lease.leaseUntilMs = at.ms + TERM_MS
    assert.equal(ready(), ['first', 'second'])
    assert.equal(answers(), [
      { errno: 0, unique: 2, body: 'made' },
      { errno: ENOENT, unique: 3, body: '' },
    ])
    assert.not(waits.any)
  }))

test('of a volume that is lost no answer of before goes out; requests are executed, and hear why', () =>
  within(({ at, lease, add, ready, answers }) => {
    at.ms += TERM_MS
    add(Buffer.from('................old'), 0)
    add(Buffer.alloc(16), ENOENT)
    add(Buffer.from('request'), null)
    lease.state = VOLUME_STATE.fenced
    assert.equal(ready(), ['request'])
    assert.equal(answers(), [
      { errno: EIO, unique: 1, body: '' },
      { errno: ENOENT, unique: 2, body: '' },
    ])
  }))

test('a thread with a signal before it that does not end it waits on', () =>
  within(async ({ at, add, ready, answers }) => {
    const script = `import os, signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.kill(os.getpid(), signal.SIGUSR1)
print(flush=True)
time.sleep(60)`
    const child = spawn('python3', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = new Promise((resolve) => child.once('exit', resolve))
    try {
      await new Promise((resolve) => child.stdout.once('data', resolve))
      at.ms += TERM_MS
      add(Buffer.from('waits'), null, child.pid)
      assert.equal(ready(), [])
      assert.equal(answers(), [])
    } finally {
      child.kill('SIGKILL')
      await ended
    }
  }))

test('with too much waiting no more is to be read', () =>
  within(({ at, lease, waits, add, ready }) => {
    at.ms += TERM_MS
    const bytes = Buffer.alloc(1024 * 1024)
    for (let count = 0; count < 95; count++) add(bytes, null)
    assert.not(waits.full)
    add(bytes, null)
    assert.ok(waits.full)
    lease.leaseUntilMs = at.ms + 1
    ready()
    assert.not(waits.full)
  }))

test.run()
