import type { DiskInfo, DriveInfo } from '../../api/index.ts'
import type { Command } from '../command.ts'
import { diskTable, driveTable } from '../listings.ts'

export const command: Command = {
  options: {
    all: { type: 'boolean', describe: 'Every disk of this host, and why some cannot be drives' },
  },
  examples: [
    ['weft drive list', 'Class, state and free space of each'],
    ['weft drive list --all', 'Which disks are free, and what is in the way of the others'],
    ['weft drive list --json', '{"drives": […]}; with --all {"disks": […]}'],
  ],
  async run(context, args) {
    if (args.flag('all')) {
      const { disks } = await context.node.get<{ disks: DiskInfo[] }>('/v1/disks')
      context.print({ disks }, () => (disks.length === 0 ? 'no disk\n' : diskTable(disks)))
      return undefined
    }
    const { drives } = await context.node.get<{ drives: DriveInfo[] }>('/v1/drives')
    context.print({ drives }, () =>
      drives.length === 0 ? 'no drive: weft drive add DIR\n' : driveTable(drives),
    )
    return undefined
  },
}
