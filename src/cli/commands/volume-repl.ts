import type { ChangePlan, VolumeDetail } from '../../api/index.ts'
import { followChange, PLAN_OPTIONS, planText } from '../change-words.ts'
import { usageError } from '../cli-error.ts'
import { type Command, volumePath } from '../command.ts'
import { repairLine } from '../copy-words.ts'

export const command: Command = {
  positionals: {
    volume: { type: 'string', describe: 'Name or id' },
    copies: { type: 'string', describe: 'How many there shall be' },
  },
  options: PLAN_OPTIONS,
  examples: [
    ['weft volume repl db 3', 'Three copies, while it is used'],
    ['weft volume repl db 2 --plan', 'What fewer copies would leave'],
  ],
  epilogue:
    'It goes on when this command is ended, and after restarts; giving another number changes it. No copy is given up before as many as wanted are in sync without it.',
  async run(context, args) {
    const name = args.needed('volume')
    const copies = Number(args.needed('copies'))
    if (!Number.isInteger(copies) || copies < 1) {
      throw usageError(
        'the number of copies has to be a whole number from 1 on',
        'weft volume repl db 3',
      )
    }
    const plan = args.flag('plan')
    const made = await context.node.post<ChangePlan>(volumePath(name, '/repl'), { copies, plan })
    if (made.accepted && args.flag('wait')) {
      await followChange(context, async () => {
        const volume = await context.node.get<VolumeDetail>(volumePath(name))
        const isDone = volume.copies.length === copies && volume.inSync === copies
        return isDone ? null : repairLine(volume)
      })
    }
    context.print(made, () => planText(made))
    return undefined
  },
}
