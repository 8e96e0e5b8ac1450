import type { KeyList } from '../../api/index.ts'
import { CliError, usageError } from '../cli-error.ts'
import { type Command, volumePath } from '../command.ts'
import { EXIT } from '../exit-codes.ts'

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
    const found = keys.find((one) => one.id === slot)
    if (found === undefined) {
      throw new CliError({
        exit: EXIT.notFound,
        code: 'ENOENT',
        message: `volume ${volume} has no slot ${slot}; it has ${keys.map(({ id }) => id).join(', ')}`,
        next: `weft key list ${volume}`,
        subject: { volume, slot },
      })
    }
    const ours = found.name === 'this node'
    await context.node.delete(volumePath(volume, `/keys/${slot}`))
    context.print(
      { volume, slot, removed: true },
      () =>
        `slot ${slot} of ${volume} is removed\n${ours ? `  note: it was this node's own: from its next start on, ${volume} is locked until weft key unlock ${volume}\n` : ''}`,
    )
    return undefined
  },
}
