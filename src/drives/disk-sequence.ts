import { join } from 'node:path'
import { type DiskWorld, fullWorld } from './disk-world.ts'
import { namesIn, textIn } from './kernel-text.ts'

/**
 * Changes whenever a disk comes, goes, or is another one under its old name; kernels before 5.15 do not tell the last. Cheap
 * beside blockDisks, which runs programs. Source: Linux, Documentation/ABI/stable/sysfs-block, diskseq
 */
export function diskSequence(world: DiskWorld = {}): string {
  const { sysDir, byIdDir } = fullWorld(world)
  const block = join(sysDir, 'block')
  const disks = namesIn(block).sort()
  const numbered = disks.map((name) => `${name} ${textIn(join(block, name, 'diskseq'))}`)
  return [...numbered, ...namesIn(byIdDir).sort()].join('/')
}
