import type { ChangePlan, DrainStatus } from '../../api/index.ts'
import { followChange, PLAN_OPTIONS, planText } from '../change-words.ts'
import type { Command } from '../command.ts'
import { count, size } from '../render.ts'

export const command: Command = {
  positionals: { node: { type: 'string', describe: 'Name or id' } },
  options: {
    ...PLAN_OPTIONS,
    stop: {
      type: 'boolean',
      describe: 'Keep what is still there; what has gone stays where it is',
    },
  },
  examples: [
    ['weft node drain node3 --plan', 'What would be copied, and how long it takes'],
    ['weft node drain node3', 'Have everything of node3 elsewhere; then: weft node remove node3'],
    ['weft node drain node3 --stop', 'Not after all; the same without --stop goes on'],
  ],
  epilogue:
    'Its copies are made elsewhere before they are deleted, and its volumes get another owner. It goes on when this command is ended, and after restarts.',
  async run(context, args) {
    const path = `/v1/nodes/${encodeURIComponent(args.needed('node'))}/drain`
    const stop = args.flag('stop')
    const made = await context.node.post<ChangePlan>(path, { plan: args.flag('plan'), stop })
    if (made.accepted && !stop && args.flag('wait')) {
      await followChange(context, async () => drainLine(await context.node.get<DrainStatus>(path)))
    }
    context.print(made, () => planText(made))
    return undefined
  },
}

/** Null once it holds nothing, or is not to be emptied any more. */
function drainLine({ node, since, left }: DrainStatus): string | null {
  const [first] = left
  if (since === null || !first) return null
  const bytes =
    first.totalBytes > 0 ? `, ${size(first.doneBytes)} of ${size(first.totalBytes)}` : ''
  const trouble = first.trouble === '' ? '' : ` (${first.trouble}; ${first.next})`
  return `node ${node} still has ${count(left.length, 'volume')}; ${first.volume}: ${first.doing || 'waits'}${bytes}${trouble}`
}
