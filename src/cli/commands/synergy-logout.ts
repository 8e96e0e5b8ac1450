import type { Command } from '../command.ts'
import { printable } from '../render.ts'

export const command: Command = {
  options: {
    force: {
      type: 'boolean',
      describe:
        'Though this node has drives of the frame: they stay in use, and nobody sees to them',
    },
  },
  examples: [['weft synergy logout', 'Forget the appliance and its password']],
  async run(context, args) {
    const request = { force: args.flag('force') }
    const { left } = await context.node.post<{ left: string[] }>('/v1/synergy/logout', request)
    context.print({ left }, () => {
      const lines = left.map((name) => `  left before this server, in use: ${printable(name)}\n`)
      return `no frame is connected any more\n${lines.join('')}`
    })
    return undefined
  },
}
