import type { DriveAdded } from '../../api/index.ts'
import { absolute, type Command } from '../command.ts'
import { size } from '../render.ts'

export const command: Command = {
  positionals: {
    dir: { type: 'string', describe: 'An empty directory, best on a disk of its own' },
  },
  options: {
    class: {
      choices: ['1', '2', '3'],
      describe: 'Class of service: 1 low (HDD), 2 medium (SSD), 3 high (NVMe)',
    },
    create: { type: 'boolean', describe: 'Make the directory when it is missing' },
  },
  examples: [
    ['weft drive add /srv/das0/weft --class 3', 'Chunks are spread over all drives by free space'],
  ],
  epilogue:
    'Mount the disk first: a missing directory is refused, because it would be made on the disk below.',
  async run(context, args) {
    const given = args.whole('class', 1, 3)
    const dir = absolute(context, args.needed('dir'))
    const drive = await context.node.post<DriveAdded>('/v1/drives', {
      dir,
      ...(given === undefined ? {} : { class: given }),
      ...(args.flag('create') ? { create: true } : {}),
    })
    context.print(drive, () => {
      const notes = drive.notes.map((note) => `  note: ${note}\n`).join('')
      return `drive ${drive.name} is added: ${drive.dir}, ${size(drive.freeBytes)} free\n${notes}`
    })
    return undefined
  },
}
