import type { ServiceClass } from '../drives/index.ts'
import type { FreeDrive } from './provisioner.ts'

/**
 * The smallest drive of the class that is large enough, else the largest there is: little is left over, and few drives are
 * taken. Of equal ones the first by place, so that a plan says what is then done.
 */
export function pickFree(
  free: readonly FreeDrive[],
  cos: ServiceClass,
  wantedBytes: number,
): FreeDrive | null {
  const bySize = smallest(free, cos)
  const fits = bySize.find(({ sizeBytes }) => sizeBytes >= wantedBytes)
  const largest = bySize.at(-1)?.sizeBytes
  return fits ?? bySize.find(({ sizeBytes }) => sizeBytes === largest) ?? null
}

/** Of a class, the smallest first: those that are taken when so many are wanted and no size is. */
export function smallest(
  free: readonly FreeDrive[],
  cos: ServiceClass,
  count = Number.POSITIVE_INFINITY,
): readonly FreeDrive[] {
  return free
    .filter((drive) => drive.class === cos)
    .sort((a, b) => a.sizeBytes - b.sizeBytes || (a.place < b.place ? -1 : 1))
    .slice(0, count)
}

/** Those that would be taken one after the other until so many bytes are covered, `max` at most. */
export function pickSeveral(
  free: readonly FreeDrive[],
  cos: ServiceClass,
  wantedBytes: number,
  max: number,
): readonly FreeDrive[] {
  const picked: FreeDrive[] = []
  let left = wantedBytes
  while (left > 0 && picked.length < max) {
    const drive = pickFree(
      free.filter((one) => !picked.includes(one)),
      cos,
      left,
    )
    if (!drive) break
    picked.push(drive)
    left -= drive.sizeBytes
  }
  return picked
}
