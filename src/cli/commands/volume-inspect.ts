import type { VolumeDetail } from '../../api/index.ts'
import { type Command, volumePath } from '../command.ts'
import { copiesText, repairLine } from '../copy-words.ts'
import { className } from '../listings.ts'
import { count, fields, size } from '../render.ts'
import { problemText } from './status.ts'

export const command: Command = {
  positionals: { volume: { type: 'string', describe: 'Name or id' } },
  examples: [['weft volume inspect mysql_vol', 'Size, use, keys, epochs, drives and problems']],
  async run(context, args) {
    const volume = await context.node.get<VolumeDetail>(volumePath(args.needed('volume')))
    context.print(volume, () => detailText(volume))
    return undefined
  },
}

function detailText(volume: VolumeDetail): string {
  const dead = volume.storedBytes - volume.liveBytes
  const rows: [string, string][] = [
    ['name', volume.name],
    ['id', volume.id],
    ['state', volume.state],
    ['spec', volume.spec],
    ['size', size(volume.sizeBytes)],
    ['used', `${size(volume.usedBytes)} in ${count(volume.files, 'file')}`],
    ['copies', copiesText(volume)],
    ...(volume.repair && volume.repair.doing !== ''
      ? [['repair', repairLine(volume)] as [string, string]]
      : []),
    ['can own it', volume.ownersNow.join(', ') || '-'],
    ['class', className(volume.cos)],
    ['attached', volume.attached ?? 'no'],
    ['epoch', String(volume.epoch)],
    ['records', `${volume.records}, journal ${size(volume.journalBytes)}`],
    [
      'chunks',
      `${volume.chunks}, ${size(volume.storedBytes)}, of them ${size(Math.max(0, dead))} to be reclaimed`,
    ],
    ['keys', `${count(volume.keySlots, 'slot')}, key epoch ${volume.keyEpoch}`],
    ['drives', volume.drives.join(' ') || 'none'],
    ['created', volume.createdAt],
  ]
  return fields(rows) + volume.problems.map(problemText).join('')
}
