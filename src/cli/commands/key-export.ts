import { absolute, type Command, volumePath } from '../command.ts'
import { writeSecretFile } from '../key-files.ts'

export const command: Command = {
  positionals: { volume: { type: 'string', describe: 'Name or id' } },
  options: {
    out: {
      type: 'string',
      requiresArg: true,
      describe: 'File, made new; standard output when left out',
    },
  },
  examples: [
    [
      'weft key export mysql_vol --out mysql_vol.keys',
      'Opens nothing without the secret of one of its slots',
    ],
  ],
  epilogue: 'Prove it before you need it: weft key drill VOLUME FILE --passphrase',
  async run(context, args) {
    const volume = args.needed('volume')
    const out = args.text('out')
    const { backup } = await context.node.get<{ backup: string }>(
      volumePath(volume, '/keys/backup'),
    )
    if (out === undefined) {
      context.print({ volume, backup }, () => (backup.endsWith('\n') ? backup : `${backup}\n`))
      return undefined
    }
    const path = absolute(context, out)
    writeSecretFile(path, backup)
    context.print({ volume, file: path }, () => `the keys of ${volume} are backed up in ${path}\n`)
    return undefined
  },
}
