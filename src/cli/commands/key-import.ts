import type { KeyList } from '../../api/index.ts'
import { type Command, volumePath } from '../command.ts'
import { readBackup } from '../key-files.ts'
import { sayingBackup } from '../key-words.ts'
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
    const volume = args.needed('volume')
    const file = args.needed('file')
    const backup = readBackup(context, file)
    const opener = await openerOf(context, args)
    const list = await sayingBackup(context, volume, file, () =>
      context.node.post<KeyList>(volumePath(volume, '/keys/import'), { backup, opener }),
    )
    context.print(list, () => keyListText(list))
    return undefined
  },
}
