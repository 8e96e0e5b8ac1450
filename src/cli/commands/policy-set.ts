import type { PolicyInfo } from '../../api/index.ts'
import { usageError } from '../cli-error.ts'
import type { Args, Command } from '../command.ts'

/** As the API names them. */
const WORDS = {
  'grow-at': 'growAt',
  'shrink-at': 'shrinkAt',
  reserve: 'reserve',
  'max-drives': 'maxDrives',
  budget: 'budget',
  'cool-down': 'coolDown',
  ready: 'ready',
} as const

export const command: Command = {
  options: {
    'grow-at': {
      type: 'string',
      requiresArg: true,
      describe: 'Part of a class in use from which on it grows: 75%',
    },
    'shrink-at': {
      type: 'string',
      requiresArg: true,
      describe: 'Part of a class in use below which it shrinks: 35%',
    },
    reserve: {
      type: 'string',
      requiresArg: true,
      describe: 'Kept free: one-node (to make again what another node held), none, or a size',
    },
    'max-drives': {
      type: 'string',
      requiresArg: true,
      describe: 'Drives of the frame that this node has at once, at most',
    },
    budget: {
      type: 'string',
      requiresArg: true,
      describe: 'Drives taken or given back a day: 4/day',
    },
    'cool-down': {
      type: 'string',
      requiresArg: true,
      describe: 'Between two acts, unless it would be full before: 30m',
    },
    ready: {
      type: 'string',
      requiresArg: true,
      describe:
        'Drives of each class here that stand ready, untouched: attached ahead, where that takes the server off',
    },
    on: { type: 'boolean', describe: 'Switch it on; so does every option but --off' },
    off: { type: 'boolean', describe: 'Take and give back nothing by itself' },
    'dry-run': {
      type: 'boolean',
      describe: 'Say in the log what would be done, and do not do it; --no-dry-run ends that',
    },
  },
  examples: [
    [
      'weft policy set --grow-at 75% --shrink-at 35% --reserve one-node --max-drives 40 --budget 4/day --cool-down 30m',
      'All of it, and on',
    ],
    ['weft policy set --dry-run', 'On, but it only says in weft policy log what it would do'],
    [
      'weft policy set --ready 2',
      'Two of each class are attached ahead, and are the first to be used; fewer gives none back',
    ],
    ['weft policy set --off', 'Nothing is taken or given back but by hand'],
  ],
  epilogue: 'What is not said stays as it is. weft policy plan shows what it would do now.',
  async run(context, args) {
    const change = changeOf(args)
    const policy = await context.node.post<PolicyInfo>('/v1/policy', change)
    context.print(policy, () => `${policy.words}\n`)
    return undefined
  },
}

function changeOf(args: Args): Readonly<Record<string, string | boolean>> {
  const change: Record<string, string | boolean> = {}
  for (const [option, word] of Object.entries(WORDS)) {
    const value = args.text(option)
    if (value !== undefined) change[word] = value
  }
  const dryRun = args.eitherWay('dry-run')
  if (dryRun !== undefined) change.dryRun = dryRun
  const [on, off] = [args.flag('on'), args.flag('off')]
  if (on && off) throw usageError('--on and --off are both given', 'give one of them')
  if (!on && !off && Object.keys(change).length === 0) {
    throw usageError(
      'nothing to set is given',
      'weft policy set --grow-at 75%; weft policy show has what is set',
    )
  }
  return { ...change, enabled: !off }
}
