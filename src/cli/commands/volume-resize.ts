import type { VolumeDetail } from '../../api/index.ts'
import { type Command, volumePath } from '../command.ts'
import { size } from '../render.ts'

export const command: Command = {
  positionals: {
    volume: { type: 'string', describe: 'Name or id' },
    size: { type: 'string', describe: 'New size: 500M, 100G, 2T' },
  },
  examples: [
    [
      'weft volume resize mysql_vol 200G',
      'Larger or smaller while it is used; never below what it holds',
    ],
  ],
  async run(context, args) {
    const path = volumePath(args.needed('volume'), '/resize')
    const volume = await context.node.post<VolumeDetail>(path, { size: args.needed('size') })
    context.print(
      volume,
      () =>
        `volume ${volume.name} has ${size(volume.sizeBytes)} now, ${size(volume.usedBytes)} used\n`,
    )
    return undefined
  },
}
