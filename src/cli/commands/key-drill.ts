import type { DrillResult } from '../../api/index.ts'
import { type Command, volumePath } from '../command.ts'
import { EXIT } from '../exit-codes.ts'
import { readBackup } from '../key-files.ts'
import { sayingBackup, sayingSlots } from '../key-words.ts'
import { OPENER_OPTIONS, openerOf } from '../secrets.ts'

export const command: Command = {
  positionals: {
    volume: { type: 'string', describe: 'Name or id' },
    file: {
      type: 'string',
      describe: 'Backup made by weft key export; the slots in use now when left out',
    },
  },
  options: OPENER_OPTIONS,
  examples: [
    [
      'weft key drill mysql_vol mysql_vol.keys --passphrase',
      'Would this backup save you? Changes nothing',
    ],
  ],
  epilogue: 'Exit code 6 when it does not open, or lacks a key that data still needs.',
  async run(context, args) {
    const volume = args.needed('volume')
    const file = args.text('file')
    const backup = file === undefined ? null : readBackup(context, file)
    const opener = await openerOf(context, args)
    const send = () =>
      context.node.post<DrillResult>(volumePath(volume, '/keys/drill'), { backup, opener })
    const result = await (file === undefined
      ? sayingSlots(context, volume, send)
      : sayingBackup(context, volume, file, send))
    context.print(result, () => drillText(result))
    return result.opened && result.missingEpochs.length === 0 ? EXIT.ok : EXIT.permission
  },
}

function drillText(result: DrillResult): string {
  const { name } = result.volume
  if (!result.opened) return `it does not open ${name}\n`
  const opened = `slot ${result.slot} (${result.kind}) opens ${name}, key epochs ${result.epochs.join(', ')}\n`
  if (result.missingEpochs.length === 0)
    return `${opened}every byte of ${name} could be read with it\n`
  return `${opened}but data sealed in key epochs ${result.missingEpochs.join(', ')} could not be read\n  next: make a new backup: weft key export ${name} --out FILE\n`
}
