import { type Command, volumePath } from '../command.ts'

export const command: Command = {
  positionals: { volume: { type: 'string', describe: 'Name or id' } },
  options: { force: { type: 'boolean', describe: 'Also when it is not empty' } },
  examples: [
    ['weft volume delete old', 'Refused unless it is empty'],
    ['weft volume delete old --force', 'Everything in it is gone for good'],
  ],
  async run(context, args) {
    const volume = args.needed('volume')
    await context.node.delete(volumePath(volume, args.flag('force') ? '?force=true' : ''))
    context.print({ volume, deleted: true }, () => `volume ${volume} is deleted\n`)
    return undefined
  },
}
