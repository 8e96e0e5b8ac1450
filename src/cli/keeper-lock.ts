import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Pid of the keeper that holds a home, null when none lives. A look for messages and waiting only:
 * the keeper itself decides who may start (flock, see fuse/home-lock.ts).
 */
export function keeperPid(home: string): number | null {
  try {
    const pid = Number(/"pid":\s*(\d+)/.exec(readFileSync(join(home, 'keeper.lock'), 'utf8'))?.[1])
    return pid > 1 && isKeeper(pid) ? pid : null
  } catch {
    return null
  }
}

/** A pid may belong to someone else by now; a keeper has __keeper on its command line. */
function isKeeper(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes('__keeper')
  } catch {
    return false
  }
}
