import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openLog } from '../../src/base/index.ts'

test('a field stands once in a line: that of the line, else that of the nearest log', () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-log-'))
  const path = join(dir, 'log')
  const fd = openSync(path, 'a')
  try {
    const log = openLog(fd).child({ room: 'daemon', node: 'n' })
    log.info({ room: 'api' }, 'of the line')
    log.child({ room: 'fuse' }).warn({ op: 'read' }, 'of a child')
    log.error({}, 'its own')
    log.debug({}, 'not written')
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
    assert.equal(
      lines.map((line) => [...line.matchAll(/"room":"(\w+)"/g)].map(([, room]) => room)),
      [['api'], ['fuse'], ['daemon']],
    )
    const last = JSON.parse(lines[1] ?? '') as Record<string, unknown>
    assert.equal(Object.keys(last).sort(), [
      'level',
      'message',
      'node',
      'op',
      'pid',
      'room',
      'time',
    ])
    assert.is(last.level, 40)
  } finally {
    closeSync(fd)
    rmSync(dir, { recursive: true })
  }
})

test.run()
