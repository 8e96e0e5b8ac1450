import type { PolicyInfo } from '../../api/index.ts'
import type { Command } from '../command.ts'

export const command: Command = {
  examples: [['weft policy show', 'When drives are taken and given back']],
  async run(context) {
    const policy = await context.node.get<PolicyInfo>('/v1/policy')
    context.print(policy, () => `${policy.words}\n`)
    return undefined
  },
}
