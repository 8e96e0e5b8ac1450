import { absolute, type Command } from '../command.ts'

export const command: Command = {
  positionals: {
    target: { type: 'string', describe: 'The directory it is attached at, not its name' },
  },
  options: {
    force: {
      type: 'boolean',
      describe: 'Also while files are open: they answer errors from then on',
    },
  },
  examples: [['weft detach /var/lib/mysql', 'Flush, unmount, and let others write again']],
  async run(context, args) {
    const target = absolute(context, args.needed('target'))
    await context.node.post('/v1/detach', { target, force: args.flag('force') })
    context.print({ target, mounted: false }, () => `${target} is detached\n`)
    return undefined
  },
}
