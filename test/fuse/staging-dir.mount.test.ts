import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { mountAt } from '../../src/fuse/mount-table.ts'
import { ensureStagingDir, removeStagingDir } from '../../src/fuse/staging-dir.ts'

const MIB = 1024 * 1024

function makeWorld() {
  const runDir = mkdtempSync(join(tmpdir(), 'weft-staging-'))
  return {
    runDir,
    async close(): Promise<void> {
      await removeStagingDir(runDir)
      rmSync(runDir, { recursive: true, force: true })
    },
  }
}

test('staging is a bounded memory filesystem that is not swapped and only root can enter', async () => {
  const world = makeWorld()
  try {
    const staging = await ensureStagingDir(world.runDir, 3 * MIB)
    assert.is(staging.path, join(world.runDir, 'stage'))
    assert.is(staging.warning, null)
    const entry = mountAt(staging.path)
    assert.is(entry?.fsType, 'tmpfs')
    assert.match(entry?.options ?? '', /nosuid,nodev,noexec/)
    assert.match(entry?.superOptions ?? '', /noswap/)
    assert.is(statSync(staging.path).mode & 0o7777, 0o700)
    assert.throws(
      () => writeFileSync(join(staging.path, 'large'), Buffer.alloc(4 * MIB)),
      (error: NodeJS.ErrnoException) => error.code === 'ENOSPC',
    )
  } finally {
    await world.close()
  }
})

test('asked for again it is the same one with its contents, and larger if more is wanted', async () => {
  const world = makeWorld()
  try {
    const { path } = await ensureStagingDir(world.runDir, 2 * MIB)
    const id = mountAt(path)?.id
    writeFileSync(join(path, 'staged'), 'kept')
    await ensureStagingDir(world.runDir, MIB)
    assert.is(statfsSync(path).blocks * statfsSync(path).bsize, 2 * MIB)
    await ensureStagingDir(world.runDir, 8 * MIB)
    assert.is(statfsSync(path).blocks * statfsSync(path).bsize, 8 * MIB)
    assert.is(mountAt(path)?.id, id)
    assert.match(mountAt(path)?.superOptions ?? '', /noswap/)
    assert.is(readFileSync(join(path, 'staged'), 'utf8'), 'kept')
  } finally {
    await world.close()
  }
})

test('removing it leaves neither mount nor directory, and doing so twice is no error', async () => {
  const world = makeWorld()
  try {
    const { path } = await ensureStagingDir(world.runDir, MIB)
    writeFileSync(join(path, 'staged'), 'gone')
    await removeStagingDir(world.runDir)
    assert.is(mountAt(path), undefined)
    assert.not.ok(existsSync(path))
    await removeStagingDir(world.runDir)
  } finally {
    await world.close()
  }
})

test.run()
