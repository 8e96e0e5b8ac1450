import type { ClusterInfo, CoordinatorMoved } from '../../api/index.ts'
import { usageError } from '../cli-error.ts'
import { ETCD_OPTIONS, etcdAccess } from '../cluster-words.ts'
import type { Command, Context } from '../command.ts'
import { recoverCoordinator } from '../recover-coordinator.ts'
import { fields } from '../render.ts'

export const command: Command = {
  positionals: {
    action: {
      type: 'string',
      choices: ['migrate', 'recover'],
      describe: 'Left out: show where it is',
    },
    to: { type: 'string', describe: 'Of migrate: etcd://h1:2379,h2:2379,…' },
  },
  options: {
    ...ETCD_OPTIONS,
    plan: { type: 'boolean', describe: 'Of recover: show what it would do, and from whom' },
    yes: { type: 'boolean', describe: 'Of recover: do it' },
  },
  examples: [
    ['weft cluster coordinator', 'Where it is, and whether it answers'],
    [
      'weft cluster coordinator migrate etcd://h1:2379,h2:2379,h3:2379',
      'On the node that has it; the cluster is used on meanwhile',
    ],
    [
      'weft cluster coordinator migrate etcd://h1:2379 --ca ca.pem --user weft --password-file pw',
      'Over TLS, with a user; kept sealed by every member',
    ],
    [
      'weft cluster coordinator recover --plan',
      'What could be rebuilt here when it is lost for good',
    ],
    [
      'weft cluster coordinator recover --yes',
      'On a node that is left; the one before is not obeyed again',
    ],
  ],
  epilogue:
    'The coordinator says who owns what. While it is away, volumes that are open go on; none can be created or opened.\nA move that was broken off is finished by the same command; with other files, user or password\nit changes how the nodes open the etcd where it is. All daemons start anew under their mounts within seconds.',
  async run(context, args) {
    const to = args.text('to')
    const action = args.text('action')
    if (action === undefined) await show(context)
    else if (action === 'recover') {
      await recoverCoordinator(context, { plan: args.flag('plan'), yes: args.flag('yes') })
    } else if (to === undefined) {
      throw usageError('TO is missing', 'weft cluster coordinator migrate etcd://h1:2379,h2:2379')
    } else {
      context.terminal.err(`moving the coordinator to ${to} …\n`)
      const path = '/v1/cluster/coordinator'
      const access = etcdAccess(context, args)
      const body = access === undefined ? { to } : { to, access }
      const moved = await context.node.post<CoordinatorMoved>(path, body)
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
