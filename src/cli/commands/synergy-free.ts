import type { FreeFrameDrive } from '../../api/index.ts'
import type { Command } from '../command.ts'
import { freeTable } from '../frame-words.ts'

export const command: Command = {
  options: {
    class: { choices: ['1', '2', '3'], describe: 'Of this class alone: 1 low, 2 medium, 3 high' },
  },
  examples: [
    ['weft synergy free', 'Drives in reach of this server, in good health, of nobody'],
    ['weft synergy free --class 3 --json', '{"drives": […]}'],
  ],
  async run(context, args) {
    const cos = args.whole('class', 1, 3)
    const query = cos === undefined ? '' : `?class=${cos}`
    const path = `/v1/synergy/free${query}`
    const { drives } = await context.node.get<{ drives: FreeFrameDrive[] }>(path)
    context.print({ drives }, () =>
      drives.length === 0 ? 'no drive is free in reach of this server\n' : freeTable(drives),
    )
    return undefined
  },
}
