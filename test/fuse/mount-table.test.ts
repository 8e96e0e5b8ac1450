import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { isWeftMount, mountAt, mountTable, parseMountInfo } from '../../src/fuse/mount-table.ts'

test('a line is taken apart, with and without optional fields, and octal escapes are undone', () => {
  const table = parseMountInfo(
    [
      '22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw',
      '36 22 0:57 / /mnt/a\\040b\\134c\\011d rw,nosuid master:1 shared:7 - fuse.weft weft\\0431 rw,user_id=0',
      '',
      'half a line',
    ].join('\n'),
  )
  assert.is(table.length, 2)
  assert.equal(table[1], {
    id: 36,
    parent: 22,
    dev: '0:57',
    root: '/',
    mountPoint: '/mnt/a b\\c\td',
    options: 'rw,nosuid',
    fsType: 'fuse.weft',
    source: 'weft#1',
    superOptions: 'rw,user_id=0',
  })
})

test('of mounts stacked on one place the last is the one that is seen', () => {
  const table = parseMountInfo(
    '1 0 0:1 / /m rw - tmpfs one rw\n2 1 0:2 / /m rw - fuse.weft two rw\n3 1 0:3 / /m/n rw - tmpfs three rw',
  )
  const seen = mountAt('/m', table)
  assert.is(seen?.source, 'two')
  assert.ok(seen !== undefined && isWeftMount(seen))
  assert.is(mountAt('/m/', table), undefined)
})

test('the table of this machine has a root', () => {
  assert.ok(mountTable().some((entry) => entry.mountPoint === '/'))
})

test.run()
