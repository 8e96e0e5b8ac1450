import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { NodeId } from '../../src/base/index.ts'
import { placeHere } from '../../src/daemon/place-here.ts'
import type { Drive } from '../../src/drives/index.ts'
import { parseVolumeSpec } from '../../src/volumes/index.ts'

const GIB = 2 ** 30

/** As much of a Drive as placing looks at. */
function drive(id: string, cos: 1 | 2 | 3, freeBytes: number, more: Partial<Drive> = {}): Drive {
  const rest = {
    state: 'ok',
    draining: false,
    freeBytes: () => freeBytes,
    headroomBytes: () => GIB,
  }
  return { id, cos, ...rest, ...more } as unknown as Drive
}

const plain = parseVolumeSpec({ spec: 'name=v' }, { nodes: ['a1'.repeat(16) as NodeId] })

test('a journal goes to the drive of its class with the most room', () => {
  const drives = [drive('a', 2, 3 * GIB), drive('b', 2, 9 * GIB), drive('c', 1, 99 * GIB)]
  const spec = { ...plain, cos: 2 as const }
  assert.is(placeHere(spec, drives).id, 'b')
})

test('a class without room is refused with what there is, and taken from below only where that was allowed', () => {
  const drives = [drive('a', 3, GIB), drive('b', 2, 9 * GIB), drive('c', 2, 5 * GIB)]
  const spec = { ...plain, cos: 3 as const }
  assert.throws(
    () => placeHere(spec, drives),
    /class 3 has room; .*class 3: 1 with 0 .* free, class 2: 2 with .*12.* free, class 1: none/,
  )
  assert.is(placeHere({ ...spec, cosFallback: true }, drives).id, 'b')
})

test('a drive that is being emptied, or fails, takes no journal', () => {
  const drives = [
    drive('a', 2, 9 * GIB, { draining: true }),
    drive('b', 2, 9 * GIB, { state: 'failing' } as Partial<Drive>),
    drive('c', 2, 2 * GIB),
  ]
  assert.is(placeHere(plain, drives).id, 'c')
  assert.throws(() => placeHere(plain, drives.slice(0, 2)), /no drive of this node works/)
})

test.run()
