import { statSync } from 'node:fs'
import type { DriveAdded } from '../../api/index.ts'
import { absolute, type Command } from '../command.ts'
import { size } from '../render.ts'

export const command: Command = {
  positionals: {
    place: { type: 'string', describe: 'A whole disk, or an empty directory' },
  },
  options: {
    class: {
      choices: ['auto', '1', '2', '3'],
      describe:
        'Class of service: 1 low (HDD), 2 medium (SATA SSD), 3 high (SAS SSD, NVMe); auto: by what a disk is and does',
    },
    create: { type: 'boolean', describe: 'Make the directory when it is missing' },
    force: { type: 'boolean', describe: 'Erase what stands on the disk' },
  },
  examples: [
    [
      'weft drive add /dev/disk/by-id/wwn-0x5000c500a1b2c3d4',
      'A whole disk: formatted (XFS), measured, and found again under whatever name',
    ],
    ['weft drive add /srv/das0/weft --class 3', 'A directory; chunks are spread by free space'],
  ],
  epilogue:
    'A disk with anything on it is refused with what that is; --force erases it. Mount the disk of a directory first: a missing one is refused, because it would be made on the disk below.',
  async run(context, args) {
    const given = args.text('class') === 'auto' ? undefined : args.whole('class', 1, 3)
    const place = absolute(context, args.needed('place'))
    const isDevice = place.startsWith('/dev/') || isBlockDevice(place)
    if (isDevice) context.terminal.err('formatting and measuring the disk\n')
    const drive = await context.node.post<DriveAdded>('/v1/drives', {
      ...(isDevice ? { device: place } : { dir: place }),
      ...(given === undefined ? {} : { class: given }),
      ...(args.flag('create') ? { create: true } : {}),
      ...(args.flag('force') ? { force: true } : {}),
    })
    context.print(drive, () => {
      const notes = drive.notes.map((note) => `  note: ${note}\n`).join('')
      return `drive ${drive.name} is added: ${drive.dir}, ${size(drive.freeBytes)} free\n${notes}`
    })
    return undefined
  },
}

function isBlockDevice(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isBlockDevice() ?? false
}
