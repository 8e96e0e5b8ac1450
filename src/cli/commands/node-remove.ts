import type { NodeRemoved } from '../../api/index.ts'
import type { Command } from '../command.ts'

export const command: Command = {
  positionals: { node: { type: 'string', describe: 'Name or id' } },
  options: {
    reason: { type: 'string', requiresArg: true, describe: 'Why, for whoever asks later' },
  },
  examples: [
    ['weft node remove node3', 'Its key is refused for ever; the cluster gets new keys'],
    ['weft node remove node3 --reason "sold"', 'With a word on why'],
  ],
  epilogue:
    'A node that holds volumes, the one with the coordinator, and the last one are refused. A removed machine joins again only\nwith an empty home.',
  async run(context, args) {
    const reason = args.text('reason')
    const path = `/v1/nodes/${encodeURIComponent(args.needed('node'))}/remove`
    const body = reason === undefined ? {} : { reason }
    const removed = await context.node.post<NodeRemoved>(path, body)
    context.print(removed, () => `node ${removed.name} is removed\n`)
    return undefined
  },
}
