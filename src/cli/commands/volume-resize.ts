import type { VolumeDetail } from '../../api/index.ts'
import { type Command, volumePath } from '../command.ts'
import { withGrowth } from '../growing.ts'
import { size } from '../render.ts'
import { sayingSpec } from '../volume-words.ts'

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
    const name = args.needed('volume')
    const request = { size: args.needed('size') }
    const volume = await sayingSpec(
      () =>
        withGrowth(context, () =>
          context.node.post<VolumeDetail>(volumePath(name, '/resize'), request),
        ),
      'weft volume resize VOLUME 200G',
    )
    context.print(
      volume,
      () =>
        `volume ${volume.name} has ${size(volume.sizeBytes)} now, ${size(volume.usedBytes)} used\n`,
    )
    return undefined
  },
}
