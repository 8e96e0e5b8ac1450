import type { KeyList } from '../../api/index.ts'
import { usageError } from '../cli-error.ts'
import { type Command, volumePath } from '../command.ts'

export const command: Command = {
  positionals: {
    volume: { type: 'string', describe: 'Name or id' },
    slot: { type: 'string', describe: 'Number of the slot, from weft key list' },
  },
  examples: [['weft key remove mysql_vol 3', 'Slot 3 opens the volume no more']],
  epilogue:
    'Who held the slot may have kept the key itself: weft key rotate VOLUME --reseal makes that key useless.',
  async run(context, args) {
    const volume = args.needed('volume')
    const slot = args.needed('slot')
    if (!/^\d{1,9}$/.test(slot))
      throw usageError(`"${slot}" is not a slot number`, `weft key list ${volume}`)
    const { keys } = await context.node.get<KeyList>(volumePath(volume, '/keys'))
    const ours = keys.find((one) => one.id === slot)?.name === 'this node'
    await context.node.delete(volumePath(volume, `/keys/${slot}`))
    context.print(
      { volume, slot, removed: true },
      () =>
        `slot ${slot} of ${volume} is removed\n${ours ? `  note: it was this node's own: from its next start on, ${volume} is locked until weft key unlock ${volume}\n` : ''}`,
    )
    return undefined
  },
}
