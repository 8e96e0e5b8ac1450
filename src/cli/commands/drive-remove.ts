import type { DriveInfo } from '../../api/index.ts'
import { followChange } from '../change-words.ts'
import type { Command } from '../command.ts'

export const command: Command = {
  positionals: { drive: { type: 'string', describe: 'Id, or directory' } },
  options: {
    lost: {
      type: 'boolean',
      describe: 'It is not here and will not be again: what was on it alone is lost',
    },
  },
  examples: [
    ['weft drive remove das1', 'Behind weft drive drain das1'],
    ['weft drive remove S4EVNF0M --lost', 'A disk that broke; then weft fsck'],
  ],
  epilogue:
    'Only a drive that is empty goes: weft drive drain empties it. One that fails is emptied by itself.',
  async run(context, args) {
    const path = `/v1/drives/${encodeURIComponent(args.needed('drive'))}`
    const lost = args.flag('lost') ? '?lost=true' : ''
    const drive = await context.node.delete<DriveInfo>(`${path}${lost}`)
    // Its filesystem is nobody's by then, or once the daemon has begun anew without it.
    await followChange(context, async () => {
      const { drives } = await context.node.get<{ drives: DriveInfo[] }>('/v1/drives')
      const isThere = drives.some(({ id }) => id === drive.id)
      return isThere ? `drive ${drive.name}: the daemon restarts without it` : null
    })
    context.print(
      drive,
      () => `drive ${drive.name} is no drive of this node any more: ${drive.dir}\n`,
    )
    return undefined
  },
}
