import { readdirSync, readlinkSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { limits } from '../../src/base/index.ts'
import { SecondReader } from '../../src/chunks/index.ts'
import { seeded } from '../support/seeded.ts'
import { makeWorld } from './world.ts'

const BYTES = limits.chunkBytesMax
const noPointer = Buffer.alloc(0)

/** A chunk, and a reader whose thread stands. */
async function makeReading(seed: number) {
  const world = makeWorld({ seed })
  const plain = seeded(seed).bytes(BYTES)
  const chunk = world.newId()
  world.store.putSync(chunk, world.seal, plain, BYTES, noPointer)
  const out = Buffer.from(new SharedArrayBuffer(BYTES))
  const second = new SecondReader(out.buffer as SharedArrayBuffer)
  const endMs = performance.now() + 10_000
  while (!second.ready(out)) {
    assert.ok(performance.now() < endMs, 'the thread stands')
    await new Promise((done) => setTimeout(done, 10))
  }
  const { dir: directory, id: drive } = world.drive
  const { volume, keyOf } = world.reader
  const key = keyOf(world.seal.keyEpoch)
  return { world, plain, out, second, job: { directory, drive, volume, chunk, key } }
}

test('it reads its part into the shared buffer, and nothing else', async () => {
  const { world, plain, out, second, job } = await makeReading(31)
  try {
    const random = seeded(32)
    for (let round = 0; round < 20; round++) {
      const plainAt = random.below(BYTES)
      const length = 1 + random.below(BYTES - plainAt)
      out.fill(0xee)
      second.begin({ ...job, plainAt, length, outAt: plainAt })
      assert.is(second.finish(), true)
      assert.ok(
        out.subarray(plainAt, plainAt + length).equals(plain.subarray(plainAt, plainAt + length)),
      )
      const around = Buffer.concat([out.subarray(0, plainAt), out.subarray(plainAt + length)])
      assert.ok(around.every((byte) => byte === 0xee))
    }
  } finally {
    world.close()
  }
})

test('it lets go of what it has open when it is asked to, and reads on', async () => {
  const { world, plain, out, second, job } = await makeReading(35)
  const openHere = () =>
    readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).startsWith(world.root)
      } catch {
        return false // it went while we looked
      }
    }).length
  try {
    const before = openHere()
    for (let round = 0; round < 3; round++) {
      out.fill(0)
      second.begin({ ...job, plainAt: 0, length: BYTES, outAt: 0 })
      assert.is(second.finish(), true)
      assert.ok(out.equals(plain))
      assert.is(openHere(), before + 1)
      second.letGo()
      assert.is(openHere(), before)
      second.letGo()
    }
  } finally {
    world.close()
  }
})

test('what it cannot read it leaves, and reads the next', async () => {
  const { world, out, second, job } = await makeReading(33)
  try {
    const whole = { plainAt: 0, length: BYTES, outAt: 0 }
    const refusedFor = (change: Partial<typeof job>) => {
      second.begin({ ...job, ...whole, ...change })
      assert.is(second.finish(), false, Object.keys(change).join())
      second.begin({ ...job, ...whole })
      assert.is(second.finish(), true)
    }
    refusedFor({ key: Buffer.alloc(32, 1) })
    refusedFor({ chunk: world.newId() })
    refusedFor({ directory: '/nonexistent' })
    const open = readdirSync('/proc/self/fd').length
    for (let n = 0; n < 5; n++) refusedFor({ key: Buffer.alloc(32, n) })
    assert.is(readdirSync('/proc/self/fd').length, open, 'descriptors are given back')
    assert.is(second.ready(out), true)
    assert.is(second.ready(Buffer.alloc(BYTES)), false, 'another buffer is not shared')
  } finally {
    world.close()
  }
})

test.run()
