import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError, limits } from '../../src/base/index.ts'
import type { Drive, ServiceClass } from '../../src/drives/index.ts'
import { capacityOf, pickDrive } from '../../src/drives/index.ts'

const GIB = 1024 ** 3

/** As much of a Drive as picking looks at. */
function fakeDrive(
  id: string,
  freeBytes: number,
  more: { cos?: ServiceClass; state?: Drive['state']; device?: number; draining?: boolean } = {},
): Drive {
  const drive = {
    id,
    cos: more.cos ?? 2,
    state: more.state ?? 'ok',
    device: more.device ?? id.charCodeAt(0),
    draining: more.draining ?? false,
    credit: 0,
    freeBytes: () => freeBytes,
    totalBytes: () => 100 * GIB,
    headroomBytes: () => limits.driveHeadroomBytes,
  }
  return drive as unknown as Drive
}

function codeFrom(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (error instanceof FsError) return error.code
    throw error
  }
  return ''
}

test('drives get puts in proportion to their free space, without clumps', () => {
  const drives = [fakeDrive('a', 6 * GIB), fakeDrive('b', 3 * GIB), fakeDrive('c', 1 * GIB)]
  const picks = Array.from({ length: 1000 }, () => pickDrive(drives, 4096).id as string)
  const count = (id: string) => picks.filter((pick) => pick === id).length
  assert.ok(Math.abs(count('a') - 600) <= 1, `a got ${count('a')}`)
  assert.ok(Math.abs(count('b') - 300) <= 1, `b got ${count('b')}`)
  assert.ok(Math.abs(count('c') - 100) <= 1, `c got ${count('c')}`)
  assert.is.not(picks.slice(0, 10).indexOf('c'), -1, 'the smallest has its turn in the first ten')
})

test('the headroom is kept from writers and given to urgent work', () => {
  const drives = [fakeDrive('a', limits.driveHeadroomBytes + 4095)]
  assert.is(
    codeFrom(() => pickDrive(drives, 4096)),
    'ENOSPC',
  )
  assert.is(pickDrive(drives, 4096, { urgent: true }), drives[0])
  assert.is(pickDrive(drives, 4095), drives[0])
})

test('the wanted class comes first, another only when none of it has room', () => {
  const fast = fakeDrive('a', 1 * GIB, { cos: 3 })
  const slow = fakeDrive('b', 90 * GIB, { cos: 1 })
  for (let i = 0; i < 20; i++) assert.is(pickDrive([slow, fast], 4096, { cos: 3 }), fast)
  assert.is(pickDrive([slow, fast], 2 * GIB, { cos: 3 }), slow)
})

test('a failing or refusing drive gets nothing, and no drive at all is EIO', () => {
  const failing = fakeDrive('a', 50 * GIB, { state: 'failing' })
  const good = fakeDrive('b', 1 * GIB)
  for (let i = 0; i < 20; i++) assert.is(pickDrive([failing, good], 4096), good)
  assert.is(
    codeFrom(() => pickDrive([failing, good], 4096, { except: [good] })),
    'ENOSPC',
  )
  assert.is(
    codeFrom(() => pickDrive([failing], 4096)),
    'EIO',
  )
})

test('a draining drive gets nothing new, and its free space does not count', () => {
  const draining = fakeDrive('a', 50 * GIB, { draining: true })
  const good = fakeDrive('b', 1 * GIB)
  for (let i = 0; i < 20; i++) assert.is(pickDrive([draining, good], 4096), good)
  assert.is(
    codeFrom(() => pickDrive([draining], 4096, { urgent: true })),
    'ENOSPC',
  )
  assert.equal(capacityOf([draining, good]), {
    totalBytes: 200 * GIB,
    freeBytes: 1 * GIB - limits.driveHeadroomBytes,
  })
})

test('two directories on one filesystem count once', () => {
  const drives = [
    fakeDrive('a', 10 * GIB, { device: 7, state: 'failing' }),
    fakeDrive('b', 10 * GIB, { device: 7 }),
    fakeDrive('c', 20 * GIB, { device: 8 }),
    fakeDrive('d', 20 * GIB, { device: 9, state: 'gone' }),
  ]
  assert.equal(capacityOf(drives), {
    totalBytes: 200 * GIB,
    freeBytes: 30 * GIB - 2 * limits.driveHeadroomBytes,
  })
})

test.run()
