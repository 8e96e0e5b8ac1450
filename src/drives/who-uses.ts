import { join } from 'node:path'
import type { FullDiskWorld } from './disk-world.ts'
import { namesIn, targetOf, textIn } from './kernel-text.ts'
import { parseMountinfo } from './mountinfo.ts'

/** A message names so many at most. */
const NAMED_MAX = 8

/**
 * What keeps a mounted directory busy: mounts below it, loop devices on its files, processes with open files, a working
 * directory or mapped files there. By the names that /proc tells alone: a stat of what others have open could lead into a
 * mount of our own, and wait for ourselves.
 * @returns 'postgres (pid 411)', '/dev/loop3', 'the mount at /x/y'; not more than can be said in a message
 */
export function whoUses(at: string, { procDir, sysDir }: FullDiskWorld): string[] {
  const isBelow = (path: string) => path.startsWith(`${at}/`)
  const isHere = (path: string) => path === at || isBelow(path)
  const users: string[] = []
  for (const line of parseMountinfo(textIn(join(procDir, 'self/mountinfo')))) {
    if (isBelow(line.at)) users.push(`the mount at ${line.at}`)
  }
  for (const name of namesIn(join(sysDir, 'block')).filter((disk) => disk.startsWith('loop'))) {
    const file = textIn(join(sysDir, 'block', name, 'loop/backing_file'))
    if (isHere(file)) users.push(`/dev/${name}`)
  }
  for (const pid of namesIn(procDir).filter((name) => /^\d+$/.test(name))) {
    const dir = join(procDir, pid)
    if (filesOf(dir).some(isHere)) users.push(`${textIn(join(dir, 'comm'))} (pid ${pid})`)
    if (users.length > NAMED_MAX) return [...users.slice(0, NAMED_MAX), 'and more']
  }
  return users
}

function filesOf(dir: string): string[] {
  const open = namesIn(join(dir, 'fd')).map((name) => targetOf(join(dir, 'fd', name)))
  // address perms offset dev inode path
  const mapped = textIn(join(dir, 'maps'))
    .split('\n')
    .map((line) => line.split(/\s+/).slice(5).join(' '))
  return [targetOf(join(dir, 'cwd')), targetOf(join(dir, 'root')), ...open, ...mapped]
}
