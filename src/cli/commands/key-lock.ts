import type { KeyList } from '../../api/index.ts'
import { type Command, volumePath } from '../command.ts'

export const command: Command = {
  positionals: { volume: { type: 'string', describe: 'Name or id' } },
  examples: [
    [
      'weft key lock mysql_vol',
      'Still listed; below its root everything answers "required key not available"',
    ],
  ],
  async run(context, args) {
    const list = await context.node.post<KeyList>(volumePath(args.needed('volume'), '/keys/lock'))
    context.print(
      list,
      () => `volume ${list.volume.name} is locked; weft key unlock ${list.volume.name} opens it\n`,
    )
    return undefined
  },
}
