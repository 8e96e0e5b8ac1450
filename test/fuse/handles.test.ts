import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { systemRandom } from '../../src/base/index.ts'
import { Handles, handleHolds, isOfSession, nextGeneration } from '../../src/fuse/handles.ts'
import { OPCODES, wire } from '../../src/fuse/index.ts'
import type { SharedVolume } from '../../src/store/index.ts'
import * as kernel from '../support/fuse-requests.ts'

const READ = OPCODES.READ.code

function volume(
  epoch: number,
  lineFirst: number,
  { replicated = true, carriedGeneration = null as number | null } = {},
): SharedVolume {
  return { epoch, lineFirst, replicated, carriedGeneration } as SharedVolume
}

function through(handle: number): Buffer {
  const request = Buffer.alloc(wire.IN_HEADER_BYTES + 40)
  request.writeBigUInt64LE(BigInt(handle), wire.IN_HEADER_BYTES)
  return request
}

function copying(from: number, to: number, into = 1): Buffer {
  const nodeOut = kernel.nodeId(into, 5)
  const range = { fh_in: from, off_in: 0, nodeOut, fh_out: to, off_out: 0, len: 10 }
  return kernel.copyFileRange(kernel.nodeId(1, 5), range)
}

test('a descriptor holds while its node has owned the volume since, beyond a round of epochs too', () => {
  const handles = new Handles(systemRandom)
  for (const epoch of [7, 65_534, 65_536, 200_000]) {
    const request = through(handles.own(volume(epoch, epoch)))
    assert.ok(handleHolds(volume(epoch, epoch), request, READ))
    assert.ok(handleHolds(volume(epoch + 3, epoch), request, READ), 'a daemon was killed')
    assert.not(handleHolds(volume(epoch + 3, epoch + 1), request, READ), 'it was lost between')
    assert.not(handleHolds(volume(epoch - 1, epoch - 1), request, READ))
  }
})

test('a descriptor of a session is none of an own volume, nor of the session after', () => {
  const handles = new Handles(systemRandom)
  for (const generation of [0, 9, 65_535]) {
    const handle = handles.far(generation)
    assert.ok(Number.isSafeInteger(handle))
    assert.ok(isOfSession(handle, generation))
    assert.not(isOfSession(handle, nextGeneration(generation)))
    assert.not(handleHolds(volume(generation, 0), through(handle), READ))
    assert.not(handleHolds(volume(1, 1, { replicated: false }), through(handle), READ))
    assert.not(isOfSession(handles.own(volume(generation, 0)), generation))
  }
  const single = volume(9, 9, { replicated: false })
  assert.ok(handleHolds(single, through(handles.own(single)), READ))
})

test('a descriptor of the session with an owner that let go of the volume for this node holds here', () => {
  const handles = new Handles(systemRandom)
  for (const carriedGeneration of [0, 9, 65_535]) {
    const owned = volume(70_000, 70_000, { carriedGeneration })
    assert.ok(handleHolds(owned, through(handles.far(carriedGeneration)), READ))
    assert.not(handleHolds(owned, through(handles.far(nextGeneration(carriedGeneration))), READ))
    assert.not(handleHolds(volume(70_000, 70_000), through(handles.far(carriedGeneration)), READ))
  }
})

test('what copies from one descriptor to another goes through both', () => {
  const handles = new Handles(systemRandom)
  const [lost, held] = [handles.own(volume(6, 6)), handles.own(volume(7, 7))]
  for (const wide of [false, true]) {
    const code = (wide ? OPCODES.COPY_FILE_RANGE_64 : OPCODES.COPY_FILE_RANGE).code
    const holds = (from: number, to: number) => handleHolds(volume(7, 7), copying(from, to), code)
    assert.ok(holds(held, held))
    assert.not(holds(held, lost))
    assert.not(holds(lost, held))
    assert.ok(handleHolds(volume(7, 7), copying(held, lost, 2), code), 'of another volume')
  }
})

test.run()
