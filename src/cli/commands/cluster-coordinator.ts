import type { ClusterInfo } from '../../api/index.ts'
import type { Command } from '../command.ts'
import { fields } from '../render.ts'

export const command: Command = {
  examples: [['weft cluster coordinator', 'Where it is, and whether it answers']],
  epilogue:
    'The coordinator says who owns what. While it is away, volumes that are open go on; none can be created or opened.',
  async run(context) {
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
    return undefined
  },
}
