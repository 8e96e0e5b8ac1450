import type { PolicyDecision } from '../../api/index.ts'
import type { Command } from '../command.ts'
import { decisionText } from '../frame-words.ts'

export const command: Command = {
  examples: [['weft policy plan', 'What it would do for each class now, and why; changes nothing']],
  async run(context) {
    const path = '/v1/policy/plan'
    const { decisions } = await context.node.get<{ decisions: PolicyDecision[] }>(path)
    context.print({ decisions }, () => decisionText(decisions))
    return undefined
  },
}
