import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'
import { checkDrivePlace, checkMountPoint, mountOf } from '../../src/daemon/places.ts'
import { parseMountInfo } from '../../src/fuse/index.ts'

async function world(run: (dir: string) => Promise<void>): Promise<void> {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'weft-places-')))
  try {
    await run(dir)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

async function refused(work: Promise<void>): Promise<{ code: string; next: string }> {
  try {
    await work
  } catch (error) {
    if (error instanceof FsError) return { code: error.code, next: String(error.subject.next) }
    throw error
  }
  throw new Error('it was not refused')
}

test('a path lies on the last made of the deepest mounts above it', () => {
  const table = parseMountInfo(
    [
      '22 1 0:20 / / rw shared:1 - ext4 /dev/sda1 rw',
      '30 22 0:40 / /mnt/weft rw - fuse.weft weft rw',
      '31 30 0:41 / /mnt/weft/disk rw - ext4 /dev/sdb1 rw',
      '32 31 0:42 / /mnt/weft/disk rw - tmpfs none rw',
    ].join('\n'),
  )
  const typeOf = (path: string) => mountOf(path, table)?.fsType
  assert.is(typeOf('/mnt/weft'), 'fuse.weft')
  assert.is(typeOf('/mnt/weft/notes/d'), 'fuse.weft')
  assert.is(typeOf('/mnt/weft2'), 'ext4')
  assert.is(typeOf('/mnt/weft/disk/d'), 'tmpfs')
})

test('a directory for a drive that is missing is refused, unless it shall be made', () =>
  world(async (dir) => {
    await checkDrivePlace(dir, false)
    const missing = join(dir, 'a/b')
    const { code, next } = await refused(checkDrivePlace(missing, false))
    assert.is(code, 'ENOENT')
    assert.ok(next.endsWith(`weft drive add ${missing} --create`), next)
    await checkDrivePlace(missing, true)
  }))

test('a mount point with something in it is refused, unless that shall be hidden', () =>
  world(async (dir) => {
    const target = join(dir, 'target')
    mkdirSync(target)
    symlinkSync(target, join(dir, 'link'))
    await checkMountPoint('mount', target, false)
    writeFileSync(join(target, 'here first'), '')
    for (const place of [target, join(dir, 'link')]) {
      const { code, next } = await refused(checkMountPoint('mount', place, false))
      assert.is(code, 'ENOTEMPTY')
      assert.match(next, '--nonempty')
      await checkMountPoint('mount', place, true)
    }
    // Left to the keeper, which has words of its own for them.
    await checkMountPoint('mount', join(dir, 'none'), false)
    await checkMountPoint('mount', join(target, 'here first'), false)
    await checkMountPoint('mount', '/proc', false)
  }))

test.run()
