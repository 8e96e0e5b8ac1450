import type { RepairSettings } from '../../api/index.ts'
import { lifetimeOf } from '../cluster-words.ts'
import type { Command } from '../command.ts'
import { fields, size } from '../render.ts'

export const command: Command = {
  options: {
    grace: {
      type: 'string',
      requiresArg: true,
      describe: 'How long a node that does not answer may take to return: 2m, 30s, 1h (default 2m)',
    },
    rate: {
      type: 'string',
      requiresArg: true,
      describe:
        'Bytes a second that one node copies at most: 64M (default 256M); a quarter of it while callers wait',
    },
  },
  examples: [
    ['weft cluster repair', 'How the cluster mends itself'],
    ['weft cluster repair --grace 10m', 'Before a rack is moved'],
  ],
  async run(context, args) {
    const grace = args.text('grace')
    const rate = args.text('rate')
    const change = {
      ...(grace === undefined ? {} : { graceMs: lifetimeOf(grace, 'grace') }),
      ...(rate === undefined ? {} : { rate }),
    }
    const settings =
      Object.keys(change).length === 0
        ? await context.node.get<RepairSettings>('/v1/repair')
        : await context.node.post<RepairSettings>('/v1/repair', change)
    context.print(settings, () =>
      fields([
        ['grace', `${settings.graceMs / 1000} s`],
        ['rate', `${size(settings.bytesPerSecond)} a second`],
      ]),
    )
    return undefined
  },
}
