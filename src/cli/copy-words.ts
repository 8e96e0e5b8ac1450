import type { VolumeCopy, VolumeDetail } from '../api/index.ts'
import { size } from './render.ts'

/** node1, node2, node3 (joining, 1.2 GiB of 2.0 GiB) */
export function copiesText({ copies }: VolumeDetail): string {
  return copies.map(copyText).join(', ')
}

function copyText({ node, state, silentSeconds, doneBytes, totalBytes }: VolumeCopy): string {
  if (state === 'in sync') return node
  if (state === 'silent') return `${node} (silent for ${silentSeconds} s)`
  const bytes =
    state === 'joining' && totalBytes > 0 ? `, ${size(doneBytes)} of ${size(totalBytes)}` : ''
  return `${node} (${state}${bytes})`
}

/** What is done about the copies of a volume, in one line. */
export function repairLine(volume: VolumeDetail): string {
  const { repair } = volume
  if (!repair) return `${volume.name}: its owner does not answer`
  const { doing, trouble, next, doneBytes, totalBytes, secondsLeft } = repair
  const bytes = totalBytes > 0 ? `, ${size(doneBytes)} of ${size(totalBytes)}` : ''
  const left = secondsLeft === null ? '' : `, about ${Math.ceil(secondsLeft / 60)} min left`
  const why = trouble === '' ? '' : ` (${trouble}; ${next})`
  return `${volume.name}: ${doing || 'a change is awaited'}${bytes}${left}${why}`
}
