import type { Command } from '../command.ts'

export const command: Command = {
  examples: [
    ['weft debug metrics', 'Request counts and times per mount, and all else that is counted'],
  ],
  async run(context) {
    const metrics = await context.node.text('GET', '/metrics')
    context.print({ metrics }, () => metrics)
    return undefined
  },
}
