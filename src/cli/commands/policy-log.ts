import type { PolicyEntry } from '../../api/index.ts'
import type { Command } from '../command.ts'
import { entryLines } from '../frame-words.ts'

export const command: Command = {
  examples: [
    ['weft policy log', 'What was taken, given back and refused, and why; the oldest first'],
    ['weft policy log --json', '{"entries": […]}'],
  ],
  async run(context) {
    const { entries } = await context.node.get<{ entries: PolicyEntry[] }>('/v1/policy/log')
    context.print({ entries }, () =>
      entries.length === 0 ? 'nothing yet: weft policy plan\n' : entryLines(entries),
    )
    return undefined
  },
}
