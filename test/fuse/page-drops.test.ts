import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Ino } from '../../src/base/index.ts'
import { PageDrops } from '../../src/fuse/page-drops.ts'

const INO = 5 as Ino

test('pages may be kept once whoever was told to drop them has used its descriptor', () => {
  const drops = new PageDrops()
  assert.not(drops.isSure(INO), 'nothing is known of before')
  drops.dropping(INO, 1)
  assert.not(drops.isSure(INO))
  drops.used(2)
  assert.not(drops.isSure(INO), 'that was another descriptor')
  drops.used(1)
  assert.ok(drops.isSure(INO))
})

test('of several that were told to, all must have', () => {
  const drops = new PageDrops()
  drops.dropping(INO, 1)
  drops.used(1)
  for (const handle of [2, 3]) drops.dropping(INO, handle)
  drops.used(2)
  assert.not(drops.isSure(INO))
  drops.used(3)
  assert.ok(drops.isSure(INO))
})

test('what is unsure is dropped anew', () => {
  const drops = new PageDrops()
  drops.dropping(INO, 1)
  drops.used(1)
  drops.unsure(INO)
  assert.not(drops.isSure(INO))
  drops.dropping(INO, 2)
  drops.used(2)
  assert.ok(drops.isSure(INO))
})

test('what the kernel has dropped is known, unless an open is still to drop it', () => {
  const drops = new PageDrops()
  drops.dropped(INO)
  assert.ok(drops.isSure(INO))
  drops.dropping(INO, 1)
  drops.dropped(INO)
  assert.not(drops.isSure(INO))
  drops.used(1)
  assert.ok(drops.isSure(INO))
})

test.run()
