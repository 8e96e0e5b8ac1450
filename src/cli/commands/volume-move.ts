import type { ChangePlan, VolumeDetail } from '../../api/index.ts'
import { followChange, PLAN_OPTIONS, planText } from '../change-words.ts'
import { type Command, volumePath } from '../command.ts'
import { repairLine } from '../copy-words.ts'

export const command: Command = {
  positionals: {
    volume: { type: 'string', describe: 'Name or id' },
    node: { type: 'string', describe: 'Name or id of the node that shall own it' },
  },
  options: {
    ...PLAN_OPTIONS,
    copy: { type: 'boolean', describe: 'Make a copy there first, if there is none' },
    stop: { type: 'boolean', describe: 'It stays where it is' },
  },
  examples: [
    ['weft volume move db node2', 'node2, which has a copy of it, owns it from now on'],
    ['weft volume move db node4 --copy', 'The same, with a copy made there before'],
    ['weft volume move db node4 --stop', 'Not after all'],
  ],
  epilogue:
    'What is open stays open. A volume that is attached, or on whose files locks are held, moves once that ends. It goes on when this command is ended.',
  async run(context, args) {
    const name = args.needed('volume')
    const node = args.needed('node')
    if (args.flag('stop')) {
      await context.node.post(volumePath(name, '/stay'), {})
      context.print({ volume: name }, () => `volume ${name} stays where it is\n`)
      return undefined
    }
    const request = { node, plan: args.flag('plan'), copy: args.flag('copy') }
    const made = await context.node.post<ChangePlan>(volumePath(name, '/move'), request)
    if (made.accepted && args.flag('wait')) {
      await followChange(context, async () => {
        const volume = await context.node.get<VolumeDetail>(volumePath(name))
        return volume.owner === node || volume.movingTo === null ? null : repairLine(volume)
      })
    }
    context.print(made, () => planText(made))
    return undefined
  },
}
