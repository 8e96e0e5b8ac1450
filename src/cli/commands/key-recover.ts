import type { KeyList } from '../../api/index.ts'
import { absolute, type Command, volumePath } from '../command.ts'
import { sayingSlots } from '../key-words.ts'
import { shareTexts } from '../secrets.ts'
import { keyListText } from './key-list.ts'

export const command: Command = {
  positionals: {
    volume: { type: 'string', describe: 'Name or id' },
    shares: { type: 'string', describe: 'Share files, as many as are needed' },
  },
  examples: [
    [
      'weft key recover mysql_vol a.share b.share c.share',
      'Opens the volume, and gives this node a slot again',
    ],
  ],
  async run(context, args) {
    const shares = shareTexts(args.list('shares').map((path) => absolute(context, path)))
    const volume = args.needed('volume')
    const list = await sayingSlots(context, volume, () =>
      context.node.post<KeyList>(volumePath(volume, '/keys/recover'), { shares }),
    )
    context.print(list, () => keyListText(list))
    return undefined
  },
}
