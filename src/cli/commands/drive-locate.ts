import type { Command } from '../command.ts'
import { printable } from '../render.ts'

export const command: Command = {
  positionals: { drive: { type: 'string', describe: 'Id, serial number or directory' } },
  options: { off: { type: 'boolean', describe: 'Switch it off' } },
  examples: [
    ['weft drive locate S4EVNF0M', 'Blink the LED of its bay'],
    ['weft drive locate S4EVNF0M --off', 'No more'],
  ],
  async run(context, args) {
    const name = args.needed('drive')
    const on = !args.flag('off')
    const path = `/v1/drives/${encodeURIComponent(name)}/locate`
    const { bay } = await context.node.post<{ bay: string }>(path, { on })
    context.print({ bay, on }, () => `bay ${printable(bay)}: its LED is ${on ? 'on' : 'off'}\n`)
    return undefined
  },
}
