import type { KeyList } from '../../api/index.ts'
import { type Command, volumePath } from '../command.ts'
import { readBackup } from '../key-files.ts'
import { OPENER_OPTIONS, openerOf } from '../secrets.ts'
import { keyListText } from './key-list.ts'

export const command: Command = {
  positionals: {
    volume: { type: 'string', describe: 'Name or id' },
    file: { type: 'string', describe: 'Backup made by weft key export' },
  },
  options: OPENER_OPTIONS,
  examples: [
    [
      'weft key import mysql_vol mysql_vol.keys --passphrase',
      'The slots of the backup open the volume again',
    ],
  ],
  async run(context, args) {
    const path = volumePath(args.needed('volume'), '/keys/import')
    const backup = readBackup(context, args.needed('file'))
    const opener = await openerOf(context, args)
    const list = await context.node.post<KeyList>(path, { backup, opener })
    context.print(list, () => keyListText(list))
    return undefined
  },
}
