import type { DriveInfo } from '../../api/index.ts'
import type { Command } from '../command.ts'
import { driveDrainLine, driveTable } from '../listings.ts'
import { printable } from '../render.ts'

export const command: Command = {
  positionals: { drive: { type: 'string', describe: 'Id, or directory' } },
  examples: [['weft drive status das1', 'Its class, state and room, and how far it is emptied']],
  async run(context, args) {
    const path = `/v1/drives/${encodeURIComponent(args.needed('drive'))}`
    const drive = await context.node.get<DriveInfo>(path)
    context.print(drive, () => {
      const line = drive.drain?.isEmpty
        ? `it is empty: weft drive remove ${drive.id}`
        : driveDrainLine(drive)
      const lines = [line, drive.why && printable(drive.why)].filter((one) => one)
      return `${driveTable([drive])}${lines.map((one) => `${one}\n`).join('')}id ${drive.id}\n`
    })
    return undefined
  },
}
