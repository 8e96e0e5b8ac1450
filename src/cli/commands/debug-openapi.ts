import type { Command } from '../command.ts'

export const command: Command = {
  examples: [['weft debug openapi', 'For a client generator, or to read']],
  async run(context) {
    const document = await context.node.get<unknown>('/openapi.json')
    context.print(document, () => `${JSON.stringify(document, null, 2)}\n`)
    return undefined
  },
}
