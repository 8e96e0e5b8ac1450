import { usageError } from '../cli-error.ts'
import {
  clusterText,
  ENTRY_OPTIONS,
  ETCD_OPTIONS,
  enterCluster,
  entryOf,
  etcdAccess,
} from '../cluster-words.ts'
import type { Command } from '../command.ts'

export const command: Command = {
  positionals: { cluster: { type: 'string', describe: 'Name of the cluster' } },
  options: {
    ...ENTRY_OPTIONS,
    coordinator: {
      type: 'string',
      requiresArg: true,
      describe: 'etcd://h1:2379,h2:2379,… instead of on this node',
    },
    ...ETCD_OPTIONS,
  },
  examples: [
    ['weft cluster create lab', 'This node becomes the first of a cluster; its volumes stay'],
    [
      'weft cluster create lab --domain region=eu,zone=1,rack=r1 --listen 10.0.0.1:9338',
      'With a place, and on one address alone',
    ],
  ],
  epilogue:
    'Starts the node if none runs. The daemon starts anew under its mounts. The coordinator, which says who owns what, is on\nthis node, or in an etcd of three (--coordinator). Others come in with weft cluster invite and weft cluster join.',
  async run(context, args) {
    const coordinator = args.text('coordinator')
    const access = etcdAccess(context, args)
    if (access !== undefined && coordinator === undefined) {
      throw usageError(
        'certificates or a user of an etcd, and no etcd',
        'name it: --coordinator etcd://h1:2379,h2:2379,h3:2379',
      )
    }
    const body = {
      name: args.needed('cluster'),
      ...entryOf(args),
      ...(coordinator === undefined ? {} : { coordinator }),
      ...(access === undefined ? {} : { access }),
    }
    const { entered, cluster } = await enterCluster(
      context,
      '/v1/cluster',
      body,
      `making the cluster ${body.name}`,
    )
    context.print(
      { ...entered, cluster },
      () =>
        `${clusterText(cluster)}next: weft cluster invite, and on another machine weft cluster join\n`,
    )
    return undefined
  },
}
