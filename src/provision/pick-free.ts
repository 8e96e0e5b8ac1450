import type { ServiceClass } from '../drives/index.ts'
import type { FreeDrive } from './provisioner.ts'

/** A free drive, or one that stands ready. */
type Offered = Pick<FreeDrive, 'place' | 'class' | 'sizeBytes'>

/**
 * The smallest drive of the class that is large enough, else the largest there is: little is left over, and few drives are
 * taken. Of equal ones the first by place, so that a plan says what is then done.
 */
export function pickFree<T extends Offered>(
  free: readonly T[],
  cos: ServiceClass,
  wantedBytes: number,
): T | null {
  const bySize = smallest(free, cos)
  const fits = bySize.find(({ sizeBytes }) => sizeBytes >= wantedBytes)
  const largest = bySize.at(-1)?.sizeBytes
  return fits ?? bySize.find(({ sizeBytes }) => sizeBytes === largest) ?? null
}

/** Of a class, the smallest first: those that are taken when so many are wanted and no size is. */
export function smallest<T extends Offered>(
  free: readonly T[],
  cos: ServiceClass,
  count = Number.POSITIVE_INFINITY,
): readonly T[] {
  return free
    .filter((drive) => drive.class === cos)
    .sort((a, b) => a.sizeBytes - b.sizeBytes || (a.place < b.place ? -1 : 1))
    .slice(0, count)
}

/** Those that would be taken one after the other until so many bytes are covered, `max` at most. */
export function pickSeveral<T extends Offered>(
  free: readonly T[],
  cos: ServiceClass,
  wantedBytes: number,
  max: number,
): readonly T[] {
  const picked: T[] = []
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
