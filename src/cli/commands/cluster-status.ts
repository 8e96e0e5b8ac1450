import type { ClusterInfo } from '../../api/index.ts'
import { clusterText } from '../cluster-words.ts'
import type { Command } from '../command.ts'

export const command: Command = {
  examples: [
    ['weft cluster status', 'Nodes, how they are reached, where the coordinator is'],
    ['weft cluster status --json', 'The same for scripts: nodes, coordinator, coordinatorState'],
  ],
  epilogue:
    'As this node knows it: nobody is asked, so it answers at once also when all others are away.',
  async run(context) {
    const cluster = await context.node.get<ClusterInfo>('/v1/cluster')
    context.print(cluster, () => clusterText(cluster))
    return undefined
  },
}
