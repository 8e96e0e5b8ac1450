import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FsError } from '../../src/base/index.ts'
import { systemDisk as disk } from '../../src/disk/index.ts'

function inDirectory(run: (directory: string) => void | Promise<void>): () => Promise<void> {
  return async () => {
    const directory = fs.mkdtempSync(join(tmpdir(), 'weft-disk-'))
    try {
      await run(directory)
    } finally {
      fs.rmSync(directory, { recursive: true })
    }
  }
}

function codeAndOp(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof FsError) return `${error.op} ${error.code}`
    throw error
  }
  return 'no error'
}

test(
  'written bytes are read back, at any offset, short only at the end',
  inDirectory((directory) => {
    const handle = disk.open(join(directory, 'a'), 'createNew')
    disk.write(handle, Buffer.from('xxhelloxx'), 2, 5, 10)
    disk.fdatasync(handle)
    const into = Buffer.alloc(20, 0xff)
    assert.is(disk.read(handle, into, 1, 15, 5), 10)
    assert.is(into.subarray(0, 12).toString('latin1'), '\xff\0\0\0\0\0hello\xff')
    assert.is(disk.size(handle), 15)
    disk.truncate(handle, 12)
    assert.is(disk.size(handle), 12)
    disk.close(handle)
    assert.is(fs.statSync(join(directory, 'a')).mode & 0o777, 0o600)
  }),
)

test(
  'the asynchronous sync settles',
  inDirectory(async (directory) => {
    const handle = disk.open(join(directory, 'a'), 'create')
    await disk.fdatasyncAsync(handle)
    disk.close(handle)
    let code = ''
    await disk.fdatasyncAsync(handle).catch((error: unknown) => {
      code = error instanceof FsError ? `${error.op} ${error.code}` : 'other'
    })
    assert.is(code, 'fdatasync EIO', 'a bad handle says nothing to a caller, so it is EIO')
  }),
)

test(
  'open modes differ in what must be there',
  inDirectory((directory) => {
    const path = join(directory, 'a')
    assert.is(
      codeAndOp(() => disk.open(path, 'read')),
      'open ENOENT',
    )
    assert.is(
      codeAndOp(() => disk.open(path, 'write')),
      'open ENOENT',
    )
    disk.close(disk.open(path, 'create'))
    assert.is(
      codeAndOp(() => disk.open(path, 'createNew')),
      'open EEXIST',
    )
    const handle = disk.open(path, 'read')
    assert.is(
      codeAndOp(() => disk.write(handle, Buffer.alloc(1), 0, 1, 0)),
      'write EIO',
    )
    disk.close(handle)
  }),
)

test(
  'replaceFile leaves one file with the new bytes, and readFile is bounded',
  inDirectory((directory) => {
    const path = join(directory, 'label')
    fs.writeFileSync(`${path}.new`, 'left behind by a crash, and longer than what follows')
    disk.replaceFile(path, Buffer.from('one'))
    disk.replaceFile(path, Buffer.from('two!'))
    assert.is(disk.readFile(path).toString(), 'two!')
    assert.equal(disk.list(directory), ['label'])
    assert.is(
      codeAndOp(() => disk.readFile(path, 3)),
      'readFile EFBIG',
    )
    assert.is(
      codeAndOp(() => disk.readFile(join(directory, 'none'))),
      'open ENOENT',
    )
  }),
)

test(
  'mkdir makes parents, is content with what is there, and refuses a file in the way',
  inDirectory((directory) => {
    const deep = join(directory, 'a', 'b', 'c')
    disk.mkdir(deep)
    disk.mkdir(deep)
    assert.is(disk.stat(deep)?.kind, 'directory')
    fs.writeFileSync(join(directory, 'file'), 'x')
    assert.is(
      codeAndOp(() => disk.mkdir(join(directory, 'file'))),
      'mkdir ENOTDIR',
    )
    assert.is(
      codeAndOp(() => disk.mkdir(join(directory, 'file', 'x'))),
      'mkdir ENOTDIR',
    )
  }),
)

test(
  'names are renamed, removed, and missed with their errno',
  inDirectory((directory) => {
    const [a, b] = [join(directory, 'a'), join(directory, 'b')]
    disk.replaceFile(a, Buffer.from('x'))
    disk.rename(a, b)
    assert.is(disk.exists(a), false)
    assert.is(disk.exists(join(b, 'below a file')), false)
    assert.is(
      codeAndOp(() => disk.rename(a, b)),
      'rename ENOENT',
    )
    assert.is(
      codeAndOp(() => disk.rmdir(directory)),
      'rmdir ENOTEMPTY',
    )
    disk.unlink(b)
    assert.is(
      codeAndOp(() => disk.unlink(b)),
      'unlink ENOENT',
    )
    disk.fsyncDirectory(directory)
    assert.ok(disk.freeBytes(directory) > 0)
    assert.ok(disk.totalBytes(directory) >= disk.freeBytes(directory))
  }),
)

test('a full device says ENOSPC', () => {
  const handle = disk.open('/dev/full', 'write')
  assert.is(
    codeAndOp(() => disk.write(handle, Buffer.alloc(1), 0, 1, 0)),
    'write ENOSPC',
  )
  disk.close(handle)
})

test.run()
