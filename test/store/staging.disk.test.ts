import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Ino } from '../../src/base/index.ts'
import { StagingReader, StagingWriter, stagedHeaderBytes } from '../../src/store/index.ts'
import { dropCommittedSegments } from '../../src/store/staging.ts'

test('the last staged write of each mount is known after its commit, so that a request sent again finds it', () => {
  const dir = mkdtempSync(join(tmpdir(), 'staging-'))
  const writer = new StagingWriter(dir)
  const reader = new StagingReader(dir)
  try {
    assert.is(reader.newest().size, 0)
    for (let number = 1; number <= 3; number += 1) {
      const buffer = Buffer.alloc(stagedHeaderBytes + 10, number)
      const write = { number, ino: 7 as Ino, offset: 10 * number, length: 10, sec: 1, nsec: 2 }
      const asked = { uniqueLo: 100 + number, uniqueHi: 0, mount: number === 3 ? 9 : 8 }
      writer.append({ ...write, ...asked }, buffer, stagedHeaderBytes)
    }
    dropCommittedSegments(dir, 3, 0)
    const [before, newest] = [8, 9].map((mount) => reader.newest().get(mount))
    assert.is(newest?.number, 3)
    assert.is(newest?.offset, 30)
    assert.is(newest?.uniqueLo, 103)
    assert.is(before?.number, 2)
  } finally {
    writer.close()
    reader.close()
    rmSync(dir, { recursive: true })
  }
})

test.run()
