import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { posix } from './posix.ts'

/** The suite is right when the kernel's own filesystem passes it. One tmpfs a case: none leans on another's leavings. */

const [major = 0, minor = 0] = release().split('.').map(Number)
const since = (wantMajor: number, wantMinor: number) =>
  major > wantMajor || (major === wantMajor && minor >= wantMinor)

const TMPFS = {
  // mm/shmem.c, shmem_fallocate: only FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE.
  zeroRange: false,
  directIo: since(6, 6),
  userXattrs: since(6, 6),
}

interface World {
  readonly dir: string
  close(): void
}

function tmpfs(): World {
  const root = mkdtempSync(join(tmpdir(), 'tmpfs-'))
  chmodSync(root, 0o755)
  const dir = join(root, 'm')
  mkdirSync(dir)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=512m,mode=755,nr_inodes=1m', 'tmpfs', dir])
  return {
    dir,
    close() {
      execFileSync('umount', ['-l', dir])
      rmSync(root, { recursive: true })
    },
  }
}

test('the suite has its cases, each with a name of its own', () => {
  const names = posix('/nowhere').map((one) => one.name)
  assert.ok(names.length >= 120, `${names.length} cases`)
  assert.is(new Set(names).size, names.length)
})

for (const { name } of posix('/nowhere')) {
  test(name, async () => {
    const world = tmpfs()
    try {
      await posix(world.dir, TMPFS)
        .find((one) => one.name === name)
        ?.run()
    } finally {
      world.close()
    }
  })
}

test.run()
