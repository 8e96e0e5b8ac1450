import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Ino } from '../../src/base/index.ts'
import type { Staged } from '../../src/store/index.ts'
import { StagedFiles } from '../../src/vfs/staged-files.ts'

const INO = 7 as Ino
const staged = (number: number, offset: number, length: number) =>
  ({ number, ino: INO, offset, length }) as Staged

test('times staged behind writes that are committed say nothing of the length', () => {
  const files = new StagedFiles()
  files.add(staged(1, 0, 100))
  files.add(staged(2, 4096, 50))
  assert.is(files.get(INO)?.intervals.end, 4146)
  files.add(staged(3, 0, 0))
  files.dropThrough(2)
  assert.is(files.get(INO)?.last.number, 3)
  assert.is(files.get(INO)?.intervals.end, 0)
  files.dropThrough(3)
  assert.is(files.get(INO), undefined)
})

test.run()
