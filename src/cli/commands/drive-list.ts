import type { DriveInfo } from '../../api/index.ts'
import type { Command } from '../command.ts'
import { driveTable } from '../listings.ts'

export const command: Command = {
  examples: [
    ['weft drive list', 'Class, state and free space of each'],
    ['weft drive list --json', '{"drives": […]}'],
  ],
  async run(context) {
    const { drives } = await context.node.get<{ drives: DriveInfo[] }>('/v1/drives')
    context.print({ drives }, () =>
      drives.length === 0 ? 'no drive: weft drive add DIR\n' : driveTable(drives),
    )
    return undefined
  },
}
