import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Temporary directories of `work` lie on a tmpfs of so many bytes. Needs root.
 * @param work gets its path
 */
export async function onSmallDrive(
  bytes: number,
  work: (path: string) => Promise<void>,
): Promise<void> {
  const outside = tmpdir()
  const root = mkdtempSync(join(outside, 'weft-small-'))
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'weft-test', root])
  if (mount.status !== 0) throw new Error(`mount tmpfs: ${mount.stderr}`)
  try {
    process.env.TMPDIR = root
    await work(root)
  } finally {
    process.env.TMPDIR = outside
    const unmount = spawnSync('umount', [root])
    if (unmount.status !== 0) spawnSync('umount', ['-l', root])
    rmSync(root, { recursive: true })
  }
}
