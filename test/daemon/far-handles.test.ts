import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Ino, systemRandom } from '../../src/base/index.ts'
import { FarHandles } from '../../src/daemon/far-handles.ts'
import { Handles, OPCODES, wire } from '../../src/fuse/index.ts'
import type { SharedVolume } from '../../src/store/index.ts'
import * as kernel from '../support/fuse-requests.ts'

const READ = OPCODES.READ.code
const OPEN = OPCODES.OPEN.code
const INO = 5 as Ino

function through(handle: number): Buffer {
  const request = Buffer.alloc(wire.IN_HEADER_BYTES + 40)
  request.writeBigUInt64LE(BigInt(INO), 16)
  request.writeBigUInt64LE(BigInt(handle), wire.IN_HEADER_BYTES)
  return request
}

/** Opened in an epoch in which this node owned the volume. */
function own(epoch: number): Buffer {
  const owned = { replicated: true, epoch } as SharedVolume
  return through(new Handles(systemRandom).own(owned))
}

/** Opened through another owner, for reading. */
function opened(handles: FarHandles): Buffer {
  const reply = Buffer.alloc(wire.OUT_HEADER_BYTES + 16)
  handles.answered(through(0), OPEN, reply)
  return through(Number(reply.readBigUInt64LE(wire.OUT_HEADER_BYTES)))
}

test('what was opened while this node owned the volume holds through the next owner, until the session is lost', () => {
  const handles = new FarHandles(systemRandom, null, false)
  const [before, first, last, after] = [64_999, 65_000, 70_007, 70_008].map(own) as Buffer[]
  assert.not(handles.holds(first as Buffer, READ))
  handles.carry({ first: 65_000, last: 70_007 }, [{ ino: INO, readers: 1, writers: 0 }])
  assert.ok(handles.any)
  assert.ok(handles.holds(last as Buffer, READ))
  assert.not(handles.holds(after as Buffer, READ))
  handles.carry({ first: 65_000, last: 65_002 }, [])
  assert.equal(
    [before, first, own(65_002), own(65_003)].map((request) =>
      handles.holds(request as Buffer, READ),
    ),
    [false, true, true, false],
  )
  handles.lose()
  assert.not(handles.holds(first as Buffer, READ))
})

test('what was opened through another owner goes on when this node owns the volume, and when it is another’s again', () => {
  const handles = new FarHandles(systemRandom, null, false)
  handles.carry({ first: 3, last: 3 }, [])
  const open = opened(handles)
  const carried = handles.carryOn()
  assert.equal(carried.opens, [{ ino: INO, readers: 1, writers: 0 }])
  assert.is(carried.first, 3)
  assert.not(handles.any, 'they are the own mount’s now')
  handles.carry({ first: 3, last: 5 }, carried.opens)
  assert.ok(handles.holds(open, READ))
  assert.is(handles.generation, carried.generation)
})

test('what was carried over does not hold after the volume was lost, though nothing of it is counted here', () => {
  const handles = new FarHandles(systemRandom, null, false)
  const open = opened(handles)
  handles.carryOn()
  handles.lose()
  assert.not(handles.holds(open, READ))
  const next = new FarHandles(
    systemRandom,
    { generation: handles.generation, carried: null },
    false,
  )
  const again = opened(next)
  const nextLife = new FarHandles(
    systemRandom,
    { generation: next.generation, carried: null },
    false,
  )
  nextLife.lose(true)
  assert.not(nextLife.holds(again, READ))
})

test('descriptors that are not counted stay so when they are carried over', () => {
  const handles = new FarHandles(systemRandom, null, true)
  assert.is(handles.carryOn().opens, null)
  handles.carry({ first: 1, last: 1 }, null)
  assert.ok(handles.any)
  assert.is(handles.list(), null)
})

test('a copy through a descriptor that holds into one that does not is through none that holds', () => {
  const handles = new FarHandles(systemRandom, null, false)
  const before = opened(handles).readBigUInt64LE(wire.IN_HEADER_BYTES)
  handles.lose()
  const now = opened(handles).readBigUInt64LE(wire.IN_HEADER_BYTES)
  const copying = (from: bigint, to: bigint) => {
    const range = { fh_in: Number(from), off_in: 0, nodeOut: 5n, fh_out: Number(to) }
    return kernel.copyFileRange(5n, { ...range, off_out: 0, len: 10 })
  }
  const { code } = OPCODES.COPY_FILE_RANGE
  assert.ok(handles.holds(copying(now, now), code))
  assert.not(handles.holds(copying(now, before), code))
})

test.run()
