import { absolute, type Command } from '../command.ts'

export const command: Command = {
  positionals: { target: { type: 'string', describe: 'Where it is mounted' } },
  options: {
    force: {
      type: 'boolean',
      describe: 'Also while files are open: they answer errors from then on',
    },
  },
  examples: [['weft umount /mnt/weft', 'Flush and unmount; the node stays up']],
  async run(context, args) {
    const target = absolute(context, args.needed('target'))
    await context.node.post('/v1/umount', { target, force: args.flag('force') })
    context.print({ target, mounted: false }, () => `${target} is unmounted\n`)
    return undefined
  },
}
