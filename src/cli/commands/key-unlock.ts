import type { KeyList } from '../../api/index.ts'
import { type Command, volumePath } from '../command.ts'
import { sayingSlots } from '../key-words.ts'
import { OPENER_OPTIONS, openerOf } from '../secrets.ts'

export const command: Command = {
  positionals: { volume: { type: 'string', describe: 'Name or id' } },
  options: OPENER_OPTIONS,
  examples: [
    ['weft key unlock mysql_vol', "With this node's own key"],
    ['weft key unlock mysql_vol --passphrase', 'Asks on the terminal'],
    ['weft key unlock mysql_vol --identity ~/.weft-key', "With a person's key file"],
  ],
  async run(context, args) {
    const volume = args.needed('volume')
    const opener = await openerOf(context, args)
    const list = await sayingSlots(context, volume, () =>
      context.node.post<KeyList>(volumePath(volume, '/keys/unlock'), { opener }),
    )
    context.print(list, () => `volume ${list.volume.name} is open\n`)
    return undefined
  },
}
