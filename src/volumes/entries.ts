import type { VolumeId } from '../base/index.ts'

/** Keys of the coordinator that belong to this room; docs/format.md §8. */
export const VOLUMES = 'volume/'
export const TOMBSTONES = 'tombstone/'
/** Bundles of keys that an import replaced, below the volume's id. */
export const REPLACED_KEYS = 'replaced-keys/'
/** The next number that a volume gets, decimal; absent before the first. */
export const NUMBER_NEXT = 'number/next'
export const volumeKey = (id: VolumeId) => `${VOLUMES}${id}`
export const nameKey = (name: string) => `name/${name}`
export const tombstoneKey = (id: VolumeId) => `${TOMBSTONES}${id}`
export const replacedKey = (id: VolumeId) => `${REPLACED_KEYS}${id}/`
