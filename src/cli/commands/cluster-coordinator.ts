import type { ClusterInfo, CoordinatorMoved } from '../../api/index.ts'
import { usageError } from '../cli-error.ts'
import type { Command, Context } from '../command.ts'
import { fields } from '../render.ts'

export const command: Command = {
  positionals: {
    action: { type: 'string', choices: ['migrate'], describe: 'Left out: show where it is' },
    to: { type: 'string', describe: 'Of migrate: etcd://h1:2379,h2:2379,…' },
  },
  examples: [
    ['weft cluster coordinator', 'Where it is, and whether it answers'],
    [
      'weft cluster coordinator migrate etcd://h1:2379,h2:2379,h3:2379',
      'On the node that has it; the cluster is used on meanwhile',
    ],
  ],
  epilogue:
    'The coordinator says who owns what. While it is away, volumes that are open go on; none can be created or opened.\nA move that was broken off is finished by the same command. All daemons start anew under their mounts within seconds.',
  async run(context, args) {
    const to = args.text('to')
    if (args.text('action') === undefined) await show(context)
    else if (to === undefined) {
      throw usageError('TO is missing', 'weft cluster coordinator migrate etcd://h1:2379,h2:2379')
    } else {
      context.terminal.err(`moving the coordinator to ${to} …\n`)
      const path = '/v1/cluster/coordinator'
      const moved = await context.node.post<CoordinatorMoved>(path, { to })
      context.print(
        moved,
        () => `the coordinator is at ${moved.place}, generation ${moved.generation}\n`,
      )
    }
    return undefined
  },
}

async function show(context: Context): Promise<void> {
  const cluster = await context.node.get<ClusterInfo>('/v1/cluster')
  const { coordinator, coordinatorState, generation } = cluster
  context.print({ ...coordinator, ...coordinatorState, generation }, () =>
    fields([
      ['kind', coordinator.kind],
      ['place', coordinatorState.place],
      ['generation', String(generation)],
      ['answers', coordinatorState.why === '' ? 'yes' : `no: ${coordinatorState.why}`],
    ]),
  )
}
