import type { SynergyCheck, SynergyStatus } from '../../api/index.ts'
import type { Command } from '../command.ts'
import { EXIT } from '../exit-codes.ts'
import { checkTable, frameText } from '../frame-words.ts'

export const command: Command = {
  options: {
    check: {
      type: 'boolean',
      describe: 'Look at the appliance where public documents left something open; reads only',
    },
  },
  examples: [
    ['weft synergy status', 'The appliance, the drives this node has of it, what goes on'],
    [
      'weft synergy status --check',
      'For the owner of a real frame: what was guessed, and what it shows',
    ],
    [
      'weft synergy status --json',
      '{"connection": …, "drives": […], …}; with --check {"checks": […]}',
    ],
  ],
  async run(context, args) {
    if (args.flag('check')) {
      const { checks } = await context.node.get<{ checks: SynergyCheck[] }>('/v1/synergy/check')
      context.print({ checks }, () => checkTable(checks))
      return checks.every(({ ok }) => ok) ? undefined : EXIT.failed
    }
    const status = await context.node.get<SynergyStatus>('/v1/synergy')
    context.print(status, () => frameText(status))
    return undefined
  },
}
