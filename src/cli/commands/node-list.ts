import type { MemberInfo } from '../../api/index.ts'
import { nodeTable } from '../cluster-words.ts'
import type { Command } from '../command.ts'

export const command: Command = {
  examples: [
    ['weft node list', 'Members and how this node reaches them; then the removed ones'],
    ['weft node list --json', '{"nodes": […]}'],
  ],
  async run(context) {
    const { nodes } = await context.node.get<{ nodes: MemberInfo[] }>('/v1/nodes')
    context.print({ nodes }, () => nodeTable(nodes))
    return undefined
  },
}
