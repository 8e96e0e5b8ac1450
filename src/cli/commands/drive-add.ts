import type { DriveInfo } from '../../api/index.ts'
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
  },
  examples: [
    ['weft drive add /srv/das0/weft --class 3', 'Chunks are spread over all drives by free space'],
  ],
  async run(context, args) {
    const given = args.whole('class', 1, 3)
    const dir = absolute(context, args.needed('dir'))
    const drive = await context.node.post<DriveInfo>('/v1/drives', {
      dir,
      ...(given === undefined ? {} : { class: given }),
    })
    context.print(
      drive,
      () => `drive ${drive.name} is added: ${drive.dir}, ${size(drive.freeBytes)} free\n`,
    )
    return undefined
  },
}
