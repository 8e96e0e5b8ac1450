import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FsError } from '../base/index.ts'
import type { FullDiskWorld } from './disk-world.ts'

/**
 * Look into the filesystem of a disk that is not mounted, and change nothing of it: read-only, its log not replayed. What was
 * not written back before a crash is therefore not seen.
 * @param more options of the mount
 * @throws FsError EIO when it cannot be mounted, ENOENT without mount(8); whatever `look` throws
 */
export async function withPeek<T>(
  path: string,
  world: FullDiskWorld,
  look: (dir: string) => T,
  more: readonly string[] = [],
): Promise<T> {
  const { run, signal } = world
  const dir = mkdtempSync(join(tmpdir(), 'weft-peek-'))
  try {
    const options = ['ro', 'norecovery', 'nodev', 'nosuid', 'noexec', ...more].join(',')
    const mounted = await run('mount', ['-t', 'xfs', '-o', options, path, dir], { signal })
    if (mounted.code !== 0) {
      throw new FsError('EIO', 'drive.peek', {
        path,
        message: `it cannot be mounted to read its label: ${mounted.stderr}`,
      })
    }
    return look(dir)
  } finally {
    // Also after a mount that failed or was stopped, which may have happened all the same; and not by the caller's signal.
    const off = await run('umount', [dir])
    // Somebody looks in from outside, such as an indexer. Nothing was written, so nothing is lost by letting go.
    if (off.code !== 0) await run('umount', ['--lazy', dir])
    rmdirSync(dir)
  }
}
